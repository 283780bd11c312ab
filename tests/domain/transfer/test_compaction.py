"""Whether stored files are compacted makes no difference to anybody who asks about them, or changes them."""

import random
import time

import pytest

from datauploader.contracts import FileReady, FileVersion, StoredFile
from datauploader.reliability import Store
from datauploader_testing.builders import THERE, event, file_ready, file_stored, file_version
from datauploader_testing.effort import effort
from datauploader_transfer import schema
from datauploader_transfer.audits import PendingAudits
from datauploader_transfer.compaction import CompactedJobs, compact_some
from datauploader_transfer.ledger import JobTable, UploadRoutes, object_path
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import UNPROVED

NAMES = [f"scan/{number:02}.h5" for number in range(30)]
OBJECTS = [object_path(THERE.location, name) for name in NAMES]
UPLOADS = ["upload-0001", "upload-0002"]


def ledger() -> Store:
    """Open an empty ledger."""
    return Store(None, [schema.SCHEMA])


def ready(store: Store, upload_id: str, *files: FileVersion) -> list[StoredFile]:
    """Hear that files are ready; return those that are answered at once."""
    with store.transaction() as db:
        return JobTable(db).add_ready(event(file_ready(*files, upload_id=upload_id)))


def finish(store: Store, upload_id: str, *files: FileVersion, wrote: bool = True) -> None:
    """Store what waits of these files."""
    with store.transaction() as db:
        versions = [(object_path(THERE.location, file.path), file.digests.values()) for file in files]
        ObjectOwners(db).note_versions(THERE.remote, upload_id, versions, wrote=wrote)
        JobTable(db).mark_stored(upload_id, file_stored(*files, upload_id=upload_id).files)


def compact(store: Store, most: int = 4) -> int:
    """Compact what may be, after a long time; return how many slices that took."""
    slices = 0
    with store.transaction() as db:
        db.execute("UPDATE uploads SET touched = 5 WHERE touched IS NOT NULL")
        compacted = CompactedJobs(db)
        while found := compacted.find_compactable(10):
            if not (found[1] and compacted.drop_waiting(found[0], most)):
                compacted.compact_files(found[0], most)
            slices += 1
    return slices


def count(store: Store, table: str) -> int:
    """Count rows."""
    with store.reading() as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def everything(store: Store) -> object:
    """Ask the ledger whose every object is."""
    with store.reading() as db:
        owners = ObjectOwners(db)
        return [
            (
                owners.replaceable_digests(THERE.remote, OBJECTS, uploads),
                [owners.known_digests(THERE.remote, name) for name in OBJECTS],
                list(owners.written_objects(THERE.remote, OBJECTS)),
            )
            for uploads in ([], *([one] for one in UPLOADS), UPLOADS)
        ], JobTable(db).backlog()


@pytest.mark.parametrize("seed", range(8))
def test_a_ledger_that_is_compacted_again_and_again_answers_like_one_that_never_was(seed: int) -> None:
    """Two uploads of one place, newer versions, older ones that come late, repetitions, what was only found there."""
    chance, one, other = random.Random(seed), ledger(), ledger()
    for _ in range(12):
        upload_id, wrote = chance.choice(UPLOADS), chance.random() < 0.7
        some = [file_version(chance.choice(NAMES), b"%d" % n, revision=chance.randrange(5)) for n in range(4)]
        done = chance.random() < 0.8
        told = [ready(store, upload_id, *some) for store in (one, other)]
        assert told[0] == told[1]
        if done:
            for store in (one, other):
                finish(store, upload_id, *some, wrote=wrote)
        if chance.random() < 0.6:
            compact(one, chance.randrange(1, 6))
        if chance.random() < 0.3:
            versions = [(object_path(THERE.location, file.path), file.digests.values()) for file in some]
            for store in (one, other):
                with store.transaction() as db:
                    ObjectOwners(db).restore_versions(THERE.remote, upload_id, versions)
        assert everything(one) == everything(other)


