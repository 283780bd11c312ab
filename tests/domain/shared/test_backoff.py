"""How long each place waits after failure upon failure: exponential back-off, with numbers of its own everywhere."""

import asyncio
import itertools
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from datauploader.contracts import AuditRequested, DatasetDescribed, Event, EventData, Person
from datauploader.errors import BrokerRefused, BrokerUnreachable, MessagingError
from datauploader.messaging.rabbit.connection import keep
from datauploader.messaging.rabbit.options import Tuning
from datauploader.plugins.catalogue.errors import CatalogueUnavailable, UnknownTrouble
from datauploader.plugins.harvester import file_queue
from datauploader.reliability import Outbox, Schema, Store, inbox
from datauploader.reliability import outbox as outbox_state
from datauploader.reliability.backoff import Backoff
from datauploader_catalog import objections
from datauploader_catalog import schema as catalog_schema
from datauploader_catalog.audits import AwaitedAudits
from datauploader_catalog.delays import CatalogueDelays
from datauploader_catalog.objections import Objections
from datauploader_client import gateway_client
from datauploader_client.gateway_client import GatewayClient
from datauploader_gateway import redis_client
from datauploader_gateway.events import pending_requests
from datauploader_gateway.events.pending_requests import PendingDescriptions, PendingRequests
from datauploader_gateway.features.mail import smtp_queue, triggers
from datauploader_gateway.settings.mail import MailSettings
from datauploader_testing import builders
from datauploader_testing.builders import HERE
from datauploader_testing.waiting import eventually
from datauploader_transfer import provenance
from datauploader_transfer import schema as transfer_schema
from datauploader_transfer.auditing import Auditor
from datauploader_transfer.audits import PendingAudits
from datauploader_transfer.failure_policy import FailurePolicy
from datauploader_transfer.ledger import Job
from datauploader_transfer.ports import Outcome, State, Whose
from datauploader_transfer.provenance import ConflictOrigin, ProvenanceCheck
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker
from datauploader_transfer.settings import TransferSettings
from datauploader_watcher.background import ledger_recovery
from datauploader_watcher.background.ledger_recovery import LedgerRecovery
from datauploader_watcher.background.local_cleanup import LocalCleanup
from datauploader_watcher.domain.receipts import next_reminder_s
from datauploader_watcher.domain.stability import QuietPeriod, StabilityTracker
from datauploader_watcher.domain.versions import Stamp

NOW = 1_000_000.0
TO_A_MINUTE = [1, 2, 4, 8, 16, 32, 60, 60]
TO_AN_HOUR = [60, 120, 240, 480, 960, 1920, 3600, 3600]
REQUEST = builders.event(builders.upload_requested())


def test_waits_grow_by_a_factor_up_to_the_longest() -> None:
    """The first failure waits for the first time; what is no failure counts as one."""
    assert [Backoff(1, 60).wait_s(failures) for failures in range(1, 9)] == TO_A_MINUTE
    assert [Backoff(1, 50, factor=3).wait_s(failures) for failures in (0, 1, 2, 3, 4, 5)] == [1, 1, 3, 9, 27, 50]
    assert Backoff(90, 60).wait_s(1) == 60


def test_no_number_of_failures_is_too_many() -> None:
    """A float has an end at 1024 doublings, which a drive that stays away for days comes to."""
    assert Backoff(1, 60).wait_s(10_000) == 60
    assert Backoff(1, float("inf")).wait_s(10_000) < float("inf")


@pytest.mark.fault("F32")
def test_no_wait_is_shorter_than_what_is_asked_for() -> None:
    """Retry-After holds beyond the longest wait as well, and chance takes nothing of it."""
    assert [Backoff(1, 60).wait_s(failures, 20) for failures in (1, 5, 6, 9)] == [20, 20, 32, 60]
    assert Backoff(1, 60).wait_s(1, 90) == 90
    assert Backoff(1, 60, jitter=0.5).wait_s(1, 90, chance=0) == 90


