"""The view in Redis, on the stand-in and on a real server: what is written is read back, exactly, fast, compact."""

import random
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from datauploader.contracts import (
    DatasetSpec,
    Destination,
    Event,
    EventData,
    FailedFile,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileStored,
    FileVersion,
    LeftOutFile,
    Person,
    Station,
    StationReported,
    StoredFile,
    TransferProgressed,
    UploadOpened,
    UploadRequested,
)
from datauploader.errors import Park
from datauploader_gateway import redis_client
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.facts import STATES
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_testing.servers import RedisServer

STATION = Station(facility="elettra", beamline="xrd1", station="ws01")
ELSEWHERE = Station(facility="elettra", beamline="xrd2", station="ws01")
THERE = Destination(remote="archive", location="1/scan")


@pytest.fixture
def server(redis_server: RedisServer) -> str:
    """Name the private Redis."""
    return redis_server.address.url


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name a Redis that is empty."""
    address = f"memory://{uuid.uuid4()}" if request.param == "stand-in" else request.getfixturevalue("server")
    client = redis_client.connect(address)
    client.flushall()
    yield address
    client.close()


@pytest.fixture
def writer(url: str) -> Iterator[ViewWriter]:
    """Write into it."""
    client = redis_client.connect(url)
    yield ViewWriter(client, kept_s=1000)
    client.close()


def read(url: str, name: str, *arguments: Any) -> Any:
    """Call one method of the reader in an event loop of its own."""

    async def run() -> Any:
        client = redis_client.connect_async(url)
        try:
            return await getattr(ViewReader(client), name)(*arguments)
        finally:
            await client.aclose()

    return anyio.run(run)


def said(data: EventData) -> Event[EventData]:
    """Wrap data into an event of now."""
    return Event(data=data, station=STATION, service="test")


def requested(upload_id: str) -> Event[EventData]:
    """Ask for an upload."""
    data = UploadRequested(
        upload_id=upload_id, investigation="1", dataset=DatasetSpec(name="scan"), root="/data", mode="sync",
        destination=THERE, requested_by=Person(id="7"),
    )  # fmt: skip
    return said(data)


def files(first: int, count: int) -> tuple[FileVersion, ...]:
    """Return versions with paths of a usual length."""
    return tuple(
        FileVersion.of(f"scan_0001/frames/image_{n:07d}.tif".encode(), size=20_000, mtime_ns=n, sha256=f"{n:064x}",
                       revision=1)
        for n in range(first, first + count)
    )  # fmt: skip


def ready(upload_id: str, some: tuple[FileVersion, ...]) -> Event[EventData]:
    """Announce them."""
    return said(FileReady(upload_id=upload_id, root="/data", destination=THERE, files=some))


def stored(upload_id: str, some: tuple[FileVersion, ...]) -> Event[EventData]:
    """Say that they are stored."""
    kept = tuple(StoredFile(file=f, object=f.path, state="verified", method="read back") for f in some)
    return said(FileStored(upload_id=upload_id, destination=THERE, files=kept))


@pytest.mark.fault("F55")
def test_two_computers_that_report_for_one_service_are_both_named(url: str, writer: ViewWriter) -> None:
    """Whoever spoke last, the other one is told of until it has been silent for three reports."""

    def report(host: str, seconds: float, state: str = "ok") -> Event[EventData]:
        data = StationReported(service="watcher", version="1", host=host, state=state, interval_s=10)
        return Event(data=data, station=STATION, service="watcher", time=datetime.now(UTC) + timedelta(seconds=seconds))

    def hosts() -> tuple[str, tuple[str, ...]]:
        (station,) = read(url, "stations", [STATION.key], datetime.now(UTC))
        return station.services[0].host, station.services[0].others

    for host, seconds in (("pc-a", -100), ("pc-b", -95), ("pc-a", -90)):
        writer.apply(report(host, seconds))
    assert hosts() == ("pc-a", ("pc-b",))
    assert not writer.apply(report("pc-b", -97))
    writer.apply(report("pc-a", -50))
    assert hosts() == ("pc-a", ())
    writer.apply(report("pc-a", -40, "stopping"))
    writer.apply(report("pc-b", -39))
    assert hosts() == ("pc-b", ())


@pytest.mark.fault("F54")
def test_a_report_counts_although_the_one_before_was_said_by_a_clock_that_was_ahead(
    url: str, writer: ViewWriter
) -> None:
    """Else a station would seem alive, or well, until its clock has caught up."""
    now = datetime.now(UTC)
    for number, (at, state) in enumerate(((now + timedelta(hours=2), "ok"), (now, "degraded"))):
        data = StationReported(service="watcher", version="1", host="pc", state=state, interval_s=10)
        writer.apply(Event(data=data, station=STATION, service="watcher", time=at, sequence=number + 1))
    (station,) = read(url, "stations", [STATION.key], now)
    assert station.services[0].state == "degraded"


@pytest.mark.fault("F26")
def test_counts_and_lists_agree_under_duplicates_and_disorder(url: str, writer: ViewWriter) -> None:
    """Every event three times, shuffled: each file once, in one list, in its furthest state."""
    upload_id = "u-duplicates"
    events = [requested(upload_id), said(UploadOpened(upload_id=upload_id))]
    for first in range(0, 1000, 200):
        events += [ready(upload_id, files(first, 200)), stored(upload_id, files(first, 200))]
    often = events * 3
    random.Random(4).shuffle(often)
    for event in often:
        writer.apply(event)
    upload = read(url, "upload", upload_id)
    assert (upload.state, upload.counts.ready.files, upload.counts.verified.files) == ("open", 1000, 1000)
    assert upload.counts.verified.bytes == 20_000_000
    client = redis_client.connect(url)
    assert {s: client.zcard(keys.in_state(upload_id, s)) for s in STATES if s != "verified"} == dict.fromkeys(
        (s for s in STATES if s != "verified"), 0
    )
    assert client.zcard(keys.in_state(upload_id, "verified")) == 1000
    client.close()


def everything(url: str, upload_id: str) -> dict[bytes, Any]:
    """Return all that is kept of an upload but what watchers were told."""
    client = redis_client.connect(url)
    kept: dict[bytes, Any] = {}
    for key in sorted(client.keys(f"*{upload_id}*")):
        if client.type(key) == b"hash":
            kept[key] = client.hgetall(key)
        elif client.type(key) == b"zset":
            kept[key] = client.zrange(key, 0, -1)
        elif client.type(key) == b"string":
            kept[key] = client.get(key)
    client.close()
    return kept


@pytest.mark.fault("F26")
def test_what_is_written_together_is_what_is_written_one_after_the_other(url: str, writer: ViewWriter) -> None:
    """Events of two uploads, a failure that is overtaken, an omission that is taken back, reports: the same Redis."""
    upload_id, other = "u-together", "u-beside-it"
    one, two = files(0, 3)[:2], files(3, 2)
    failed = FileFailed(
        upload_id=upload_id,
        files=tuple(FailedFile(file=f, reason="conflict", detail="taken", final=True) for f in (*one, *two)),
    )
    left = [
        FileLeftOut(upload_id=upload_id, files=(LeftOutFile(path=f, reason="gone", detail="", returned=returned),))
        for f, returned in (("a.tmp", False), ("b.tmp", False), ("a.tmp", True))
    ]
    reports = [TransferProgressed(upload_id=upload_id, waiting=n, bytes_per_s=1000) for n in (2, 1, 0)]
    events = [
        requested(upload_id), ready(upload_id, one), ready(other, files(0, 5)), said(reports[0]), said(failed),
        *map(said, left), stored(upload_id, one), said(reports[1]), stored(other, files(0, 5)), said(reports[2]),
    ]  # fmt: skip
    for event in events:
        writer.apply(event)
    alone = everything(url, upload_id) | everything(url, other)
    client = redis_client.connect(url)
    client.flushall()
    client.close()
    assert writer.apply(*events)
    assert everything(url, upload_id) | everything(url, other) == alone
    assert not writer.apply(*events)


@pytest.mark.attack("S30")
def test_no_station_speaks_about_the_upload_of_another(url: str, writer: ViewWriter) -> None:
    """Neither files, nor states, nor a request that would make it somebody else's."""
    upload_id = "u-anothers"
    writer.apply(requested(upload_id))
    writer.apply(ready(upload_id, files(0, 1)))
    theirs = requested(upload_id)
    stolen = theirs.data.model_copy(update={"requested_by": Person(id="8")})
    for data in (stolen, ready(upload_id, files(1, 5)).data, stored(upload_id, files(0, 1)).data):
        with pytest.raises(Park, match="belongs to"):
            writer.apply(Event(data=data, station=ELSEWHERE, service="test"))
    upload = read(url, "upload", upload_id)
    assert (upload.requested_by.id, upload.station) == ("7", STATION.key)
    assert (upload.counts.ready.files, upload.counts.verified.files) == (1, 0)


