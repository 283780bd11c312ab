"""Whose words a key is, by the name of the broker's user; and how a message came, by what the broker writes into it."""

import pytest

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import Event
from datauploader.contracts.registry import EVENTS as KINDS
from datauploader.contracts.registry import topic
from datauploader.contracts.uploads import UploadOpened
from datauploader.errors import Misdirected
from datauploader.messaging.provenance import from_log, from_queue, way
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import BACK, EVENTS, RESTORING, harvester_queue, retry_queue_names

pytestmark = [pytest.mark.attack("S32")]

HERE, THERE = "elettra.xrd1.ws01", "elettra.xrd1.ws02"
QUEUE, RUNGS = harvester_queue("everything", ["#"]), retry_queue_names([1, 10])
EVENT = Event(UploadOpened(upload_id="upload-0001"), Station.parse(HERE), "watcher")
SPEAKERS = Speakers()
DEATH = {"queue": "datauploader.again.1s", "reason": "expired"}


@pytest.mark.parametrize("kind", KINDS, ids=topic)
def test_every_event_is_somebodys_words_and_no_other_stations(kind):
    """Each kind has a speaker; another station never is, and nobody without a name."""
    key = f"{HERE}.{topic(kind)}"
    assert any(SPEAKERS.may_say(name, key) for name in ("gateway", "catalog", HERE, "nexus"))
    assert not any(SPEAKERS.may_say(name, key) for name in (THERE, ""))


def test_questions_and_answers_have_their_people():
    """A station asks under its own words, and answers for itself."""
    assert SPEAKERS.may_ask(HERE, f"catalog.questions.{HERE}")
    assert SPEAKERS.may_ask("gateway", "catalog.questions")
    assert not any(SPEAKERS.may_ask(HERE, key) for key in ("catalog.questions", f"catalog.questions.{THERE}"))
    assert SPEAKERS.may_answer("catalog", f"catalog.questions.{HERE}")
    assert SPEAKERS.may_answer(HERE, f"watcher.questions.{HERE}")
    assert not any(SPEAKERS.may_answer(name, f"watcher.questions.{HERE}") for name in (THERE, "nexus", "gateway", ""))


def test_a_user_of_another_name_is_who_the_settings_say():
    """Without that it is a harvester; one's own user is believed, because development has one for all."""
    key = f"{HERE}.upload.opened.v1"
    assert not SPEAKERS.may_say("ws01", key)
    assert Speakers({"ws01": f"station:{HERE}"}).may_say("ws01", key)
    assert not Speakers({"ws01": f"station:{HERE}"}).may_say("ws01", f"{HERE}.dataset.completed.v1")
    assert Speakers({"admin": "operator"}).may_say("admin", key)
    assert Speakers(me="guest").may_say("guest", f"{HERE}.dataset.completed.v1")
    for wrong in ("station", "catalog:x", "station:two.words", "king"):
        with pytest.raises(ValueError, match=r"user of the broker|facility\.beamline\.station"):
            Speakers({"ws01": wrong})


@pytest.mark.parametrize(
    "came",
    [
        way(EVENTS, EVENT.routing_key, HERE, {}),
        way(EVENTS, EVENT.routing_key, HERE, {"traceparent": "00-0", "x-attempt": 3}),
        way(BACK, QUEUE.name, None, {"x-death": [DEATH], "x-first-death-queue": DEATH["queue"], "x-said-by": "ws01"}),
        way("", QUEUE.name, None, {"x-death": [{"queue": "datauploader.retry.10s"}]}),
    ],
    ids=["first hand", "with headers of no meaning", "a retry", "a retry of the former release"],
)
def test_what_came_in_our_ways_is_believed(came):
    """First hand by its own speaker, or from our own retry queues."""
    from_queue(QUEUE, came, SPEAKERS, RUNGS)(EVENT)


@pytest.mark.parametrize(
    "came",
    [
        way(EVENTS, EVENT.routing_key, None, {}),
        way(EVENTS, EVENT.routing_key, 7, {}),
        way(EVENTS, EVENT.routing_key, THERE, {}),
        way(EVENTS, f"{THERE}.upload.opened.v1", THERE, {}),
        *(
            way(EVENTS, EVENT.routing_key, HERE, {name: value})
            for name in ("x-death", "x-first-death-queue", "x-last-death-exchange", "x-received-from", "x-shovelled-by")
            for value in ([DEATH], "", None)
        ),
        way(BACK, QUEUE.name, HERE, {}),
        way(BACK, QUEUE.name, HERE, {"x-death": "datauploader.again.1s"}),
        way(BACK, QUEUE.name, HERE, {"x-death": [DEATH, {"queue": "answers.ws01.0123"}]}),
        way(BACK, QUEUE.name, HERE, {"x-death": [{"reason": "expired"}]}),
        way(BACK, "catalog.work", HERE, {"x-death": [DEATH]}),
        way("answers.ws01.0123", QUEUE.name, HERE, {"x-death": [DEATH]}),
        way("datauploader.again.1s", QUEUE.name, HERE, {"x-death": [DEATH]}),
    ],
)
def test_what_came_in_another_way_is_forged(came):
    """Nobody's name, another's name, moved by the broker, from a queue of somebody's own, by an exchange of his own."""
    with pytest.raises(Misdirected):
        from_queue(QUEUE, came, SPEAKERS, RUNGS)(EVENT)


def test_the_log_believes_what_was_said_first_hand_and_what_an_administrator_puts_back():
    """It holds nothing else of ours."""
    from_log(way(EVENTS, EVENT.routing_key, HERE, {}), SPEAKERS)(EVENT)
    from_log(way(RESTORING, EVENT.routing_key, None, {}), SPEAKERS)(EVENT)
    for came in (
        way(EVENTS, EVENT.routing_key, THERE, {}),
        way(EVENTS, EVENT.routing_key, HERE, {"x-death": [DEATH]}),
        way(RESTORING, EVENT.routing_key, HERE, {"x-death": [DEATH]}),
        way(BACK, EVENT.routing_key, HERE, {}),
    ):
        with pytest.raises(Misdirected):
            from_log(came, SPEAKERS)(EVENT)