def test_chance_takes_away_a_part_of_a_wait_at_most() -> None:
    """Nothing without jitter."""
    assert [Backoff(8, 60, jitter=0.5).wait_s(1, chance=chance) for chance in (0, 0.5, 1)] == [4, 6, 8]
    assert Backoff(8, 60).wait_s(1, chance=0) == 8


class Clock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = NOW

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give a clock that stands still."""
    made = Clock()
    monkeypatch.setattr(time, "time", made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Make the state of a service."""
    made: list[Store] = []

    def make(*schemas: Schema) -> Store:
        made.append(Store(tmp_path / f"{len(made)}.sqlite", (inbox.SCHEMA, outbox_state.SCHEMA, *schemas)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def waits(store: Store, table: str, step: Callable[[], object], times: int) -> list[float]:
    """Return the waits that a step writes down, one after the other, each time when it is due again."""
    found = []
    for _ in range(times):
        with store.transaction() as db:
            db.execute(f"UPDATE {table} SET due = 0.5")
        step()
        with store.reading() as db:
            found.append(db.execute(f"SELECT due FROM {table}").fetchone()[0] - NOW)
    return found


def test_an_audit_without_answer_is_asked_for_again_after_half_a_minute_up_to_an_hour(clock, store) -> None:
    """The catalog's question to a station."""
    one = store(catalog_schema.SCHEMA)
    seal: Any = {"manifest_sha256": "0" * 64, "files": 1, "bytes": 1}

    def ask() -> None:
        with one.transaction() as db:
            AwaitedAudits(db).request_audit(REQUEST, seal)

    ask()
    with one.reading() as db:
        assert db.execute("SELECT due FROM audits").fetchone()[0] - NOW == 30
    assert waits(one, "audits", ask, 9) == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_what_the_catalogue_does_not_take_is_tried_again_up_to_a_minute_then_up_to_an_hour(clock, store) -> None:
    """Five tries as of what passes, then ever more rarely; never sooner than the catalogue asks for."""
    one = store(catalog_schema.SCHEMA)
    subject = objections.Subject("u1", b"a", "datafile")

    def note(error: UnknownTrouble, seconds: float) -> None:
        with one.transaction() as db:
            Objections(db).note_objection(subject, error, objections.GracePeriod(seconds))

    assert waits(one, "objections", lambda: note(UnknownTrouble("no"), 1e9), 7) == [2, 4, 8, 16, 32, 60, 60]
    with one.transaction() as db:
        Objections(db).settle_objection(subject)
    assert waits(one, "objections", lambda: note(UnknownTrouble("no"), 0), 12) == [2, 4, 8, 16, *TO_AN_HOUR]
    with one.transaction() as db:
        Objections(db).settle_objection(subject)
    asked = UnknownTrouble("no", retry_after=20)
    assert waits(one, "objections", lambda: note(asked, 1e9), 6) == [20, 20, 20, 20, 32, 60]
    asked = UnknownTrouble("no", retry_after=90)
    assert waits(one, "objections", lambda: note(asked, 1e9), 2) == [90, 90]


def test_an_upload_is_tried_again_at_the_catalogue_after_a_second_up_to_a_minute(clock, store) -> None:
    """The first wait is a second here: an upload counts its failures before it waits."""
    one = store(catalog_schema.SCHEMA)
    with one.transaction() as db:
        db.execute("INSERT INTO uploads (upload_id, request, state) VALUES ('u1', x'', 'wanted')")

    def put_off(error: CatalogueUnavailable, seconds: float) -> None:
        with one.transaction() as db:
            row = db.execute("SELECT * FROM uploads").fetchone()
            upload: Any = SimpleNamespace(
                upload_id="u1", attempts=row["attempts"], since=row["since"], told="", told_at=0
            )
            CatalogueDelays(db).postpone_upload(None, upload, error, objections.GracePeriod(seconds))

    assert waits(one, "uploads", lambda: put_off(CatalogueUnavailable("away"), 1e9), 8) == TO_A_MINUTE
    with one.transaction() as db:
        db.execute("UPDATE uploads SET attempts = 0")
    assert waits(one, "uploads", lambda: put_off(UnknownTrouble("?"), 0), 12) == [1, 2, 4, 8, *TO_AN_HOUR]
    asked = CatalogueUnavailable("away", retry_after=90)
    assert waits(one, "uploads", lambda: put_off(asked, 1e9), 1) == [90]


def taken(_: Event[EventData]) -> "Future[None]":
    """Take what is published."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


def test_a_wish_is_said_again_after_the_patience_up_to_an_hour(clock, store) -> None:
    """The gateway's request to a station, and its word to the catalogue."""
    one = store(pending_requests.SCHEMA)
    outbox = Outbox(one, taken)
    outbox.start()
    table = PendingRequests(one, outbox, patience_s=60, kept_s=NOW)
    with one.transaction() as db:
        table.keep_request(db, REQUEST)

    def look() -> None:
        eventually(lambda: outbox.waiting() == 0)
        table.repeat_due()

    assert waits(one, "wishes", look, 8) == [*TO_AN_HOUR[1:], 3600]
    outbox.stop(1)
    words = PendingDescriptions(one, patience_s=60, kept_s=NOW)
    word = DatasetDescribed(upload_id=builders.UPLOAD, description="text", requested_by=Person(id="1", name="A"))
    with one.transaction() as db:
        words.keep_description(db, builders.event(word))
    assert waits(one, "words", lambda: words.repeat_due(NOW), 8) == [*TO_AN_HOUR[1:], 3600]


def test_a_letter_is_tried_again_after_a_minute_up_to_an_hour(clock, store) -> None:
    """The mail server is away."""
    one = store(triggers.SCHEMA)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings = MailSettings(
            host="127.0.0.1", port=closed.getsockname()[1], security="none", sender="a@example.org", retry_s=60,
            given_up_after_days=1,
        )  # fmt: skip
        with one.transaction() as db:
            db.execute(
                "INSERT INTO letters (message_id, address, subject, body, written, due)"
                " VALUES (?, 'a', 's', 'b', ?, 0)",
                ("m", NOW),
            )
        door = smtp_queue.SmtpQueue(one, settings, redis_client.connect("memory://backoff"), kept_s=0)
        assert waits(one, "letters", lambda: door.send_due(lambda: False), 8) == TO_AN_HOUR


def tracker(period_s: float) -> StabilityTracker:
    """Give the unfinished files of an upload."""
    return StabilityTracker(QuietPeriod.of(period_s, factor=0.25, least_s=0.25))


@pytest.mark.parametrize(
    ("period_s", "expected"),
    [(2.0, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]), (0.1, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300])],
)
def test_a_file_that_cannot_be_read_is_read_again_up_to_five_minutes_later(period_s, expected) -> None:
    """After the quiet period, a second at least."""
    table, now, found = tracker(period_s), NOW, []
    table.observe_file(b"a", Stamp(1, 1, 1, 1), NOW - period_s, fresh=True)
    for _ in expected:
        assert table.take_due(now, 1)
        table.failed(b"a", now)
        assert table.next_due is not None
        found.append(table.next_due - now)
        now = table.next_due
    assert found == expected


