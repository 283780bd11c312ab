"""What the transfer looks up costs no more in a ledger that is full of finished uploads, or of waiting files."""

import sqlite3

import pytest

from datauploader.contracts import FileVersion
from datauploader.reliability import Store
from datauploader_testing.builders import event, file_ready, file_stored, file_version
from datauploader_testing.effort import effort
from datauploader_transfer import schema
from datauploader_transfer.compaction import CompactedJobs
from datauploader_transfer.domain.plan import LARGE
from datauploader_transfer.ledger import Job, JobTable, UploadRoutes

FILES = [file_version(f"frame_{number:04}.h5") for number in range(200)]


@pytest.fixture
def store() -> Store:
    """An empty ledger."""
    return Store(None, [schema.SCHEMA])


def add(store: Store, upload_id: str, *files: FileVersion, stored: bool) -> None:
    """Put an upload into the ledger, with its files stored or waiting."""
    with store.transaction() as db:
        for start in range(0, len(files), 100):
            JobTable(db).add_ready(event(file_ready(*files[start : start + 100], upload_id=upload_id)))
        if stored:
            JobTable(db).mark_stored(upload_id, file_stored(*files, upload_id=upload_id).files)


def test_finding_what_to_move_does_not_go_through_what_is_stored(store: Store) -> None:
    """With fifty finished uploads of 200 files it takes hardly more steps than with none."""
    add(store, "open-0001", *FILES[:50], stored=False)
    with store.reading() as db:

        def look() -> object:
            table = JobTable(db)
            return table.movable_uploads(10), table.next_job_due(10), table.backlog()

        alone = effort(db, look)
        for number in range(50):
            add(store, f"finished-{number:04}", *FILES, stored=True)
        assert look() == (["open-0001"], None, {"open-0001": (50, "open")})
        assert effort(db, look) < alone + 100


def test_finding_what_to_move_does_not_go_through_what_waits(store: Store) -> None:
    """Each batch is found in as many steps, whether fifty files wait or two hundred."""
    with store.reading() as db:

        def look() -> object:
            table = JobTable(db)
            return table.movable_uploads(10), table.next_job_due(10)

        add(store, "open-0001", *FILES[:50], stored=False)
        few = effort(db, look)
        add(store, "open-0001", *FILES, stored=False)
        with store.transaction() as writing:
            for file in FILES[:150]:
                JobTable(writing).mark_failed("open-0001", file, reason="unreachable", due=5)
        assert effort(db, look) < few + 100


@pytest.mark.attack("S25")
def test_a_batch_of_files_with_very_long_paths_has_fewer(store: Store) -> None:
    """What is known of the files of one batch takes bounded memory, whatever their paths are; one goes in any case."""
    long = [file_version(f"{number:03}/" + "d/" * 2000 + "frame.h5") for number in range(200)]
    add(store, "deep-0001", *long, stored=False)
    add(store, "flat-0001", *FILES, stored=False)
    with store.transaction() as db:
        taken = [
            JobTable(db).take_jobs(upload_id, 10, most_files=200, most_bytes=10**12, busy=())
            for upload_id in ("deep-0001", "flat-0001")
        ]
    assert [len(jobs) for jobs in taken] == [62, 200]


def test_large_files_are_found_among_many_small_ones_and_travel_apart(store: Store) -> None:
    """Finding one takes no more steps with two hundred others before it."""
    large = file_version("z/large.h5").model_copy(update={"size": LARGE})
    add(store, "open-0001", large, stored=False)

    def take(db: sqlite3.Connection) -> list[Job]:
        return JobTable(db).take_jobs("open-0001", 10, most_files=9, most_bytes=10**12, busy=(), large=True)

    with store.transaction() as db:
        alone = effort(db, lambda: take(db))
        JobTable(db).requeue_jobs("open-0001", [large])
    add(store, "open-0001", *FILES, stored=False)
    with store.transaction() as db:
        assert effort(db, lambda: take(db)) < alone + 100
        JobTable(db).requeue_jobs("open-0001", [large])
        assert [job.file.raw for job in take(db)] == [large.raw]
        jobs = JobTable(db).take_jobs("open-0001", 10, most_files=500, most_bytes=10**12, busy=(), large=False)
    assert len(jobs) == len(FILES)


