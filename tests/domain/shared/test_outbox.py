"""An event that was decided on reaches the broker, once it can, and never gets lost on the way."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from datauploader.contracts import UploadOpened, UploadScanned, decode, encode
from datauploader.contracts.envelope import LARGEST_ACCEPTED, EncodedEvent, Mark
from datauploader.contracts.registry import topic
from datauploader.errors import BrokerRefused, BrokerUnreachable, ContractError
from datauploader.reliability import Outbox, Store
from datauploader.reliability import outbox as outbox_module
from datauploader.reliability.outbox import SCHEMA
from datauploader_testing import builders


class Broker:
    """Takes events, or refuses them, or leaves them unconfirmed."""

    def __init__(self) -> None:
        """Begin well."""
        self.got: list[str] = []
        self.open: list[Future[None]] = []
        self.mood = "well"
        self._change = threading.Condition()

    def publish(self, event) -> "Future[None]":
        """Answer as the mood is."""
        future: Future[None] = Future()
        with self._change:
            if self.mood == "away":
                future.set_exception(BrokerUnreachable("the broker is away"))
            else:
                self.got.append(event.id)
                if self.mood == "well":
                    future.set_result(None)
                else:
                    self.open.append(future)
            self._change.notify_all()
        return future

    def wait(self, condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
        """Wait until something holds."""
        with self._change:
            assert self._change.wait_for(condition, within_s), f"waited in vain for: {what}; got {len(self.got)}"


@pytest.fixture
def store(tmp_path):
    """Open an outbox on disk."""
    store = Store(tmp_path / "x.sqlite", [SCHEMA])
    yield store
    store.close()


def put(store: Store, *ids: str) -> None:
    """Decide on events."""
    with store.transaction() as db:
        for each in ids:
            Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD), id=each))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what nobody signals, with a deadline."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        threading.Event().wait(0.005)


def test_events_leave_in_the_order_in_which_they_were_decided(store) -> None:
    """Receipts after announcements, closings after openings."""
    broker, ids = Broker(), [f"e{n:04}" for n in range(1500)]
    put(store, *ids)
    outbox = Outbox(store, broker.publish)

    outbox.start()
    broker.wait(lambda: len(broker.got) >= 1500, "1500 events")
    outbox.stop()

    assert broker.got == ids
    assert outbox.waiting() == 0


def test_a_transaction_that_failed_sends_nothing(store) -> None:
    """No event without its effect."""
    broker = Broker()
    outbox = Outbox(store, broker.publish)
    outbox.start()
    with pytest.raises(LookupError), store.transaction() as db:  # noqa: PT012 - the block is what fails
        Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD), id="never"))
        raise LookupError
    put(store, "kept")
    outbox.wake()
    broker.wait(lambda: bool(broker.got), "the event that was kept")
    outbox.stop()
    assert broker.got == ["kept"]


def test_what_the_broker_refused_is_sent_again_and_the_trouble_is_told(store) -> None:
    """The broker away delays events, and says so until it is back."""
    broker = Broker()
    broker.mood = "away"
    put(store, "a", "b")
    outbox = Outbox(store, broker.publish)
    outbox.start()
    until(lambda: outbox.problem != "", "the trouble")
    assert outbox.problem == "the broker is away"
    assert outbox.waiting() == 2

    broker.mood = "well"
    broker.wait(lambda: len(broker.got) >= 2, "both events")
    until(lambda: outbox.waiting() == 0, "an empty outbox")

    assert sorted(broker.got) == ["a", "b"]
    assert outbox.problem == ""
    outbox.stop()


def test_every_event_that_was_refused_is_sent_again_while_others_come(store) -> None:
    """Each event is refused once, by several threads, while the relay reads on: none may be passed over."""
    broker, refused, answering = Broker(), set(), ThreadPoolExecutor(4)
    broker.mood = "later"

    def publish(event) -> "Future[None]":
        if event.id in refused:
            future = broker.publish(event)
            future.set_result(None)
            return future
        refused.add(event.id)
        future = Future()
        answering.submit(future.set_exception, BrokerUnreachable("the broker is away"))
        return future

    outbox = Outbox(store, publish)
    outbox.start()
    for n in range(1000):
        put(store, f"e{n}")
        outbox.wake()
    broker.wait(lambda: len(set(broker.got)) >= 1000, "all 1000 events")
    until(lambda: outbox.waiting() == 0, "an empty outbox")
    outbox.stop()
    answering.shutdown()


def test_events_that_were_refused_wait_together_and_reach_the_disk_once(tmp_path) -> None:
    """A broker that is away costs no thread for each event, and what the disk has is not written to it again."""

    class Counting(Store):
        """A store that says how often it made the disk take everything."""

        syncs = 0

        def sync(self) -> None:
            self.syncs += 1
            super().sync()

    store, broker = Counting(tmp_path / "x.sqlite", [SCHEMA]), Broker()
    broker.mood = "away"
    put(store, *(f"e{n}" for n in range(500)))
    outbox, threads = Outbox(store, broker.publish), threading.active_count()
    outbox.start()
    until(lambda: outbox.problem != "", "the trouble")
    until(lambda: len(outbox._failed) == 500, "all refused")
    assert threading.active_count() <= threads + 2  # the relay and one timer
    broker.mood = "well"
    until(lambda: outbox.waiting() == 0, "an empty outbox")
    outbox.stop()
    store.close()
    assert sorted(broker.got) == sorted(f"e{n}" for n in range(500))
    assert store.syncs == 1


@pytest.mark.campaign
def test_a_thousand_forbidden_events_hold_up_no_other_and_leave_once_they_may(store) -> None:
    """More than a window of them, decided first; one of them is tried now and then, and all when it has passed."""
    forbidden, tried, broker = {f"no{n}" for n in range(1000)}, [], Broker()

    def publish(event) -> "Future[None]":
        if event.id in forbidden:
            tried.append(event.id)
            refused: Future[None] = Future()
            refused.set_exception(BrokerRefused("the broker's permissions do not let this user say that"))
            return refused
        return broker.publish(event)

    put(store, *sorted(forbidden), *(f"yes{n}" for n in range(1000)))
    outbox = Outbox(store, publish)
    outbox.start()
    broker.wait(lambda: len(broker.got) == 1000, "all that may be said", within_s=4)
    until(lambda: outbox.waiting() == 1000, "the forbidden ones wait")
    assert "permissions" in outbox.problem
    assert len(tried) == 1000
    until(lambda: len(tried) == 1001, "one of them is tried again")
    forbidden.clear()
    until(lambda: outbox.waiting() == 0, "an empty outbox")
    assert outbox.problem == ""
    outbox.stop()
    assert sorted(broker.got) == sorted({f"yes{n}" for n in range(1000)} | {f"no{n}" for n in range(1000)})


def test_what_was_not_confirmed_is_sent_by_the_next_run(store) -> None:
    """A process that ends between publish and confirm repeats itself with the same id."""
    silent = Broker()
    silent.mood = "silent"
    put(store, "a", "b")
    first = Outbox(store, silent.publish)
    first.start()
    silent.wait(lambda: len(silent.got) == 2, "both on their way")
    first.stop(deadline_s=0.2)
    assert first.waiting() == 2

    broker = Broker()
    second = Outbox(store, broker.publish)
    second.start()
    broker.wait(lambda: len(broker.got) == 2, "both again")
    second.stop()

    assert broker.got == ["a", "b"]
    assert second.waiting() == 0


@pytest.mark.parametrize("mood", ["silent", "away"])
def test_stopping_keeps_its_deadline(store, mood) -> None:
    """A broker that does not answer cannot hold up the end of the process."""
    broker = Broker()
    broker.mood = mood
    put(store, *(f"e{n}" for n in range(600)))
    outbox = Outbox(store, broker.publish)
    outbox.start()
    until(lambda: bool(broker.got) or outbox.problem != "", "an attempt")
    begin = time.monotonic()

    outbox.stop(deadline_s=0.5)

    assert time.monotonic() - begin < 1.5
    assert outbox.waiting() == 600


def test_stopping_sends_what_was_decided_a_moment_before(store) -> None:
    """The last words of a service are heard."""
    broker = Broker()
    outbox = Outbox(store, broker.publish)
    outbox.start()
    put(store, "last")
    outbox.wake()
    outbox.stop(deadline_s=60)
    assert broker.got == ["last"]


def test_stopping_what_never_started_is_nothing(store) -> None:
    """A service that could not start is stopped all the same."""
    Outbox(store, Broker().publish).stop(0.1)


def test_no_more_than_a_window_is_on_its_way(store) -> None:
    """A slow broker is not flooded."""
    broker = Broker()
    broker.mood = "silent"
    put(store, *(f"e{n:04}" for n in range(1200)))
    outbox = Outbox(store, broker.publish)
    outbox.start()
    broker.wait(lambda: len(broker.got) == 500, "a full window")
    assert not broker.open[0].done()
    broker.mood = "well"
    for future in list(broker.open):
        future.set_result(None)
    broker.wait(lambda: len(broker.got) >= 1200, "the rest")
    until(lambda: outbox.waiting() == 0, "an empty outbox")
    assert len(set(broker.got)) == len(broker.got) == 1200
    outbox.stop()


def test_the_largest_events_are_under_way_by_bytes(store, monkeypatch) -> None:
    """A window of them would cost half a gigabyte; each leaves in its turn, also one that is larger than all may be."""
    monkeypatch.setattr(outbox_module, "MOST_BYTES", 100_000)
    broker, sentence = Broker(), "x" * 1900
    broker.mood = "silent"
    with store.transaction() as db:
        for number in range(12):
            troubles = (sentence,) * (20 if number != 5 else 90)
            said = UploadScanned(upload_id=builders.UPLOAD, files=0, bytes=0, settling=0, left_out=0, troubles=troubles)
            Outbox.put(db, builders.event(said, id=f"e{number}"))
    outbox = Outbox(store, broker.publish)
    outbox.start()
    for number in range(12):
        broker.wait(lambda number=number: len(broker.got) > number, f"event {number}")
        assert len(broker.open) - number <= 2
        broker.open[number].set_result(None)
    until(lambda: outbox.waiting() == 0, "all are sent")
    outbox.stop()
    assert broker.got == [f"e{number}" for number in range(12)]


def test_each_event_is_sent_exactly_once_while_many_threads_decide(store) -> None:
    """Concurrent decisions are neither lost nor doubled by the relay, whichever thread confirms them."""
    confirming = ThreadPoolExecutor(4)
    broker = Broker()
    broker.mood = "later"

    def publish(event) -> "Future[None]":
        future = broker.publish(event)
        confirming.submit(future.set_result, None)
        return future

    outbox = Outbox(store, publish)
    outbox.start()

    def decide(thread: int) -> None:
        for n in range(100):
            put(store, f"t{thread}-{n}")
            outbox.wake()

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broker.wait(lambda: len(broker.got) >= 800, "800 events")
    until(lambda: outbox.waiting() == 0, "an empty outbox")
    outbox.stop()
    confirming.shutdown()

    assert len(set(broker.got)) == 800
    assert len(broker.got) == 800


def test_a_row_of_a_newer_release_waits_and_holds_up_nobody(store) -> None:
    """After a step back to an older release the other events still leave."""
    broker = Broker()
    put(store, "a")
    with store.transaction() as db:
        db.execute("UPDATE outbox SET body = CAST(replace(CAST(body AS TEXT), 'opened.v1', 'opened.v9') AS BLOB)")
    put(store, "b")
    outbox = Outbox(store, broker.publish)
    outbox.start()
    broker.wait(lambda: broker.got == ["b"], "the other event")
    until(lambda: outbox.waiting() == 1, "one row left")
    outbox.stop(0.2)
    assert outbox.waiting() == 1


def test_an_event_that_nobody_could_read_is_refused_where_it_is_made() -> None:
    """Not in the thread that sends, where nobody would see it."""
    for broken in ({"id": "two words"}, {"service": "harvester.nexus"}):
        with pytest.raises(ContractError):
            builders.event(UploadOpened(upload_id=builders.UPLOAD), **broken)


def put_raw(store: Store, event, *, bytes_more: int = 0, kind: str = "") -> None:
    """Leave a row as a former, or a later, release wrote it."""
    body = encode(event)
    if kind:
        body = body.replace(topic(type(event.data)).encode(), kind.encode())
    body = body[:-1] + b" " * bytes_more + b"}"
    with store.transaction() as db:
        db.execute("INSERT INTO outbox (event_id, body) VALUES (?, ?)", (event.id, body))


def test_what_is_too_large_is_refused_where_it_is_said(store) -> None:
    """In the transaction of whoever says it, of which nothing stays: it can never be set aside for that later."""
    vast = UploadScanned(
        upload_id=builders.UPLOAD, files=1, bytes=1, settling=0, left_out=0, troubles=("x" * LARGEST_ACCEPTED,)
    )

    def say() -> None:
        with store.transaction() as db:
            Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))
            Outbox.put(db, builders.event(vast))

    with pytest.raises(ContractError, match=f"at most {LARGEST_ACCEPTED} are taken"):
        say()
    assert Outbox(store, Broker().publish).waiting() == 0


def test_a_vast_row_of_a_former_release_goes_where_its_source_says_it_again(store) -> None:
    """Receipts are answered again: the row is dropped with a line in the log, and nothing is degraded for ever."""
    broker = Broker()
    put_raw(store, builders.event(builders.file_stored(builders.file_version())), bytes_more=LARGEST_ACCEPTED)
    put(store, "next")
    outbox = Outbox(store, broker.publish)
    with capture_logs() as logs:
        outbox.start()
        until(lambda: outbox.waiting() == 0, "an empty outbox")
        outbox.stop()
    assert (broker.got, outbox.problem) == (["next"], "")
    (line,) = [one for one in logs if one["event"] == "outbox_row_dropped"]
    assert (line["type"], line["upload_id"]) == ("file.stored", builders.UPLOAD)


def test_any_other_row_is_kept_and_its_reason_is_the_true_one(store) -> None:
    """Too large, or of a newer release: two sentences; neither holds up what comes after it."""
    broker = Broker()
    put_raw(store, builders.event(UploadOpened(upload_id=builders.UPLOAD)), bytes_more=LARGEST_ACCEPTED)
    put(store, "next")
    outbox = Outbox(store, broker.publish)
    outbox.start()
    broker.wait(lambda: broker.got == ["next"], "the next event")
    until(lambda: outbox.waiting() == 1, "one row that is kept")
    assert f"upload.opened of {builders.UPLOAD}" in outbox.problem
    assert "too large" in outbox.problem
    assert "waits for the release" not in outbox.problem
    outbox.stop()


def test_only_what_a_newer_release_wrote_waits_for_it(store) -> None:
    """A kind that this release does not know."""
    put_raw(store, builders.event(UploadOpened(upload_id=builders.UPLOAD)), kind="upload.opened.v2")
    outbox = Outbox(store, Broker().publish)
    outbox.start()
    until(lambda: "waits for the release that wrote it" in outbox.problem, "the trouble")
    outbox.stop()


def test_a_state_file_that_cannot_be_written_delays_and_is_told(store) -> None:
    """A full disk ends no thread: what was confirmed is taken off the table when there is room again."""
    broker = Broker()
    put(store, "a")
    outbox = Outbox(store, broker.publish)
    store._write.execute("PRAGMA query_only = ON")
    outbox.start()
    until(lambda: "cannot be used" in outbox.problem, "the trouble")
    store._write.execute("PRAGMA query_only = OFF")
    until(lambda: outbox.waiting() == 0, "an empty outbox")
    until(lambda: outbox.problem == "", "the end of the trouble")
    outbox.stop()
    assert broker.got == ["a"]


def test_an_event_is_sent_as_it_was_kept_with_the_mark_of_its_file(store) -> None:
    """Its data are not read for that, so a thousand files cost what one does; whoever hears it reads all of it."""
    said = builders.event(builders.file_stored(*(builders.file_version(f'{n} ", "data": {{.h5') for n in range(3))))
    sent = EncodedEvent.marked(encode(replace(said, sequence=7)), Mark("state", "run", 3))
    heard = decode(sent.body)
    assert (heard.data, heard.id, heard.sequence, heard.mark) == (said.data, said.id, 7, Mark("state", "run", 3))
    assert sent.routing_key == heard.routing_key == said.routing_key
    assert (sent.kind, sent.upload_id, sent.correlation_id) == (type(said.data), said.data.upload_id, heard.id)


def test_an_event_that_is_said_once_more_gets_the_new_mark(store) -> None:
    """It had another one when it came; two of them would make it unreadable."""
    marked = EncodedEvent.marked(encode(builders.event(UploadOpened(upload_id=builders.UPLOAD))), Mark("a", "b", 1))
    again = EncodedEvent.marked(marked.body, Mark("c", "d", 2))
    assert decode(again.body).mark == Mark("c", "d", 2)