@pytest.mark.parametrize(
    ("period_s", "expected"),
    [(2.0, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]), (600.0, [600, 600]), (0.0, [0, 0, 0])],
)
def test_a_file_that_gets_newer_versions_rests_up_to_five_minutes(period_s, expected) -> None:
    """Never shorter than the quiet period."""
    table, found = tracker(period_s), []
    for number, _ in enumerate(expected):
        table._versions[b"a"] = (number, NOW + 1)
        found.append(table._rest(b"a", period_s, NOW))
    assert found == expected


def test_a_receipt_is_waited_for_after_the_patience_up_to_an_hour() -> None:
    """After the first announcement, and after each further one; none counts as one."""
    assert [next_reminder_s(60, number) for number in range(9)] == [60, *TO_AN_HOUR]


@pytest.mark.fault("F9")
def test_a_file_is_looked_after_however_often_it_failed_or_changed() -> None:
    """After four days of failures, or of a line every five minutes, the watcher goes on."""
    table, now = tracker(2.0), NOW
    table.observe_file(b"a", Stamp(1, 1, 1, 1), now - 2.0, fresh=True)
    for _ in range(1100):
        assert table.take_due(now, 1)
        table.failed(b"a", now)
        assert table.next_due is not None
        now = table.next_due
    table._versions[b"a"] = (1100, now + 1)
    assert table._rest(b"a", 2.0, now) == 300