@pytest.mark.attack("S30")
def test_what_another_station_said_before_the_request_is_forgotten(url: str, writer: ViewWriter) -> None:
    """Whoever guesses an upload's name beforehand gains nothing, and stops nobody."""
    upload_id = "u-guessed"
    writer.apply(Event(data=stored(upload_id, files(0, 9)).data, station=ELSEWHERE, service="test"))
    writer.apply(requested(upload_id))
    writer.apply(ready(upload_id, files(0, 1)))
    upload = read(url, "upload", upload_id)
    assert (upload.station, upload.counts.ready.files, upload.counts.verified.files) == (STATION.key, 1, 0)
    assert read(url, "files", upload_id, ["verified"], "", 10) == ([], None)


def test_two_gateways_that_write_to_one_upload_count_every_file_once(url: str) -> None:
    """Each folds half of the events and all of the duplicates, at the same time."""
    upload_id = "u-two-gateways"
    events = [requested(upload_id), *(ready(upload_id, files(first, 20)) for first in range(0, 400, 20))]
    events += [stored(upload_id, files(first, 20)) for first in range(0, 400, 20)]
    clients = [redis_client.connect(url) for _ in range(2)]

    def write(client: Any, seed: int) -> None:
        mine = list(events)
        random.Random(seed).shuffle(mine)
        for event in mine:
            ViewWriter(client, kept_s=1000).apply(event)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, clients, (1, 2)))
    for client in clients:
        client.close()
    counts = read(url, "upload", upload_id).counts
    assert (counts.ready.files, counts.verified.files, counts.verified.bytes) == (400, 400, 8_000_000)


