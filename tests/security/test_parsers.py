"""Everything that reads what comes from outside, fed with anything; envelope, names and VUO have the same elsewhere."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.requests import Request

from datauploader.contracts.address import Station
from datauploader.contracts.questions import QUESTIONS
from datauploader.contracts.registry import EVENTS
from datauploader.errors import ConfigurationError, QuestionRefused, RequestRefused
from datauploader.messaging.rabbit import rpc
from datauploader_client.sse import read_events
from datauploader_gateway.http.dependencies import Site, secret_of
from datauploader_transfer.domain.failures import classify
from datauploader_transfer.rclone import remote_storage
from datauploader_watcher.domain.rules import Rule
from datauploader_watcher.domain.selection import Selection
from datauploader_watcher.errors import BadPattern

pytestmark = pytest.mark.attack("S25")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
patterns = st.text(alphabet="ab*?[]!/\\#-. \n\0\udcff", max_size=20)


@given(st.sampled_from(EVENTS), st.data())
def test_every_contract_takes_what_fits_and_refuses_the_rest(kind: Any, data: st.DataObject) -> None:
    """Whatever stands in any of its fields, the answer is a model or a list of problems."""
    fields = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(kind.model_fields, anything)))
    try:
        kind.model_validate(fields)
    except ValidationError:
        return


@given(
    st.sampled_from(list(QUESTIONS)), st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode())
)
def test_a_question_is_read_or_refused(kind: Any, body: bytes) -> None:
    """Stations may ask, too."""
    try:
        kind.model_validate_json(body)
    except ValidationError:
        return


@given(
    st.sampled_from(list(QUESTIONS.values())),
    st.binary(max_size=200)
    | anything.map(lambda value: json.dumps(value).encode())
    | anything.map(lambda value: json.dumps({"ok": value}).encode())
    | anything.map(lambda value: json.dumps({"error": value}).encode()),
)
def test_an_answer_is_read_or_counts_as_unreadable(kind: Any, body: bytes) -> None:
    """Whatever a station answers with ends in one of the errors that the asker expects."""
    try:
        rpc._read_answer(body, kind)
    except (QuestionRefused, *rpc.UNREADABLE):
        return


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"ok":' * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000])
def test_a_deep_answer_is_unreadable(body: bytes) -> None:
    """The thread that owns the broker's connection lives on."""
    with pytest.raises(rpc.UNREADABLE):
        rpc._read_answer(body, next(iter(QUESTIONS.values())))


@given(st.fixed_dictionaries({"hash": anything}) | st.fixed_dictionaries({"error": st.text(max_size=60)}))
def test_no_answer_of_rclone_becomes_a_proof_that_is_no_digest(answer: dict[str, Any]) -> None:
    """Only hexadecimal digits of a known length count as a hash."""
    found = remote_storage._stored(answer, "md5", "backend md5")
    if isinstance(found, remote_storage.Stored):
        assert len(found.digest) in (32, 40, 64)
        assert set(found.digest) <= set("0123456789abcdef")


@given(st.text(max_size=300))
def test_every_error_of_rclone_has_a_meaning(text: str) -> None:
    """No text of a storage's fails to be classified."""
    assert classify(text).state


@given(st.lists(patterns, min_size=1, max_size=4), st.binary(min_size=1, max_size=40))
@settings(deadline=2000)
def test_patterns_are_read_or_refused_and_match_any_name(some: list[str], name: bytes) -> None:
    """Patterns come from people, names from disks."""
    try:
        selection = Selection(include=some, exclude=some[::-1], marker=some[0])
    except BadPattern:
        return
    selection.omits(name)
    selection.omits(name, folder=True)
    selection.marks(name)


@given(st.text(alphabet="/ab{}*?.(+\\[dataset]investigation", max_size=40), st.text(max_size=30))
def test_rules_are_read_or_refused(pattern: str, folder: str) -> None:
    """A rule that is understood matches any folder's name without failing."""
    try:
        rule = Rule.parse("r", pattern, investigation="{investigation}", dataset="{dataset}", location="x/{dataset}")
    except ConfigurationError:
        return
    for depth in range(len(rule.levels)):
        rule.level(depth, folder)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"data: {}\n\n", b"data: [\r\n\r", b"id:1\n"]), max_size=6))
def test_a_stream_of_the_gateway_is_read_or_refused(pieces: list[bytes]) -> None:
    """The command line ends with a sentence."""
    try:
        list(read_events(pieces))
    except RequestRefused:
        return


def test_a_deep_event_of_the_gateway_is_refused() -> None:
    """Its depth ends nothing but the command."""
    with pytest.raises(RequestRefused):
        list(read_events([b"data: " + b"[" * 100_000 + b"\n\n"]))


@given(st.text(max_size=40))
def test_a_station_is_three_words_or_none(text: str) -> None:
    """What is no station's name is a ValueError."""
    try:
        assert Station.parse(text).key == text.replace("/", ".")
    except ValueError:
        return


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_what_a_request_proves_itself_with_is_found_or_is_nothing(authorization: bytes, cookie: bytes) -> None:
    """Headers of any bytes: a string comes out, and the session's digest can be made of it."""
    headers = [(b"authorization", authorization), (b"cookie", b"datauploader=" + cookie)]
    request = Request({"type": "http", "headers": headers, "method": "GET", "path": "/", "query_string": b""})
    secret, _ = secret_of(request, Site(frozenset(), secure=False))
    assert isinstance(secret.encode(), bytes)