def test_the_watcher_asks_the_catalog_again_after_a_second_up_to_a_minute(monkeypatch) -> None:
    """What there is of an upload."""
    clock = Clock()
    monkeypatch.setattr(ledger_recovery, "time", SimpleNamespace(monotonic=clock))
    asked: list[float] = []

    class Unheard(LedgerRecovery):
        def _uploads(self) -> list[Any]:
            return [SimpleNamespace(number=1)]

        def _recalled(self, upload: Any) -> bool:
            asked.append(clock.now)
            return False

    ground: Any = SimpleNamespace(store=None, here=HERE, settings=SimpleNamespace(receipt_patience_s=1))
    one = Unheard(ground, None, lambda: None, lambda _: False)  # type: ignore[arg-type]
    for _ in range(480):
        clock.now += 0.5
        one.take_turn()
    assert [after - before for before, after in itertools.pairwise(asked)] == TO_A_MINUTE


def test_local_copies_that_stay_are_tried_again_after_ten_seconds_up_to_an_hour() -> None:
    """Until a dataset is completed: then the waits begin anew."""

    class Unable(LocalCleanup):
        def _uploads(self) -> list[Any]:
            return [None]

        def _release(self, upload: Any) -> bool:
            return True

    ground: Any = SimpleNamespace(store=None, outbox=None, here=HERE, settings=None, admission=None, disks=None)
    one = Unable(ground, None)  # type: ignore[arg-type]
    assert [one.take_turn() for _ in range(10)] == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    one.wake()
    assert [one.take_turn() for _ in range(3)] == [10, 20, 40]


def test_a_remote_that_stays_away_rests_after_a_second_up_to_a_minute() -> None:
    """Never shorter than it asks for; a pause of its own stays as it is."""

    def rests(retry_after_s: float | None = None, pause_s: float | None = None) -> list[float]:
        breaker, now, found = RemoteCircuitBreaker(), NOW, []
        for _ in TO_A_MINUTE:
            until = breaker.note_failure("r", "away", now, retry_after_s, pause_s).until
            found.append(until - now)
            now = until
        return found

    assert rests() == TO_A_MINUTE
    assert rests(20) == [20, 20, 20, 20, 20, 32, 60, 60]
    assert rests(90) == [90] * 8
    assert rests(None, 180) == [180] * 8
    assert rests(200, 180) == [200] * 8


@pytest.mark.parametrize(("retry_after_s", "expected"), [(None, TO_A_MINUTE), (20, [20, 20, 20, 20, 20, 32, 60, 60])])
@pytest.mark.parametrize("whose", [Whose.EITHER, Whose.NEITHER])
def test_a_file_is_sent_again_after_a_second_up_to_a_minute(whose, retry_after_s, expected) -> None:
    """By its own refusals, or by all attempts where nobody knows whose the failure is."""
    one = FailurePolicy(RemoteCircuitBreaker(), None, TransferSettings(file_tries=50))  # type: ignore[arg-type]
    outcome = Outcome("k", State.FAILED, "no", retryable=True, whose=whose, retry_after_s=retry_after_s)
    found = []
    for number in range(8):
        counts = (30, number) if whose is Whose.EITHER else (number, 30)
        job = Job(builders.file_version(), counts[0], "", counts[1])
        due = one.decide("r", job, outcome, NOW, takes_others=True).due
        assert due is not None
        found.append(due - NOW)
    assert found == expected


