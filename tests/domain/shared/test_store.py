"""One state file: all or nothing, migrated in steps, refused when it is from the future, set aside when damaged."""

import re
import shutil
import sqlite3
import threading
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from datauploader.errors import StateFromTheFuture, StateUnavailable
from datauploader.reliability import Schema, Store
from datauploader.reliability.store import LOG_BYTES, RESERVE_PAGES
from datauploader.reliability.upkeep import StateUpkeep
from datauploader_testing.waiting import eventually

ONE = Schema("notes", ("CREATE TABLE note (text TEXT NOT NULL);",))
TWO = Schema("notes", (*ONE.steps, "ALTER TABLE note ADD COLUMN stars INTEGER NOT NULL DEFAULT 1;"))


KEPT_IN = (
    "datauploader.messaging.memory.log", "datauploader.plugins.harvester.file_queue", "datauploader.reliability.inbox",
    "datauploader.reliability.outbox", "datauploader_catalog.claims", "datauploader_catalog.description_queue",
    "datauploader_catalog.schema", "datauploader_catalog.proposals", "datauploader_gateway.auth.revocations",
    "datauploader_gateway.events.heard_sequences", "datauploader_gateway.events.pending_requests",
    "datauploader_gateway.events.publisher", "datauploader_gateway.features.mail.triggers",
    "datauploader_gateway.projection.projection_version", "datauploader_transfer.schema",
    "datauploader_watcher.ledger.schema",
)  # fmt: skip
SCHEMAS = [import_module(name).SCHEMA for name in KEPT_IN]


class Accident(Exception):
    """What goes wrong in a test."""


def texts(store: Store) -> list[str]:
    """Read all notes."""
    with store.reading() as db:
        return [row["text"] for row in db.execute("SELECT text FROM note ORDER BY rowid")]


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    """Open a state file, and the kind that lives in memory."""
    store = Store(tmp_path / "state" / "x.sqlite" if request.param == "file" else None, [ONE])
    yield store
    store.close()


def write(store: Store, text: str) -> None:
    """Write one note."""
    with store.transaction() as db:
        db.execute("INSERT INTO note VALUES (?)", (text,))


def test_what_a_transaction_wrote_is_kept(store) -> None:
    """After the block the row is there for readers."""
    write(store, "a")
    assert texts(store) == ["a"]


def test_a_transaction_that_fails_leaves_nothing(store) -> None:
    """The exception passes through, and the store works on."""
    with pytest.raises(Accident), store.transaction() as db:  # noqa: PT012 - the block is what fails
        db.execute("INSERT INTO note VALUES ('a')")
        raise Accident
    write(store, "b")
    assert texts(store) == ["b"]


def test_a_nested_transaction_shares_the_fate_of_the_outer_one(store) -> None:
    """The inner block commits nothing by itself."""
    with pytest.raises(Accident), store.transaction() as outer:  # noqa: PT012 - the block is what fails
        outer.execute("INSERT INTO note VALUES ('a')")
        with store.transaction() as inner:
            inner.execute("INSERT INTO note VALUES ('b')")
        raise Accident
    assert texts(store) == []


def test_a_nested_transaction_that_fails_cannot_be_half_kept(store) -> None:
    """An outer block that swallows the inner failure must not keep the inner half."""
    with store.transaction() as outer:
        outer.execute("INSERT INTO note VALUES ('outer')")
        with pytest.raises(Accident), store.transaction() as inner:  # noqa: PT012 - the block is what fails
            inner.execute("INSERT INTO note VALUES ('half')")
            raise Accident
    assert texts(store) == ["outer"]


def test_readers_see_only_what_is_committed_and_do_not_wait(tmp_path) -> None:
    """A long write does not hold up a page that looks something up."""
    store = Store(tmp_path / "x.sqlite", [ONE])
    seen: list[list[str]] = []
    with store.transaction() as db:
        db.execute("INSERT INTO note VALUES ('a')")
        reader = threading.Thread(target=lambda: seen.append(texts(store)))
        reader.start()
        reader.join(5)
        assert seen == [[]], "the reader waited for the writer, or saw what was not committed"
    assert texts(store) == ["a"]
    store.close()


