"""The ledger keeps its promises at size: every question that is asked often is answered by an index."""

import sqlite3

import pytest

from datauploader.contracts import decode
from datauploader.contracts.envelope import LARGEST
from datauploader.reliability import Store
from datauploader.reliability.outbox import SCHEMA as OUTBOX
from datauploader_testing import builders
from datauploader_watcher.domain.versions import Digests, Stamp, version
from datauploader_watcher.ledger.files import FileTable, new_row
from datauploader_watcher.ledger.receipts import FileReceipt, FileReceipts
from datauploader_watcher.ledger.schema import SCHEMA
from datauploader_watcher.ledger.uploads import UploadTable
from datauploader_watcher.outgoing.publishing import say_ready, seen_ms

DIGESTS = Digests(b"\x01" * 32, b"\x02" * 16)


@pytest.fixture
def store(tmp_path):
    """Give a ledger with one upload."""
    made = Store(tmp_path / "state.sqlite3", (SCHEMA,))
    with made.transaction() as db:
        db.execute("INSERT INTO uploads (id, upload_id, event, state) VALUES (1, 'upload-0001', x'', 'open')")
    yield made
    made.close()


def fill(db: sqlite3.Connection, count: int, **announced) -> None:
    """Keep so many versions in one folder."""
    folder = FileTable(db).make_folder(1, b"scan")
    names = [b"%06d" % number for number in range(count)]
    rows = [new_row(folder, name, b"scan/" + name, Stamp(10, 5, 7), DIGESTS, 1) for name in names]
    FileTable(db).put(1, rows, **announced)


def stored(count: int, revision: int = 1) -> list[FileReceipt]:
    """Say of the first of them that they are on the storage."""
    paths = [b"scan/%06d" % number for number in range(count)]
    return [
        FileReceipt(version(path, 10, 5, DIGESTS, revision), "stored", object=f"run1/{path.decode()}", due_at=9.0)
        for path in paths
    ]


ASKED_OFTEN = {
    "what a receipt is about": lambda db: FileReceipts(db).apply_held(1, stored(1)),
    "what a receipt of many files is about": lambda db: FileReceipts(db).apply_held(1, stored(10)),
    "what is ready": lambda db: FileTable(db).in_state(1, "ready", 10),
    "what is suspect": lambda db: FileTable(db).in_state(1, "suspect", 10),
    "what is overdue": lambda db: FileTable(db).overdue(1, before=5.0, beyond=1e12, most=10),
    "the oldest": lambda db: FileTable(db).oldest_announced(),
    "what to retry": lambda db: FileTable(db).retry_failed(1),
    "what was open when it was read": lambda db: FileTable(db).written(1),
    "a folder": lambda db: FileTable(db).known(1, b"", b"\xff"),
}