def test_all_that_is_left_of_an_upload_that_was_stored_long_ago_is_a_few_blocks() -> None:
    """No job has a row, and no owner but one that is still to be proved."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    ready(store, UPLOADS[0], *files)
    finish(store, UPLOADS[0], *files)
    with store.transaction() as db:
        ObjectOwners(db).note_versions(THERE.remote, UPLOADS[0], [(OBJECTS[3], (UNPROVED,))], wrote=True)
    before = everything(store)
    assert compact(store, 10) == 4
    assert (count(store, "jobs"), count(store, "owners"), count(store, "blocks")) == (0, 1, 3)
    assert everything(store) == before
    with store.transaction() as db:
        ObjectOwners(db).forget_unproved(THERE.remote, OBJECTS, UPLOADS)
    assert count(store, "owners") == 0


def test_nothing_is_compacted_that_waits_or_was_heard_of_lately() -> None:
    """A file that is still to be moved may need all that is known of the others."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    ready(store, UPLOADS[0], *files)
    finish(store, UPLOADS[0], *files[1:])
    assert compact(store) == 0
    with store.transaction() as db:
        assert JobTable(db).take_jobs(UPLOADS[0], 10, most_files=1, most_bytes=10, busy=())
    assert compact(store) == 0
    finish(store, UPLOADS[0], files[0])
    with store.transaction() as db:
        assert not compact_some(db, time.time() - 60)
    assert compact(store) > 0


def test_what_a_cancelled_upload_never_moved_is_forgotten_and_stays_cancelled_when_it_is_said_again() -> None:
    """Else what waits for nothing would be looked at for ever."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    ready(store, UPLOADS[0], *files)
    finish(store, UPLOADS[0], *files[:5])
    with store.transaction() as db:
        cancel = event(FileReady.model_construct())
        UploadRoutes(db).steer_upload(UPLOADS[0], "cancel", cancel.time, 1)
    compact(store)
    assert count(store, "jobs") == 0
    assert len(ready(store, UPLOADS[0], *files)) == 5
    with store.reading() as db:
        assert JobTable(db).movable_uploads(10) == []


def test_a_file_that_is_to_be_sent_again_has_a_row_again() -> None:
    """A comparison of the storage has found it missing, years later."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    ready(store, UPLOADS[0], *files)
    finish(store, UPLOADS[0], *files)
    compact(store)
    with store.transaction() as db:
        db.execute("INSERT INTO lacking VALUES (?, ?)", (UPLOADS[0], files[7].raw))
        PendingAudits(db).requeue_lacking(UPLOADS[0])
        jobs = JobTable(db).take_jobs(UPLOADS[0], 10, most_files=9, most_bytes=10**9, busy=())
    assert [job.file for job in jobs] == [files[7]]


def test_counting_what_waits_and_a_start_and_a_trial_take_as_long_with_many_files_as_with_few() -> None:
    """They are asked for each second, at each start, and for as long as a storage is away."""
    store = ledger()

    def look(db) -> list[int]:
        table = JobTable(db)
        one = {"most_files": 1, "most_bytes": 10**9, "busy": ()}
        return [
            effort(db, table.backlog),
            effort(db, lambda: table.requeue_interrupted(table.interrupted())),
            effort(db, lambda: table.take_jobs(UPLOADS[0], 10, **one)),
        ]

    efforts = []
    for start, end in ((0, 20), (20, 400)):
        files = [file_version(f"{number:04}.h5", b"x" * (500 - number)) for number in range(start, end)]
        ready(store, UPLOADS[0], *files[::2])
        ready(store, UPLOADS[1], *files[1::2])
        with store.transaction() as db:
            efforts.append(look(db))
            JobTable(db).requeue_interrupted(JobTable(db).interrupted())
            assert JobTable(db).backlog() == {UPLOADS[0]: (end // 2, "open"), UPLOADS[1]: (end // 2, "open")}
    assert all(many < few + 60 for few, many in zip(*efforts, strict=True)), efforts


def test_what_an_earlier_release_wrote_of_stored_files_is_understood() -> None:
    """It kept the version twice."""
    store, file = ledger(), file_version()
    ready(store, UPLOADS[0], file)
    (stored,) = file_stored(file, upload_id=UPLOADS[0]).files
    with store.transaction() as db:
        db.execute("UPDATE jobs SET state = 'stored', stored = ?", (stored.to_json().decode(),))
    assert ready(store, UPLOADS[0], file) == [stored]
    compact(store)
    assert ready(store, UPLOADS[0], file) == [stored]
