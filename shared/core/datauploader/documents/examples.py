"""An example of every event, as the documents show it, for those who try a consumer without a facility."""

import json
from functools import cache
from importlib.resources import files

from datauploader.contracts.envelope import Event, decode
from datauploader.contracts.model import EventData


@cache
def _examples() -> dict[str, dict[str, object]]:
    text = (files("datauploader.documents") / "examples.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, object]] = json.loads(text)
    return found


def example_text(topic: str) -> str:
    """Return the example of an event by its name with its version, as JSON for people."""
    return json.dumps(_examples()[topic], indent=2, ensure_ascii=False) + "\n"


def example(topic: str) -> Event[EventData]:
    """Return the example of an event by its name with its version."""
    return decode(example_text(topic).encode())
