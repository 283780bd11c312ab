"""The log of the in-process broker in a file: a desktop knows after a restart what it knew before."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datauploader.contracts import Event, EventData, StationReported, UploadScanned, decode, encode
from datauploader.contracts.envelope import EncodedEvent
from datauploader.errors import BrokerUnreachable
from datauploader.messaging.memory import log
from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.messaging.memory.log import MemoryLog, log_file_of
from datauploader_gateway import redis_client
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.facts import FileFacts
from datauploader_gateway.projection.timing import NEVER
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_testing import builders
from datauploader_testing.effort import effort

DAY_S = 24 * 3600.0
KEPT_S = 90 * DAY_S


class Clock:
    """Stands where it is put."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """Begin somewhere."""
        self.now = now

    def time(self) -> float:
        """Return the wall clock's time."""
        return self.now

    def monotonic(self) -> float:
        """Return what never goes back."""
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Have the log read this clock."""
    clock = Clock()
    monkeypatch.setattr(log, "time", clock)
    return clock


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[MemoryLog]]:
    """Close what a test has opened."""
    logs: list[MemoryLog] = []
    yield logs
    for one in logs:
        one.close()


@pytest.fixture
def open_log(tmp_path: Path, opened: list[MemoryLog]):
    """Open the log as a start does; a former one is closed first."""

    def make(kept_s: float = KEPT_S, **options) -> MemoryLog:
        while opened:
            opened.pop().close()
        log = MemoryLog(tmp_path / "state" / "events.log", **options)
        log.keep(kept_s)
        opened.append(log)
        return log

    return make


def say(log: MemoryLog, *facts: EventData) -> list[Event[EventData]]:
    """Put events into the log."""
    events = [
        replace(builders.event(fact), service=fact.service)
        if isinstance(fact, StationReported)
        else builders.event(fact)
        for fact in facts
    ]
    for event in events:
        log.append(EncodedEvent.of(event))
    return events


def bodies(log: MemoryLog) -> list[bytes]:
    """Return what the log holds, in order."""
    found, position = [], 0
    while (entry := log.next(position)) is not None:
        position = entry[0] + 1
        found.append(entry[2])
    return found


def kinds(log: MemoryLog) -> list[str]:
    """Return what kinds of events the log holds."""
    return [json.loads(body)["type"].removeprefix("eu.ceric.datauploader.") for body in bodies(log)]


def life(upload_id: str) -> tuple[EventData, ...]:
    """Return the events of an upload from its request to its end."""
    file = builders.file_version("Δομή.h5")
    return (
        builders.upload_requested(upload_id=upload_id),
        builders.file_ready(file, upload_id=upload_id),
        builders.file_stored(file, upload_id=upload_id),
        builders.file_catalogued(file, upload_id=upload_id),
        builders.dataset_completed((file,), upload_id=upload_id),
    )


def drawn(log: list[bytes]) -> dict[bytes, object]:
    """Return what the view says of the upload after these events, but for when it heard of what.

    How long each step took is no part of it: with the announcements go the times that they say.
    """
    client = redis_client.connect(f"memory://{uuid.uuid4()}")
    writer = ViewWriter(client, kept_s=1e6)
    for body in log:
        writer.apply(decode(body))
    files = client.hgetall(keys.files("upload-0001"))
    known = {path: FileFacts.unpack(packed)._replace(times=NEVER) for path, packed in files.items()}
    found = {b"head": client.hgetall(keys.upload("upload-0001")), b"files": known}
    client.close()
    return found


def scanned(files: int, upload_id: str = builders.UPLOAD) -> UploadScanned:
    """Return a count."""
    return UploadScanned(upload_id=upload_id, files=files, bytes=files, settling=0, left_out=0)


def report(service: str = "watcher") -> StationReported:
    """Return a sign of life."""
    return StationReported(service=service, version="1", host="h", state="ok", interval_s=10)


@pytest.mark.posix  # modes of files
def test_what_was_said_is_there_after_a_restart(open_log, tmp_path: Path) -> None:
    """In order, byte by byte, with offsets that go on; readable by its owner alone."""
    events = say(open_log(), *life("upload-0001")[:4])
    log = open_log()
    assert bodies(log) == [encode(event) for event in events]
    (later,) = say(log, builders.upload_requested(upload_id="upload-0002"))
    assert log.next(len(events))[2] == encode(later)
    path = tmp_path / "state" / "events.sqlite"
    assert path.stat().st_mode & 0o077 == 0


def test_nothing_goes_for_the_size_of_the_log(open_log) -> None:
    """Far more than an upload's worth: the first event of an open upload, and a receipt, are still there."""
    log = open_log(most_bytes=1000)
    say(log, *life("upload-0001"), builders.upload_requested(upload_id="upload-open"))
    for number in range(50):
        say(log, builders.file_stored(builders.file_version(f"{number}.h5"), upload_id="upload-open"))
    log = open_log(most_bytes=1000)
    assert len(bodies(log)) == 55
    assert kinds(log)[0] == "upload.requested.v1"