def test_many_threads_write_one_after_the_other(store) -> None:
    """No write is lost and none meets a locked database."""
    threads = [threading.Thread(target=lambda n=n: [write(store, f"{n}.{i}") for i in range(25)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(texts(store))) == 200


def test_a_file_is_migrated_step_by_step_and_keeps_its_rows(tmp_path) -> None:
    """A newer release runs only the steps that are missing."""
    old = Store(tmp_path / "x.sqlite", [ONE])
    write(old, "a")
    old.close()

    new = Store(tmp_path / "x.sqlite", [TWO])

    with new.reading() as db:
        assert [tuple(row) for row in db.execute("SELECT text, stars FROM note")] == [("a", 1)]
    new.close()
    Store(tmp_path / "x.sqlite", [TWO]).close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path) -> None:
    """Half a migration would fit no release."""
    old = Store(tmp_path / "x.sqlite", [ONE])
    write(old, "a")
    old.close()
    broken = Schema("notes", (*ONE.steps, "CREATE TABLE other (x);\nINSERT INTO nowhere VALUES (1);"))

    with pytest.raises(sqlite3.OperationalError):
        Store(tmp_path / "x.sqlite", [broken])

    again = Store(tmp_path / "x.sqlite", [TWO])
    assert texts(again) == ["a"]
    with again.reading() as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'other'").fetchone()[0] == 0
    again.close()


def test_a_file_of_a_newer_release_is_refused_with_a_sentence_and_untouched(tmp_path) -> None:
    """A downgrade must not write into tables that it does not know."""
    path = tmp_path / "x.sqlite"
    Store(path, [TWO]).close()

    with pytest.raises(StateFromTheFuture, match="newer release") as caught:
        Store(path, [ONE])

    assert str(path) in str(caught.value)
    Store(path, [TWO]).close()


def test_a_file_with_tables_of_a_newer_release_is_refused_as_well(tmp_path) -> None:
    """A component that this release does not know was not written by it."""
    path = tmp_path / "x.sqlite"
    Store(path, [ONE, Schema("drafts", ("CREATE TABLE draft (text TEXT NOT NULL);",))]).close()
    with pytest.raises(StateFromTheFuture, match="drafts 1"):
        Store(path, [ONE])


def test_a_release_uses_a_file_to_which_a_newer_one_has_only_added(tmp_path) -> None:
    """One version up, down and up again: every row is there, and no step runs twice."""
    path = tmp_path / "x.sqlite"
    added = Schema("notes", (*ONE.steps, "CREATE TABLE star (note INTEGER NOT NULL);"), serves=1)
    drafts = Schema("drafts", ("CREATE TABLE draft (text TEXT NOT NULL);",), serves=0)
    for number, schemas in enumerate(([ONE], [added, drafts], [ONE], [added, drafts])):
        store = Store(path, schemas)
        write(store, str(number))
        store.close()
    last = Store(path, [added, drafts])
    assert texts(last) == ["0", "1", "2", "3"]
    last.close()


def test_a_release_that_is_two_behind_is_refused_where_only_the_last_was_served(tmp_path) -> None:
    """Each step says for itself whom it serves, and the last one counts."""
    path = tmp_path / "x.sqlite"
    Store(path, [Schema("notes", (*TWO.steps, "CREATE TABLE other (x INTEGER);"), serves=len(TWO.steps))]).close()
    Store(path, [TWO]).close()
    with pytest.raises(StateFromTheFuture):
        Store(path, [ONE])


ADDING = re.compile(r"CREATE (TABLE|INDEX|UNIQUE INDEX|TRIGGER|VIEW) ")


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.component)
def test_what_serves_an_older_release_only_adds(schema) -> None:
    """A step that changes or fills what was there is one that every release must know."""
    for step in schema.steps[len(schema.steps) if schema.serves is None else schema.serves :]:
        for statement in step.split(";\n"):
            assert not statement.strip() or ADDING.match(statement.strip()), statement


def test_a_file_that_cannot_be_opened_is_a_sentence(tmp_path) -> None:
    """Where the folder should be lies a file."""
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(StateUnavailable, match="cannot be used"):
        Store(tmp_path / "state" / "x.sqlite", [ONE])
    (tmp_path / "y.sqlite").mkdir()
    with pytest.raises(StateUnavailable, match="cannot be used"):
        Store(tmp_path / "y.sqlite", [ONE])


