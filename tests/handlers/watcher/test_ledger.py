"""The ledger keeps its promises at size: every question that is asked often is answered by an index."""

import sqlite3

import pytest

from datauploader.reliability import Store
from datauploader_watcher.domain.versions import Digests, Stamp
from datauploader_watcher.ledger.files import FileTable, new_row
from datauploader_watcher.ledger.schema import SCHEMA
from datauploader_watcher.ledger.uploads import UploadTable

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


ASKED_OFTEN = {
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
