"""A service says that it is alive as long as it is, how it is, and that it stops; who hangs is silent."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from datauploader.contracts import Event, EventData, StationReported
from datauploader.errors import BrokerUnreachable
from datauploader.reliability import Outbox, Store
from datauploader.reliability import outbox as outbox_state
from datauploader.reliability.heartbeat import Details, Heartbeat
from datauploader_testing.builders import HERE
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.fault("F57")


class Service:
    """A service with troubles, and a broker that keeps what it says, and may be away."""

    def __init__(self, folder: Path) -> None:
        """Begin well."""
        self.said: list[Event[EventData]] = []
        self.troubles: tuple[str, ...] = ()
        self.hanging, self.entered, self.going_on = threading.Event(), threading.Event(), threading.Event()
        self.answers: Callable[[Future[None]], None] = lambda future: future.set_result(None)
        self.store = Store(folder / "x.sqlite", (outbox_state.SCHEMA,))

    def heartbeat(self, interval_s: float) -> Heartbeat:
        """Give it a heartbeat."""
        return Heartbeat(
            self.publish, Outbox(self.store, self.publish), HERE, "catalog", distribution="ceric-datauploader-core",
            interval_s=interval_s, troubles=self.look, details=lambda: Details(backlog_files=7),
        )  # fmt: skip

    def look(self) -> tuple[str, ...]:
        """Say what is wrong, unless it hangs."""
        if self.hanging.is_set():
            self.entered.set()
            self.going_on.wait(30)
        return self.troubles

    def publish(self, event: Event[EventData]) -> "Future[None]":
        """Keep it."""
        future: Future[None] = Future()
        self.answers(future)
        self.said.append(event)
        return future

    @property
    def reports(self) -> list[StationReported]:
        """What was said."""
        return [event.data for event in self.said if isinstance(event.data, StationReported)]

    @property
    def states(self) -> list[str]:
        """In which states."""
        return [report.state for report in self.reports]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Give a service."""
    made = Service(tmp_path)
    yield made
    made.going_on.set()
    made.store.close()


def test_a_service_reports_at_once_and_then_at_its_interval_until_it_stops(service: Service) -> None:
    """The last word is that it stops, and nothing follows."""
    heartbeat = service.heartbeat(0.01)
    heartbeat.start()
    eventually(lambda: len(service.said) >= 3, what="three reports")
    heartbeat.stop(5)
    states = service.states
    assert states == ["ok"] * (len(states) - 1) + ["stopping"]
    assert not heartbeat._thread.is_alive(), "it could go on reporting"
    report, event = service.reports[0], service.said[0]
    assert (report.service, report.interval_s, report.backlog_files) == ("catalog", 0.01, 7)
    assert (event.station, event.service) == (HERE, "catalog")
    numbers = [event.sequence for event in service.said]
    assert None not in numbers
    assert numbers == sorted(set(numbers)), "each has its place in what the service says"


def test_a_service_may_say_first_that_it_starts(service: Service) -> None:
    """Then how it is."""
    heartbeat = service.heartbeat(0.01)
    heartbeat.start("starting")
    eventually(lambda: len(service.said) >= 2, what="two reports")
    heartbeat.stop(5)
    assert service.states[:2] == ["starting", "ok"]


def test_a_service_that_hangs_is_silent(service: Service) -> None:
    """It is looked at for each report; when it goes on, so do the reports."""
    heartbeat = service.heartbeat(0.01)
    heartbeat.start()
    eventually(lambda: service.said, what="the first report")
    service.hanging.set()
    assert service.entered.wait(15), "each report looks at the service"
    before = len(service.said)
    assert not service.going_on.wait(0.1)
    assert len(service.said) == before, "it said that all is well without knowing"
    service.hanging.clear()
    service.going_on.set()
    eventually(lambda: len(service.said) > before, what="it reports again")
    heartbeat.stop(5)


def test_troubles_are_said_once_each_and_empty_ones_are_none(service: Service) -> None:
    """A report with a trouble is of a service that is degraded."""
    heartbeat = service.heartbeat(60)
    service.troubles = ("", "the disk is full", "the disk is full")
    heartbeat.beat()
    service.troubles = ("",)
    heartbeat.beat()
    assert [(one.state, one.troubles) for one in service.reports] == [("degraded", ("the disk is full",)), ("ok", ())]


def test_a_loop_reports_when_it_is_time_and_where_it_wants_when_a_trouble_comes_or_goes(service: Service) -> None:
    """Between two reports nothing is repeated."""
    heartbeat = service.heartbeat(3600)
    for trouble in ("", "", "the view is built again", "the view is built again", "", ""):
        service.troubles = (trouble,)
        heartbeat.tick(on_change=True)
    assert [one.troubles for one in service.reports] == [(), ("the view is built again",), ()]
    service.troubles = ("another",)
    heartbeat.tick()
    assert len(service.said) == 3
    often = service.heartbeat(1e-9)
    often.tick()
    often.tick()
    assert len(service.said) == 5


def test_reports_do_not_pile_up_while_the_broker_is_away(service: Service) -> None:
    """What it has not taken yet is not followed by another; what it refuses is lost, and the next one is said."""
    waiting: list[Future[None]] = []
    service.answers = waiting.append
    heartbeat = service.heartbeat(60)
    heartbeat.beat()
    heartbeat.beat()
    assert len(service.said) == 1
    waiting[0].set_exception(BrokerUnreachable("away"))
    heartbeat.beat()
    assert len(service.said) == 2


def test_a_broker_that_is_away_ends_no_heartbeat(service: Service) -> None:
    """The next one is said."""

    def fail(_: "Future[None]") -> None:
        raise BrokerUnreachable("away")

    usual, service.answers = service.answers, fail
    heartbeat = service.heartbeat(60)
    heartbeat.beat()
    service.answers = usual
    heartbeat.beat()
    assert len(service.said) == 1