@pytest.mark.fault("F28")
@pytest.mark.parametrize("damage", ["rubbish", "truncated", "overwritten page"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, damage) -> None:
    """The service runs on; what the file held is found again, and the damaged one is kept for a person."""
    path = tmp_path / "x.sqlite"
    store = Store(path, [ONE])
    with store.transaction() as db:
        db.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * 200)
    store.close()
    sound = path.read_bytes()
    spoilt = {
        "rubbish": b"no database at all" * 100,
        "truncated": sound[: len(sound) // 2],
        "overwritten page": sound[:4096] + b"\xff" * 8192 + sound[12288:],
    }[damage]
    path.write_bytes(spoilt)

    again = Store(path, [ONE])

    assert again.damaged is not None
    assert again.damaged.read_bytes()[:100] == spoilt[:100]
    assert texts(again) == []
    write(again, "new")
    again.close()


@pytest.mark.fault("F28")
def test_a_new_file_is_forgetful_until_it_is_filled_whatever_kills_the_process_before(tmp_path) -> None:
    """Restoring takes a while; a start after one that was interrupted begins it again."""
    path = tmp_path / "x.sqlite"
    for _ in range(2):
        store = Store(path, [ONE])
        assert store.needs_recovery
        store.close()
    store = Store(path, [ONE])
    store.mark_recovered()
    assert not store.needs_recovery
    store.close()
    again = Store(path, [ONE])
    assert not again.needs_recovery
    again.close()


@pytest.mark.fault("F28")
def test_a_state_has_an_identity_of_its_own_and_can_forget_again(tmp_path) -> None:
    """It stays with the file; a file that has missed something begins as a new one does."""
    first, other = (Store(tmp_path / name, [ONE]) for name in ("a.sqlite", "b.sqlite"))
    assert first.identity != other.identity
    first.mark_recovered()
    first.require_recovery()
    identity = first.identity
    first.close()
    again = Store(tmp_path / "a.sqlite", [ONE])
    assert (again.identity, again.needs_recovery) == (identity, True)
    again.close()
    other.close()


@pytest.mark.fault("F28")
def test_a_file_that_a_power_cut_left_empty_is_forgetful(tmp_path) -> None:
    """No bytes are a sound database, and nothing that it held is there."""
    path = tmp_path / "x.sqlite"
    store = Store(path, [ONE])
    store.mark_recovered()
    write(store, "a")
    store.close()
    path.write_bytes(b"")
    again = Store(path, [ONE])
    assert again.needs_recovery
    assert texts(again) == []
    again.close()


@pytest.mark.fault("F28")
def test_what_lies_beside_a_damaged_file_is_kept_with_it(tmp_path) -> None:
    """The log of a killed process holds its latest transactions; nothing is deleted."""
    path = tmp_path / "x.sqlite"
    store = Store(path, [ONE])
    with store.transaction() as db:
        db.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * 200)
    store.close()
    store = Store(path, [ONE])
    write(store, "a")
    kept = (tmp_path / "x.sqlite-wal").read_bytes()
    store.close()
    path.write_bytes(b"\xff" * path.stat().st_size)
    (tmp_path / "x.sqlite-wal").write_bytes(kept)

    again = Store(path, [ONE])

    assert again.damaged is not None
    assert again.damaged.with_name(f"{again.damaged.name}-wal").read_bytes() == kept
    assert again.needs_recovery
    again.close()


def test_a_sound_file_is_not_called_damaged(tmp_path) -> None:
    """Opening again keeps everything."""
    first = Store(tmp_path / "x.sqlite", [ONE])
    write(first, "a")
    first.close()
    again = Store(tmp_path / "x.sqlite", [ONE])
    assert again.damaged is None
    assert texts(again) == ["a"]
    again.close()


def test_what_a_killed_process_committed_is_there(tmp_path) -> None:
    """A file whose log was never checkpointed is read with its log."""
    path = tmp_path / "x.sqlite"
    store = Store(path, [ONE])
    write(store, "a")
    copy = tmp_path / "copy.sqlite"
    for suffix in ("", "-wal"):
        (tmp_path / f"copy.sqlite{suffix}").write_bytes((tmp_path / f"x.sqlite{suffix}").read_bytes())
    store.close()

    after = Store(copy, [ONE])

    assert texts(after) == ["a"]
    after.close()


