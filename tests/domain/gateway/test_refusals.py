"""Refused sign-ins become a cause with the silence of that part under it, and are bounded, whoever tries."""

from typing import Any

import pytest

from datauploader.contracts.address import Station
from datauploader.messaging import SignIn
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import astray_queue, facility_queues, harvester_queue
from datauploader_gateway.features.operations.diagnosis import Refused
from datauploader_gateway.features.operations.refusals import FORGOTTEN_S, MOST, Refusals

HERE = "elettra.xrd1.ws01"


class Desk:
    """Refusals of a facility with one station and one harvester, under a clock of ours."""

    def __init__(self) -> None:
        queues = [*facility_queues([Station.parse(HERE)]), harvester_queue("nexus", ()), astray_queue()]
        self.now = 1000.0
        self.refusals = Refusals(lambda: queues, Speakers({"lab": f"station:{HERE}"}), clock=lambda: self.now)

    def refuse(self, user: str, host: str = "10.0.0.7", *, seconds: float = 10.0) -> None:
        """Let time go on, and somebody be refused."""
        self.now += seconds
        self.refusals.note(SignIn(user, refused=True, host=host))


@pytest.fixture
def desk() -> Desk:
    """Give one that has heard of nothing."""
    return Desk()


@pytest.mark.parametrize(
    ("user", "kind", "part"),
    [
        (HERE, "station", HERE), ("lab", "station", HERE), ("catalog", "service", "catalog"),
        ("gateway", "service", "gateway"), ("nexus", "harvester", "nexus"),
    ],
)  # fmt: skip
def test_a_name_says_which_part_it_is(desk: Desk, user: str, kind: Any, part: str) -> None:
    """As everywhere at the broker: by itself, or as `broker_users` says."""
    desk.refuse(user)
    desk.refuse(user, "10.0.0.8")
    assert desk.refusals.current() == [Refused(kind, part, (user,), 2, 10.0, ("10.0.0.7", "10.0.0.8"))]


def test_who_is_let_in_is_not_refused_any_more(desk: Desk) -> None:
    """The next refusal is the first one again."""
    desk.refuse(HERE)
    desk.refusals.note(SignIn(HERE, refused=False))
    assert desk.refusals.current() == []
    desk.refuse(HERE)
    assert [one.times for one in desk.refusals.current()] == [1]


def test_what_is_not_heard_of_again_is_forgotten(desk: Desk) -> None:
    """It was switched off, or its name was changed."""
    desk.refuse(HERE)
    desk.now += FORGOTTEN_S
    assert desk.refusals.current() == []


def test_names_that_are_nobodys_are_told_of_together_and_only_when_there_are_several(desk: Desk) -> None:
    """However many names and addresses somebody tries, five of each are kept; they hide nothing else."""
    desk.refuse(HERE)
    for number in range(2):
        desk.refuse(f"guest{number}", seconds=0)
    assert [one.kind for one in desk.refusals.current()] == ["station"]
    for number in range(10_000):
        desk.refuse(f"guest{number}", f"10.1.{number // 250}.{number % 250}", seconds=0)
    station, others = desk.refusals.current()
    assert (station.part, others.kind, others.times) == (HERE, "broker", 10_002)
    assert len(others.names) == len(others.hosts) == MOST


def test_strangers_do_not_become_known_by_a_name_like_ours(desk: Desk) -> None:
    """A station that is not registered, an empty name, a role, a queue's name."""
    for name in ("elettra.xrd9.ws09", "", "operations", "catalog.work", "harvester.nexus"):
        desk.refuse(name)
    (others,) = desk.refusals.current()
    assert (others.kind, others.times) == ("broker", 5)