def test_an_upload_goes_when_it_is_over_for_longer_than_was_promised(open_log, clock: Clock) -> None:
    """All of it together; what is open stays, however old it is; a word about it begins the time anew."""
    log = open_log()
    say(log, *life("upload-0001"), *life("upload-0002"), builders.upload_requested(upload_id="upload-open"))
    clock.now += 89 * DAY_S
    say(log, scanned(1, "upload-0002"))
    assert len(bodies(open_log())) == 10
    clock.now += 2 * DAY_S
    log = open_log()
    assert len(bodies(log)) == 6
    assert not any(b"upload-0001" in body for body in bodies(log))
    clock.now += 1000 * DAY_S
    assert kinds(open_log()) == ["upload.requested.v1"]


def test_only_the_latest_count_and_report_are_kept(open_log, clock: Clock) -> None:
    """At a start, and after a day; until then whoever reads the log finds the event that it waits for."""
    log = open_log()
    say(log, builders.upload_requested(), *(scanned(number) for number in range(5)), scanned(7, "upload-0002"))
    say(log, *(report() for _ in range(5)), report("transfer"))
    assert len(bodies(log)) == 13
    clock.now += DAY_S + 1
    say(log, report("gateway"))
    assert len(bodies(log)) == 6
    say(log, report("gateway"), scanned(8))
    log = open_log()
    assert len(bodies(log)) == 6
    assert json.loads(bodies(log)[-1])["data"]["files"] == 8


def test_the_view_of_a_completed_dataset_needs_announcements_for_its_times_alone(open_log) -> None:
    """The receipts say all else: what is drawn from the log after a start is what was drawn before, but for times."""
    log = open_log()
    say(log, *life("upload-0001"))
    before = drawn(bodies(log))
    log = open_log()
    assert "file.ready.v1" not in kinds(log)
    assert drawn(bodies(log)) == before


def test_the_lines_of_a_former_release_are_taken_over(tmp_path: Path, open_log) -> None:
    """With their times; a torn line costs no other; the file goes when all is in the new one."""
    path = tmp_path / "state" / "events.log"
    path.parent.mkdir()
    events = [builders.event(fact) for fact in life("upload-0001")]
    lines = [json.dumps(["2026-01-01T00:00:00+00:00", encode(event).decode()], ensure_ascii=False) for event in events]
    path.write_text("\n".join([*lines, '["2026-01-01T00:00:00+00:00", "to']), encoding="utf-8")
    log = open_log(kept_s=1e12)
    assert bodies(log) == [encode(event) for event in (events[0], *events[2:])]
    assert log.next(0)[1].isoformat() == "2026-01-01T00:00:00+00:00"
    assert not path.exists()


def test_an_event_that_the_file_does_not_take_is_not_taken(open_log) -> None:
    """Whoever says it keeps it: history has no hole because a disk was full for a while."""
    log = open_log()
    log._store._write.execute("PRAGMA query_only = ON")
    with pytest.raises(BrokerUnreachable, match="free space"):
        say(log, scanned(1))
    log._store._write.execute("PRAGMA query_only = OFF")
    say(log, scanned(1))
    assert kinds(log) == ["upload.scanned.v1"]


def test_without_a_file_the_oldest_go_when_it_is_full() -> None:
    """Memory is bounded; there is no restart that anything was promised for."""
    log = MemoryLog(None, most_bytes=3000)
    for number in range(200):
        say(log, scanned(number))
    kept = [json.loads(body)["data"]["files"] for body in bodies(log)]
    assert kept == list(range(kept[0], 200))
    assert 3 <= len(kept) < 30
    log.close()


def test_the_next_entry_costs_the_same_wherever_it_is(open_log) -> None:
    """It is found by its offset; nothing goes through what was read before."""
    log = open_log()
    say(log, *(builders.file_stored(builders.file_version(f"{number}.h5")) for number in range(500)))
    costs = {effort(log._store._read, lambda: log.next(offset)) for offset in (0, 250, 499)}  # noqa: B023
    assert max(costs) < 60


def test_the_address_names_the_file(tmp_path: Path) -> None:
    """A plain address keeps nothing."""
    path = tmp_path / "events.log"
    assert log_file_of(f"memory://{path.as_posix()}") == path
    assert log_file_of("memory://") is None
    assert log_file_of("memory://a1b2") is None
    assert MemoryBroker().next_logged(0, None) is None
