"""RabbitMQ only: a queue whose consumers must share one state is not split between two."""

import threading
from dataclasses import replace

import pytest

from datauploader.messaging.port import Ownership

pytestmark = pytest.mark.rabbitmq


class Claim:
    """A state, and what was said of its claim."""

    def __init__(self, state: str, host: str = "") -> None:
        self.held, self.lost = threading.Event(), threading.Event()
        self.rival = ""
        self.ownership = Ownership(state, held=self.held.set, lost=self._miss, host=host)

    def _miss(self, rival: str) -> None:
        self.rival = rival
        self.lost.set()


@pytest.mark.fault("F55")
@pytest.mark.parametrize(("state", "host", "rival"), [("2", "pc-b", "pc-a"), ("1", "pc-b", "pc-a"), ("2", "pc-a", "")])
def test_a_station_belongs_to_one_computer_and_the_second_learns_which(
    rabbit, quick, queue, recorder, new_event, state, host, rival
):
    """Whether its state is another one, or a copy; it takes over when the first is gone."""
    first, second = Claim("1", "pc-a"), Claim(state, host)
    hears, buses = recorder(), [rabbit.bus("watcher a", tuning=quick), rabbit.bus("watcher b", tuning=quick)]
    consumer = buses[0].consume(queue, recorder(), ownership=first.ownership)
    assert first.held.wait(15)
    buses[1].consume(queue, hears, ownership=second.ownership)
    assert second.lost.wait(15)
    assert second.rival == rival
    assert not second.held.is_set()
    consumer.stop(5)
    assert second.held.wait(20)
    buses[1].publish(new_event()).result(60)
    assert len(hears.wait_for(1)) == 1


@pytest.mark.fault("F43")
def test_a_queue_belongs_to_the_state_of_its_consumers_until_they_are_gone(
    rabbit, quick, queue, recorder, new_event, eventually
):
    """Another state gets nothing, is told so, and takes over later; a second consumer with the same state shares."""
    first, twin, other = (Claim(state) for state in ("1", "1", "2"))
    handlers = {claim: recorder() for claim in (first, twin, other)}
    buses = {claim: rabbit.bus(f"catalog {number}", tuning=quick) for number, claim in enumerate(handlers)}
    consumers = {}
    for claim, handler in handlers.items():
        consumers[claim] = buses[claim].consume(queue, handler, prefetch=1, ownership=claim.ownership)
        assert (claim.lost if claim is other else claim.held).wait(15)
    eventually(lambda: "another state folder" in str(consumers[other].problem), "the reason is said")
    assert not buses[other].health().ok
    for _ in range(20):
        buses[first].publish(new_event()).result(60)
    eventually(lambda: len(handlers[first].ids) + len(handlers[twin].ids) == 20, "all are heard")
    assert handlers[first].ids
    assert handlers[twin].ids
    assert not other.held.is_set()
    consumers[first].stop(5)
    consumers[twin].stop(5)
    assert other.held.wait(20)
    buses[first].publish(new_event()).result(60)
    assert len(handlers[other].wait_for(1)) == 1


@pytest.mark.fault("F43", "F55")
def test_of_many_that_claim_a_new_queue_at_the_same_moment_one_has_it(rabbit, quick, queue, recorder, eventually):
    """The broker lets one of them decide after the other."""
    claims = [Claim(str(number), f"pc-{number}") for number in range(6)]
    # on a busy machine an owner may need more than a second from its claim to its first message
    patient = replace(quick, owned_s=10.0)
    buses = [rabbit.bus(f"watcher {number}", tuning=patient) for number in range(len(claims))]
    together = threading.Barrier(len(claims))

    def begin(number: int) -> None:
        together.wait(10)
        buses[number].consume(queue, recorder(), ownership=claims[number].ownership)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(len(claims))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    eventually(lambda: all(one.held.is_set() or one.lost.is_set() for one in claims), "each is told")
    (owner,) = [one for one in claims if one.held.is_set()]
    assert {one.rival for one in claims if one is not owner} == {owner.ownership.host}