def test_pages_have_every_file_once(url: str, writer: ViewWriter) -> None:
    """Across the border between two states as well."""
    upload_id = "u-pages-of-files"
    writer.apply(requested(upload_id))
    writer.apply(ready(upload_id, files(0, 30)))
    writer.apply(stored(upload_id, files(0, 10)))
    words = tuple(FailedFile(file=f, reason="conflict", detail="taken", final=True) for f in files(10, 5))
    writer.apply(said(FileFailed(upload_id=upload_id, files=words)))
    seen, after = [], ""
    while after is not None:
        items, after = read(url, "files", upload_id, STATES, after, 7)
        seen += items
    assert len({f.path for f in seen}) == len(seen) == 30
    assert [f.state for f in seen] == ["failed"] * 5 + ["ready"] * 15 + ["verified"] * 10


def test_a_file_that_changes_its_state_while_it_is_listed_comes_once(url: str, writer: ViewWriter) -> None:
    """Lists of several states are one look: else it is found in both, or in neither."""
    some = files(0, 40)
    writer.apply(requested("upload-0001"))
    writer.apply(ready("upload-0001", some))

    def go_on() -> None:
        for one in some:
            stored = StoredFile(file=one, object=f"1/scan/{one.path}", state="verified", method="sha256")
            writer.apply(said(FileStored(upload_id="upload-0001", destination=THERE, files=(stored,))))

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(go_on)
        while not moving.done():
            listed, _ = read(url, "files", "upload-0001", STATES, "", 100)
            assert [one.path for one in sorted(listed, key=lambda one: one.path)] == [one.path for one in some]
        moving.result()


def test_what_is_left_out_and_comes_back_is_not_listed(url: str, writer: ViewWriter) -> None:
    """The latest word counts."""
    upload_id = "u-left-out"
    writer.apply(requested(upload_id))
    for returned in (False, True):
        one = LeftOutFile(path="a.tmp", reason="excluded", detail="", returned=returned)
        two = LeftOutFile(path="b.tmp", reason="excluded", detail="")
        writer.apply(said(FileLeftOut(upload_id=upload_id, files=(one, two))))
    items, after = read(url, "left_out", upload_id, "", 10)
    assert ([item.path for item in items], after) == (["b.tmp"], None)
    assert read(url, "upload", upload_id).left_out == 1