def test_an_audit_that_cannot_be_done_is_tried_again_after_a_second_up_to_ten_minutes(clock, store) -> None:
    """The storage or the catalog does not answer."""
    one = store(transfer_schema.SCHEMA)
    auditor = Auditor(one, Outbox(one, taken), None, None, dict)  # type: ignore[arg-type]
    wish = AuditRequested(
        upload_id=builders.UPLOAD, audit="audit-0001", destination=builders.THERE, manifest_sha256="0" * 64, files=1
    )
    with one.transaction() as db:
        PendingAudits(db).add_audit(builders.event(wish))

    def fail() -> None:
        with one.reading() as db:
            audit = PendingAudits(db).next_audit(NOW, slow=False)
        assert audit is not None
        auditor._later(audit, MessagingError("away"))

    assert waits(one, "audits", fail, 12) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_transfer_asks_the_catalog_again_after_a_second_up_to_a_minute(store, monkeypatch) -> None:
    """Whose an object is."""
    clock = Clock()
    monkeypatch.setattr(provenance, "time", SimpleNamespace(monotonic=clock))
    asked: list[float] = []

    class Silent(ProvenanceCheck):
        def _note_all(self, upload: Any, station: Any) -> None:
            asked.append(clock.now)
            raise MessagingError("away")

    one, upload = Silent(store(), None), SimpleNamespace(upload_id="u1")  # type: ignore[arg-type]
    while clock.now < NOW + 240:
        assert one.classify_conflict(upload, HERE, NOW) is ConflictOrigin.UNANSWERED  # type: ignore[arg-type]
        clock.now += 0.5
    assert [after - before for before, after in itertools.pairwise(asked)] == TO_A_MINUTE


def test_a_program_follows_events_again_after_a_moment_up_to_ten_seconds(monkeypatch) -> None:
    """The gateway is away; an event that comes begins the waits anew."""
    slept: list[float] = []
    monkeypatch.setattr(gateway_client, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    calls = itertools.count(1)

    def answer(_: httpx.Request) -> httpx.Response:
        if next(calls) in (3, 12):
            return httpx.Response(200, text="id: 1\nevent: x\ndata: {}\n\n")
        raise httpx.ConnectError("away")

    with GatewayClient("http://gateway.invalid", transport=httpx.MockTransport(answer)) as gateway:
        events = gateway.events()
        while len(slept) < 13:
            next(events)
    assert slept == [0.3, 0.6, 0.3, 0.6, 1.2, 2.4, 4.8, 9.6, 10, 10, 10, 0.3, 0.6]


def test_a_harvester_reads_again_after_five_seconds_up_to_an_hour(clock, store) -> None:
    """After a try that has ended the reader, and while the storage is the trouble."""
    five = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    one = store(file_queue.SCHEMA)
    with one.transaction() as db:
        file_queue.add(db, builders.event(builders.file_stored(builders.file_version())), [])
        stored = builders.file_stored(builders.file_version())
        file_queue.add(db, builders.event(stored), stored.files)

    def begin() -> file_queue.QueuedFile:
        with one.transaction() as db:
            found = file_queue.begin(db, NOW, slow=False)
        assert found is not None
        return found

    def wait() -> None:
        found = begin()
        with one.transaction() as db:
            file_queue.wait(db, found, NOW, "away", whole_remote=False)

    assert waits(one, "wanted", begin, 12) == five
    assert waits(one, "wanted", wait, 12) == five


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BrokerUnreachable("away"), [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15]),
        (BrokerRefused("no"), [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]),
    ],
)
def test_the_broker_is_reached_for_again_at_once_up_to_a_quarter_of_a_minute(monkeypatch, error, expected) -> None:
    """Half a minute where it refuses; chance takes up to half of each wait."""
    wait = asyncio.sleep

    async def told(chance: float) -> list[float]:
        slept: list[float] = []
        ours = asyncio.current_task()

        async def sleep(seconds: float) -> None:
            if asyncio.current_task() is not ours:  # a server in another thread of this process
                await wait(seconds)
                return
            slept.append(seconds)
            if len(slept) == len(expected):
                raise asyncio.CancelledError

        async def attempt() -> None:
            raise error

        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(random, "random", lambda: chance)
        monkeypatch.setattr(random, "uniform", lambda least, most: least + (most - least) * chance)
        with pytest.raises(asyncio.CancelledError):
            await keep(attempt, lambda _: None, Tuning())
        return slept

    assert asyncio.run(told(1.0)) == pytest.approx(expected)
    assert asyncio.run(told(0.0)) == pytest.approx([wait / 2 for wait in expected])
