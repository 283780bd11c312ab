"""Questions: answered, refused, or left without an answer, and always with a sentence."""

import gc
import threading
import time

import pytest
import structlog

from datauploader.contracts.address import Station
from datauploader.contracts.questions import Datafiles, Folder, ListDatafiles, ListFolder, MayUpload, UploadRight
from datauploader.errors import MessagingError, NoAnswer, QuestionRefused
from datauploader.messaging.port import WrittenAnswer

QUESTION = MayUpload(user_id="ada", investigation="20260001")


@pytest.fixture
def answering(bus, eventually):
    """Give an answer that returns when questions arrive."""

    def begin(service, answerer, **options):
        consumer = bus.answer(service, answerer, **options)
        eventually(lambda: bus.health().ok, "the answerer is attached")
        return consumer

    return begin


def test_a_question_is_answered(engine, answering):
    """Another service's question arrives whole, and so does the answer."""
    answering("catalog", lambda question: UploadRight(allowed=True, detail=f"welcome, {question.user_id}"))
    answer = engine.bus("gateway x").ask(QUESTION, UploadRight).result(60)
    assert answer == UploadRight(allowed=True, detail="welcome, ada")


def test_an_answer_that_was_written_before_travels_as_it_is(engine, answering):
    """What its parts leave out is read as the default, as from an older release."""
    answering("catalog", lambda _question: WrittenAnswer(UploadRight, '{"allowed":true,"detail":"è scritto"}'))
    answer = engine.bus("gateway x").ask(QUESTION, UploadRight).result(60)
    assert answer == UploadRight(allowed=True, detail="è scritto")


def test_a_refusal_travels_with_its_code(engine, answering):
    """The asker gets the answerer's own words."""

    def refuse(_question):
        raise QuestionRefused("unknown-investigation", "there is no investigation 20260001")

    answering("catalog", refuse)
    with pytest.raises(QuestionRefused, match="there is no investigation") as caught:
        engine.bus("gateway x").ask(QUESTION, UploadRight).result(60)
    assert caught.value.code == "unknown-investigation"


def test_an_answerer_that_fails_tells_no_details(engine, answering):
    """A traceback belongs into the answerer's log, a secret nowhere."""

    def fail(_question):
        raise ValueError("password=hunter2")

    answering("catalog", fail)
    with pytest.raises(QuestionRefused) as caught:
        engine.bus("gateway x").ask(QUESTION, UploadRight).result(60)
    assert caught.value.code == "internal"
    assert "hunter2" not in str(caught.value)


def test_a_question_to_a_service_that_is_not_running_fails_at_once(engine):
    """Nobody waits for the deadline to learn that."""
    bus = engine.bus("gateway x")
    with pytest.raises(NoAnswer, match="catalog is not connected to the broker"):
        bus.ask(QUESTION, UploadRight, timeout_s=30).result(10)


def test_a_question_to_a_service_that_has_stopped_fails_at_once(engine, answering):
    """The answerer's queue goes with it."""
    consumer = answering("catalog", lambda _: UploadRight(allowed=True))
    bus = engine.bus("gateway x")
    bus.ask(QUESTION, UploadRight).result(60)
    consumer.stop(5)
    with pytest.raises(NoAnswer, match="catalog is not connected to the broker"):
        bus.ask(QUESTION, UploadRight, timeout_s=30).result(10)


def test_a_question_without_an_answer_ends_at_its_deadline(engine, answering):
    """The sentence says who was asked what, and for how long."""
    released = threading.Event()

    def hang(_question):
        released.wait(20)
        return UploadRight(allowed=True)

    answering("catalog", hang)
    bus = engine.bus("gateway x")
    begun = time.monotonic()
    with pytest.raises(NoAnswer, match=r"catalog did not answer catalog\.may-upload within 0\.5 s"):
        bus.ask(QUESTION, UploadRight, timeout_s=0.5).result(60)
    assert time.monotonic() - begun < 5
    released.set()


def test_questions_that_fail_leave_the_bus_as_it_was(engine, answering):
    """Refused and unanswered ones, and the garbage that they leave, cost no connection."""
    released = threading.Event()

    def answer(question):
        if question.user_id == "refuse":
            raise QuestionRefused("no", "no")
        if question.user_id == "hang":
            released.wait(20)
        return UploadRight(allowed=True)

    answering("catalog", answer)
    bus = engine.bus("gateway x")
    with structlog.testing.capture_logs() as logs:
        for user, timeout_s in (("refuse", 10), ("hang", 0.2), ("refuse", 10), ("hang", 0.2)):
            question = MayUpload(user_id=user, investigation="1")
            assert isinstance(bus.ask(question, UploadRight, timeout_s=timeout_s).exception(15), MessagingError)
        released.set()
        gc.collect()
        assert bus.ask(QUESTION, UploadRight, timeout_s=10).result(60).allowed
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []


def test_a_question_reaches_the_station_that_it_is_for(engine, answering, station):
    """Two stations answer; each answers for itself."""
    other = Station.parse("elettra.xrd1.ws02")
    for at in (station, other):
        answering("watcher", lambda question, at=at: Folder(path=question.path, detail=at.key), station=at)
    bus = engine.bus("gateway x")
    answers = [bus.ask(ListFolder(path="/data"), Folder, station=at).result(60) for at in (station, other)]
    assert [answer.detail for answer in answers] == [station.key, other.key]


def test_the_answerer_of_stations_learns_which_one_asks(engine, bus, eventually, station):
    """Each asks under its own words; what the facility is asked goes another way."""
    question = ListDatafiles(upload_id="upload-0001")
    bus.answer("catalog", lambda _: UploadRight(allowed=True))
    bus.answer_stations("catalog", lambda _question, asking: Datafiles(next=asking.key))
    eventually(lambda: bus.health().ok, "both answer")
    for at in (station, Station.parse("elettra.xrd1.ws02")):
        answer = engine.bus(f"watcher {at}").ask(question, Datafiles, station=at, timeout_s=10).result(60)
        assert answer.next == at.key
    assert engine.bus("gateway x").ask(QUESTION, UploadRight, timeout_s=10).result(60).allowed


def test_many_questions_are_answered_each_with_its_own(engine, answering):
    """Answers find the question that they belong to."""
    answering("catalog", lambda question: UploadRight(allowed=True, detail=question.user_id))
    bus = engine.bus("gateway x")
    futures = {
        name: bus.ask(MayUpload(user_id=name, investigation="1"), UploadRight, timeout_s=20)
        for name in map(str, range(200))
    }
    assert {name: future.result(60).detail for name, future in futures.items()} == {name: name for name in futures}