def test_an_old_report_of_a_station_does_not_replace_a_newer_one(url: str, writer: ViewWriter) -> None:
    """Reports may overtake each other as well."""
    reports = [
        said(StationReported(service="watcher", version="1", host="ws01", state=state, interval_s=10))
        for state in ("starting", "ok")
    ]
    assert writer.apply(reports[1])
    assert not writer.apply(reports[0])
    (station,) = read(url, "stations", [], reports[1].time)
    assert (station.services[0].state, station.silent) == ("ok", False)


@pytest.mark.redis
def test_two_hundred_files_are_folded_in_milliseconds(server: str) -> None:
    """Ready and stored events of 200 files, as a busy upload has them, on a real Redis."""
    client = redis_client.connect(server)
    writer, upload_id = ViewWriter(client, kept_s=1000), "u-performance"
    writer.apply(requested(upload_id))
    spent = []
    for first in range(0, 10_000, 200):
        for event in (ready(upload_id, files(first, 200)), stored(upload_id, files(first, 200))):
            began = time.process_time()
            writer.apply(event)
            spent.append(time.process_time() - began)
    client.close()
    median = sorted(spent)[len(spent) // 2]
    assert median < 0.02, f"folding 200 files took {median * 1000:.1f} ms of processor time at the median"


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_all_files_come_in_order_of_their_paths_whatever_their_states(url: str, writer: ViewWriter, most: int) -> None:
    """A walk that looks at a few at a time in six lists finds every file once, in order."""
    upload_id = f"u-by-path-{most}"
    writer.apply(requested(upload_id))
    some = list(files(0, 60))
    random.Random(most).shuffle(some)
    writer.apply(ready(upload_id, tuple(some)))
    writer.apply(stored(upload_id, tuple(some[:25])))
    words = tuple(FailedFile(file=f, reason="conflict", detail="taken", final=True) for f in some[25:32])
    writer.apply(said(FileFailed(upload_id=upload_id, files=words)))
    seen = anyio.run(walk, url, upload_id, most)
    assert [known.path for known in seen] == sorted(f.raw for f in some)
    assert {known.facts.sha256 for known in seen} == {f.sha256 for f in some}
    assert {k.path for k in seen if k.failure} == {w.file.raw for w in words}


async def walk(url: str, upload_id: str, most: int = 1000) -> list[Any]:
    """Collect what the reader yields."""
    client = redis_client.connect_async(url)
    try:
        return [known async for some in ViewReader(client).by_path(upload_id, most=most) for known in some]
    finally:
        await client.aclose()


@pytest.mark.redis
def test_a_walk_through_many_files_holds_few_of_them_in_memory(server: str) -> None:
    """So a receipt of a million files can be streamed."""
    client = redis_client.connect(server)
    writer, upload_id = ViewWriter(client, kept_s=1000), "u-very-many"
    writer.apply(requested(upload_id))
    for first in range(0, 20_000, 500):
        writer.apply(stored(upload_id, files(first, 500)))
    client.close()

    async def run() -> tuple[int, int]:
        connection = redis_client.connect_async(server)
        count = 0
        tracemalloc.start()
        async for some in ViewReader(connection).by_path(upload_id):
            count += len(some)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await connection.aclose()
        return count, peak

    count, peak = anyio.run(run)
    assert count == 20_000
    assert peak < 4_000_000, f"the walk held {peak / 1e6:.1f} MB at its peak"


def test_what_moved_when_is_counted_once_for_upload_and_station(url: str, writer: ViewWriter) -> None:
    """However often a report comes; the view's loss and rebuilding give the same."""
    upload_id, now = "u-throughput", datetime.now(UTC).replace(microsecond=0)
    reports: list[Event[EventData]] = [
        Event(
            data=TransferProgressed(upload_id=upload_id, waiting=1, bytes_per_s=1000),
            station=STATION, service="transfer", time=now - timedelta(seconds=60 - second),
        )
        for second in range(60)
    ]  # fmt: skip
    results = []
    for _ in range(2):
        for event in [requested(upload_id), *reports, *reports, reports[7]]:
            writer.apply(event)
        flow, station = read(url, "flow", upload_id), read(url, "station_flow", STATION.key, now)
        assert (sum(flow.amounts), sum(station.amounts)) == (60_000, 60_000)
        assert max(flow.amounts) == 10_000
        results.append((flow, station))
        client = redis_client.connect(url)
        client.flushall()
        client.close()
    assert results[0] == results[1]
