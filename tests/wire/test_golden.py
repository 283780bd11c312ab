"""What was once said must stay readable: one full example of every event, byte for byte."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from datauploader.contracts import decode, encode
from datauploader.contracts.registry import EVENTS, topic, type_name

GOLDEN = Path(__file__).parent / "golden"
OLD = GOLDEN / "old"
"""Examples that earlier releases wrote; a golden file that must change is first copied here under a dated name."""

every_kind = pytest.mark.parametrize("kind", EVENTS, ids=topic)


def golden(kind: Any) -> bytes:
    """Read the example of a kind of event."""
    path = GOLDEN / f"{topic(kind)}.json"
    assert path.exists(), f"{path} is missing: write one full example of the new event there"
    return path.read_bytes().rstrip(b"\n")


@every_kind
def test_every_event_has_a_golden_example_that_round_trips_byte_for_byte(kind) -> None:
    """Decoding and encoding an example gives the same bytes."""
    body = golden(kind)

    event = decode(body)

    assert type(event.data) is kind
    assert encode(event) == body


@every_kind
def test_the_golden_example_shows_every_field(kind) -> None:
    """A field that the example leaves out could change its form unseen."""
    missing = list(unset(decode(golden(kind)).data))
    assert not missing, f"the example of {topic(kind)} does not show {missing}"


@every_kind
def test_unknown_fields_are_ignored(kind) -> None:
    """A newer release may add optional fields at any depth."""
    body = json.loads(golden(kind))
    sprinkle(body)

    assert decode(json.dumps(body).encode()).data == decode(golden(kind)).data


@every_kind
def test_no_golden_example_is_without_its_event(kind) -> None:
    """The names of the files are the topics, and the type inside agrees."""
    assert json.loads(golden(kind))["type"] == type_name(kind)
    assert {path.stem for path in GOLDEN.glob("*.json")} == {topic(each) for each in EVENTS}


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")) or [None])
def test_examples_of_earlier_releases_still_decode(path) -> None:
    """What lies in queues and in the log from before an update is still understood."""
    if path is not None:
        decode(path.read_bytes())


def unset(value: Any, where: str = "") -> Iterator[str]:
    """Name the fields of a model that were not given, at any depth."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if name not in value.model_fields_set:
                yield f"{where}{name}"
            yield from unset(getattr(value, name), f"{where}{name}.")
    elif isinstance(value, tuple):
        for each in value[:1]:
            yield from unset(each, where)


def sprinkle(value: Any) -> None:
    """Add a field that nobody knows to every object."""
    if isinstance(value, dict):
        for each in list(value.values()):
            sprinkle(each)
        value["added_in_a_later_release"] = {"x": [1]}
    elif isinstance(value, list):
        for each in value:
            sprinkle(each)