@pytest.mark.attack("S25")
def test_an_upload_is_remembered_without_the_files_that_it_began_with(store: Store) -> None:
    """Each batch reads the row of its upload, whose first event may have a MiB of files."""
    add(store, "open-0001", *FILES, stored=False)
    with store.reading() as db:
        assert len(UploadRoutes(db).find_route("open-0001").cause) < 2000


def test_a_version_that_a_newer_one_has_overtaken_is_not_noted_as_stored(store: Store) -> None:
    """The newer one waits, and nobody is told that the older one is what the storage should hold."""
    old, new = file_version("a.h5", revision=1), file_version("a.h5", b"new", revision=2)
    add(store, "open-0001", old, stored=False)
    add(store, "open-0001", new, stored=False)
    with store.transaction() as db:
        assert JobTable(db).mark_stored("open-0001", file_stored(old, upload_id="open-0001").files) == []
        assert JobTable(db).has_files_waiting("open-0001")


def test_a_newer_version_that_comes_while_a_file_moves_waits_beside_what_was_stored(store: Store) -> None:
    """The others of its batch are noted as stored at once; of the overtaken one nothing is said."""
    add(store, "open-0001", *FILES[:3], stored=False)
    newer = file_version("frame_0001.h5", b"newer", revision=FILES[1].revision + 1)
    with store.transaction() as db:
        table = JobTable(db)
        taken = table.take_jobs("open-0001", 10, most_files=3, most_bytes=10**12, busy=())
        table.add_ready(event(file_ready(newer, upload_id="open-0001")))
        stored = file_stored(*(job.file for job in taken), upload_id="open-0001").files
        assert [one.file.path for one in table.mark_stored("open-0001", stored)] == ["frame_0000.h5", "frame_0002.h5"]
        assert table.backlog() == {"open-0001": (1, "open")}
        [job] = table.take_jobs("open-0001", 10, most_files=3, most_bytes=10**12, busy=())
        assert job.file == newer


def test_what_waits_is_counted_right_whatever_becomes_of_it(store: Store) -> None:
    """The count is kept beside the rows, and never read from them again."""
    upload_id = "open-0001"
    newer = [file.model_copy(update={"revision": file.revision + 1, "size": 7}) for file in FILES[:9]]
    with store.transaction() as db:
        table = JobTable(db)

        def waiting() -> tuple[int, int]:
            rows = db.execute("SELECT count(*) FROM jobs WHERE state = 'waiting'").fetchone()[0]
            return rows, table.backlog().get(upload_id, (0, ""))[0]

        counted = []

        def take() -> list[FileVersion]:
            taken = table.take_jobs(upload_id, 10, most_files=5, most_bytes=10**12, busy=())
            counted.append(waiting())
            return [job.file for job in taken]

        add(store, upload_id, *FILES[:20], stored=False)
        add(store, upload_id, *FILES[:25], stored=False)
        first, second, third = take(), take(), take()
        table.mark_stored(upload_id, file_stored(*first, upload_id=upload_id).files)
        table.requeue_jobs(upload_id, second)
        counted.append(waiting())
        for number, file in enumerate(third):
            table.mark_failed(upload_id, file, reason="failed", due=None if number % 2 else 5.0)
        counted.append(waiting())
        table.retry_jobs(upload_id)
        counted.append(waiting())
        add(store, upload_id, *newer, stored=False)
        counted.append(waiting())
        table.mark_stored(upload_id, file_stored(*newer[:2], upload_id=upload_id).files)
        counted.append(waiting())
        CompactedJobs(db).drop_waiting(upload_id, 4)
        counted.append(waiting())
    assert [rows for rows, _ in counted] == [20, 15, 10, 15, 18, 20, 25, 23, 19]
    assert all(rows == count for rows, count in counted)
