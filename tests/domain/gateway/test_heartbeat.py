"""The gateway says that it is alive now and then, and at once when a trouble has come or gone."""

from typing import Any

from datauploader.contracts import Event, EventData, StationReported
from datauploader.testing.builders import HERE
from datauploader_gateway.heartbeat import Heartbeat


class Said:
    """A bus that keeps what is published."""

    def __init__(self) -> None:
        self.troubles: list[tuple[str, ...]] = []

    def publish(self, event: Event[EventData]) -> Any:
        """Keep it."""
        assert isinstance(event.data, StationReported)
        self.troubles.append(event.data.troubles)


def test_a_trouble_is_reported_when_it_comes_and_when_it_has_gone() -> None:
    """Between two reports nothing is repeated."""
    said = Said()
    heart = Heartbeat(said, HERE, 3600)  # type: ignore[arg-type]
    for trouble in ("", "", "the view is built again", "the view is built again", "", ""):
        heart.beat(trouble)
    assert said.troubles == [(), ("the view is built again",), ()]