def test_a_file_that_somebody_else_holds_is_not_set_aside(tmp_path) -> None:
    """Being locked is no damage: two processes on one file must not throw it away."""
    path = tmp_path / "x.sqlite"
    Store(path, [ONE]).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        second = threading.Thread(target=lambda: Store(path, [ONE]).close())
        second.start()
        other.execute("ROLLBACK")
        second.join(10)
    assert sorted(p.name for p in tmp_path.iterdir() if "damaged" in p.name) == []


def fill(store: Store, rows: int = 3000) -> None:
    """Write some megabytes of notes."""
    with store.transaction() as db:
        db.executemany("INSERT INTO note VALUES (?)", [(f"{number:06}" * 300,) for number in range(rows)])


def test_a_file_gives_back_what_was_deleted_a_little_at_a_time(tmp_path) -> None:
    """Its disk has the room again, and nobody waits for all of it at once."""
    path = tmp_path / "x.sqlite"
    store = Store(path, [ONE])
    fill(store)
    store.checkpoint()
    full = path.stat().st_size
    with store.transaction() as db:
        db.execute("DELETE FROM note WHERE rowid > 10")
    slices = 1
    while store.shrink(100):
        slices += 1
    assert slices > 5
    assert path.stat().st_size <= 4096 * (RESERVE_PAGES + 30) < full / 3
    assert len(texts(store)) == 10
    store.close()


def test_the_log_of_a_file_does_not_stay_as_long_as_its_longest_transaction(tmp_path) -> None:
    """After one large transaction the next small ones cut it."""
    store = Store(tmp_path / "x.sqlite", [ONE])
    fill(store, rows=6000)
    log = tmp_path / "x.sqlite-wal"
    long = log.stat().st_size
    write(store, "a")
    write(store, "b")
    assert log.stat().st_size <= LOG_BYTES < long
    store.close()


def old_file(path: Path) -> None:
    """Make a file as an earlier release made it, which never shrank."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA auto_vacuum=NONE")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        db.execute("CREATE TABLE note (text TEXT NOT NULL)")
        db.execute("INSERT INTO schema VALUES ('notes', 1)")
        db.executemany("INSERT INTO note VALUES (?)", [(f"{number:06}" * 300,) for number in range(3000)])
        db.execute("PRAGMA application_id = 77")
        db.commit()


def test_a_file_of_an_earlier_release_is_written_anew_once_so_that_it_can_shrink(tmp_path) -> None:
    """It keeps its rows, its identity and what it says of itself."""
    path = tmp_path / "x.sqlite"
    old_file(path)
    store = Store(path, [ONE])
    assert (store.identity, store.needs_recovery, len(texts(store))) == ("77", False, 3000)
    with store.transaction() as db:
        db.execute("DELETE FROM note")
    while store.shrink():
        pass
    assert path.stat().st_size <= 4096 * (RESERVE_PAGES + 10)
    store.close()


def test_a_file_that_cannot_be_written_anew_now_is_used_as_it_is(tmp_path, monkeypatch) -> None:
    """Its disk has too little room for a second copy; the next start tries again."""
    path = tmp_path / "x.sqlite"
    old_file(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    store = Store(path, [ONE])
    assert len(texts(store)) == 3000
    assert not store.shrink()
    store.close()
    monkeypatch.undo()
    store = Store(path, [ONE])
    with store.reading() as db:
        assert db.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    store.close()


def test_the_upkeep_of_a_file_does_all_its_slices_and_then_rests(tmp_path) -> None:
    """Each step is asked until it has nothing more to do."""
    store = Store(tmp_path / "x.sqlite", [ONE])
    fill(store, rows=30)

    def drop_some() -> bool:
        with store.transaction() as db:
            query = "DELETE FROM note WHERE rowid IN (SELECT rowid FROM note LIMIT 10)"
            return db.execute(query).rowcount == 10

    upkeep = StateUpkeep(store, drop_some)
    upkeep.start()
    eventually(lambda: texts(store) == [])
    upkeep.stop(5)
    store.close()