@pytest.mark.parametrize("question", ASKED_OFTEN)
def test_no_question_that_is_asked_often_reads_the_whole_table(store, question):
    """The query plans of what the code really asks name an index for the table of files."""
    asked: list[str] = []
    with store.transaction() as db:
        fill(db, 10, announced=(1.0, 2.0))
        db.set_trace_callback(asked.append)
        ASKED_OFTEN[question](db)
        db.set_trace_callback(None)
        plans = [row["detail"] for sql in asked for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert asked
    assert not [plan for plan in plans if plan.startswith(("SCAN f", "SCAN files"))], plans


def test_tallies_follow_every_change(store):
    """A million rows are never counted; triggers keep the sums."""
    with store.transaction() as db:
        fill(db, 100)
        assert FileTable(db).tallies(1)["ready"].files == 100
        assert FileTable(db).tallies(1)["ready"].bytes == 1000
        rows = FileTable(db).in_state(1, "ready", 40)
        FileTable(db).set_announced([(row, 9.0) for row in rows], 1.0)
        FileTable(db).put_left_out(1, rows[0].folder, b"zzz", "excluded", "")
        tallies = FileTable(db).tallies(1)
        assert {state: tally.files for state, tally in tallies.items()} == {"ready": 60, "announced": 40, "left-out": 1}
        fill(db, 10)
        assert FileTable(db).tallies(1)["ready"].files + FileTable(db).tallies(1)["announced"].files == 100
        FileTable(db).take_back(rows[0].folder, b"zzz")
        counted = {row[0]: row[1] for row in db.execute("SELECT state, count(*) FROM files GROUP BY state")}
        kept = {state: tally.files for state, tally in FileTable(db).tallies(1).items() if tally.files}
        assert counted == kept


@pytest.mark.parametrize("count", [1, 8, 9, 64, 65, 150])
def test_versions_of_any_number_are_kept_and_moved_by_their_receipts(store, count):
    """They are written in groups; what fills a group up leaves nothing behind."""
    with store.transaction() as db:
        fill(db, count, announced=(1.0, 2.0))
        assert db.execute("SELECT count(*) FROM files").fetchone()[0] == count
        FileReceipts(db).apply_held(1, stored(count))
        rows = db.execute("SELECT name, state, object, due_at FROM files ORDER BY name").fetchall()
        assert [tuple(row) for row in rows] == [
            (b"%06d" % number, "stored", f"run1/scan/{number:06}", 9.0) for number in range(count)
        ]
        assert FileTable(db).tallies(1)["stored"].files == count


def test_receipts_that_are_not_as_expected_keep_no_others_from_being_taken(store):
    """One that came twice, one of an older version, one of a file that only a lost ledger knew."""
    with store.transaction() as db:
        fill(db, 20, announced=(1.0, 2.0))
        older = stored(1, revision=0)
        FileReceipts(db).apply_held(1, [*stored(20), *stored(3), *older, *stored(21)[20:]], adopt=True)
        assert FileTable(db).tallies(1)["stored"].files == 21
        assert FileTable(db).tallies(1)["announced"].files == 0
        held = db.execute("SELECT name, revision FROM held").fetchall()
        assert [tuple(row) for row in held] == [(b"000000", 0)]


def test_a_version_in_place_of_a_stored_one_is_kept_and_the_stored_one_remembered(store):
    """Also where all others of its group are new."""
    with store.transaction() as db:
        fill(db, 10, announced=(1.0, 2.0))
        FileReceipts(db).apply_held(1, stored(10))
        folder = FileTable(db).make_folder(1, b"scan")
        names = [b"000003", *(b"%06d" % number for number in range(100, 120))]
        rows = [new_row(folder, name, b"scan/" + name, Stamp(11, 6, 8), DIGESTS, 2) for name in names]
        FileTable(db).put(1, rows)
        states = {state: tally.files for state, tally in FileTable(db).tallies(1).items()}
        assert states == {"announced": 0, "stored": 9, "ready": 21}
        assert [row[0] for row in db.execute("SELECT name FROM held")] == [b"000003"]


def test_a_folder_is_read_in_portions_that_together_are_all_of_it(store):
    """Each portion begins after the last name of the one before."""
    with store.transaction() as db:
        fill(db, 25)
        first = FileTable(db).known(1, b"", b"000009")
        second = FileTable(db).known(1, b"000009", None)
        assert len(first) == 10
        assert len(second) == 15
        assert not set(first) & set(second)


def forget_all(db: sqlite3.Connection, before: float = 100.0) -> int:
    """Forget what may be forgotten, a hundred files at a time; return how many times."""
    times = 0
    while (upload := UploadTable(db).find_forgettable(before)) is not None:
        FileTable(db).forget(upload, 100)
        times += 1
    return times


def test_the_files_of_an_upload_that_is_over_are_forgotten_some_at_a_time(store):
    """One folder may have a million; from the first on nobody takes what is left for all of them."""
    with store.transaction() as db:
        fill(db, 250)
        assert forget_all(db) == 0
        db.execute("UPDATE uploads SET state = 'completed', heard_at = 50")
        assert FileTable(db).remembered(1)
        FileTable(db).forget(1, 100)
        assert not FileTable(db).remembered(1)
        assert sum(tally.files for tally in FileTable(db).tallies(1).values()) == 150
        assert forget_all(db) == 2
        for table in ("files", "folders", "held"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_files_whose_local_copies_are_still_to_be_removed_are_not_forgotten(store):
    """Their drive may be away for longer than files are remembered."""
    with store.transaction() as db:
        fill(db, 2)
        db.execute("UPDATE files SET state = 'releasing'")
        db.execute("UPDATE uploads SET state = 'completed', heard_at = 50")
        assert forget_all(db) == 0
        db.execute("UPDATE files SET state = 'released'")
        assert forget_all(db) == 1


def test_what_waits_to_be_announced_keeps_since_when_it_is_known(store):
    """Also over a start; what was announced before says nothing of that, and whoever goes with it does not either."""
    with store.transaction() as db:
        folder = FileTable(db).make_folder(1, b"")
        rows = [new_row(folder, name, name, Stamp(10, 5, 7), DIGESTS, 1, seen_at=1000.5) for name in (b"a", b"b")]
        FileTable(db).put(1, rows)
        waiting = FileTable(db).in_state(1, "ready", 10)
        assert seen_ms(waiting, 1002.0) == (1500, 1500)
        assert seen_ms(waiting, 900.0) == (0, 0), "the clock was put back"
        FileTable(db).set_announced([(waiting[0], 2000.0)], 1002.0)
        FileTable(db).ready_again(folder, b"a", Stamp(10, 5, 7))
        again = FileTable(db).in_state(1, "ready", 10)
        assert [row.seen_at for row in again] == [None, 1000.5]
        assert seen_ms(again, 1002.0) is None


def test_an_announcement_that_is_cut_says_of_each_file_when_that_was_seen(tmp_path):
    """One announcement makes several events: each has the times of its own files, and none is too large."""
    made = Store(tmp_path / "state.sqlite3", (SCHEMA, OUTBOX))
    long_ago, count = 900_000_000, 500
    with made.transaction() as db:
        UploadTable(db).add(builders.event(builders.upload_requested()))
        upload = UploadTable(db).get(builders.UPLOAD)
        folder = FileTable(db).make_folder(upload.number, b"")
        names = [b"%03d" % number + b"n" * 30 for number in range(count)]
        rows = [
            new_row(folder, name, name, Stamp(10, 5, 7), DIGESTS, 1, seen_at=float(-long_ago - number))
            for number, name in enumerate(names)
        ]
        assert say_ready(db, upload, b"/data", rows, 0.0) > 1
        bodies = [row[0] for row in db.execute("SELECT body FROM outbox ORDER BY id")]
    made.close()
    told = []
    for body in bodies:
        assert len(body) <= LARGEST
        data = decode(body).data
        told += zip((file.raw for file in data.files), data.seen_ms, strict=True)
    assert told == [(name, (long_ago + number) * 1000) for number, name in enumerate(names)]
