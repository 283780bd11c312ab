"""A backup holds states, log and configuration as they were; a restore puts them back whole or not at all."""

import io
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from datauploader.contracts import UploadOpened
from datauploader.errors import BackupError, StateInUse, StateUnavailable
from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.reliability import FolderLock, Schema, Store
from datauploader.runtime import backup
from datauploader_testing import builders

NOTES = Schema("notes", ("CREATE TABLE note (text TEXT NOT NULL);",))


def write(store: Store, text: str) -> None:
    """Write one note."""
    with store.transaction() as db:
        db.execute("INSERT INTO note VALUES (?)", (text,))


def notes(path: Path) -> list[str]:
    """Read the notes of a file."""
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT text FROM note")]


@pytest.fixture
def states(tmp_path: Path):
    """Two services' states, one of them in use, and what lies beside them."""
    folder = tmp_path / "states"
    for name in ("catalog", "gateway"):
        store = Store(folder / name / f"{name}.sqlite", [NOTES])
        write(store, name)
        if name == "catalog":
            store.close()
    (folder / "gateway" / "gateway.sqlite.damaged-1").write_bytes(b"old")
    yield folder
    store.close()


@pytest.fixture
def archive(tmp_path: Path, states: Path) -> Path:
    """A backup of them, with the log and some files."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.toml").write_text("a = 1")
    (tmp_path / ".env").write_text("SECRET=1")
    bus = MemoryBroker().bus("test")
    bus.publish(builders.event(UploadOpened(upload_id=builders.UPLOAD), id="e1")).result(60)
    bus.publish(builders.event(UploadOpened(upload_id=builders.UPLOAD), id="e2")).result(60)
    made = backup.make(tmp_path / "b.tar", states, [tmp_path / ".env", tmp_path / "site"], bus)
    bus.close()
    assert made.events == 2
    return tmp_path / "b.tar"


def opened(archive: Path, tmp_path: Path) -> backup.Restored:
    """Unpack an archive."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return backup.Restored(archive, folder)


@pytest.mark.posix  # modes of files
@pytest.mark.fault("F53")
def test_everything_comes_back_as_it_was_and_is_for_its_owner_alone(archive: Path, tmp_path: Path) -> None:
    """States that were in use as well; what was set aside is left out."""
    assert archive.stat().st_mode & 0o077 == 0
    restored = opened(archive, tmp_path)
    put = restored.states(tmp_path / "new")
    assert sorted(path.relative_to(tmp_path / "new").as_posix() for path in put) == [
        "catalog/catalog.sqlite", "gateway/gateway.sqlite",
    ]  # fmt: skip
    assert {path.name: notes(path) for path in put} == {"catalog.sqlite": ["catalog"], "gateway.sqlite": ["gateway"]}
    assert all(path.stat().st_mode & 0o077 == 0 for path in put)
    restored.files(tmp_path / "home")
    assert (tmp_path / "home" / ".env").read_text() == "SECRET=1"
    assert (tmp_path / "home" / "site" / "a.toml").read_text() == "a = 1"
    assert [event.id for event in restored.events()] == ["e1", "e2"]


@pytest.mark.fault("F53")
def test_nothing_is_written_over_what_is_there_or_under_a_service_that_runs(
    archive: Path, tmp_path: Path, states: Path
) -> None:  # fmt: skip
    """The sentence says which file it is, or which process."""
    restored = opened(archive, tmp_path)
    with pytest.raises(BackupError, match="is there already"):
        restored.states(states)
    lock = FolderLock(tmp_path / "new" / "gateway", "gateway")
    with pytest.raises(StateInUse):
        restored.states(tmp_path / "new")
    lock.release()
    assert not list((tmp_path / "new").rglob("*.sqlite"))
    assert restored.states(tmp_path / "new")


@pytest.mark.posix  # modes of files
@pytest.mark.fault("F53")
def test_an_archive_that_is_not_as_it_was_written_restores_nothing(archive: Path, tmp_path: Path) -> None:
    """One flipped byte, a cut one, and something else."""
    content = bytearray(archive.read_bytes())
    content[content.index(b"SECRET")] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        opened(archive, tmp_path)
    for number, broken in enumerate((bytes(content[:1000]), b"no tar", b"")):
        archive.write_bytes(broken)
        folder = tmp_path / f"again-{number}"
        folder.mkdir()
        with pytest.raises(BackupError):
            backup.Restored(archive, folder)


@pytest.mark.attack("S23")
@pytest.mark.parametrize("name", ["../out", "/abs", "a/../../out"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    """Whatever its members are called."""
    with tarfile.open(tmp_path / "b.tar", "w:") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(BackupError):
        opened(tmp_path / "b.tar", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_damaged_state_and_an_empty_backup_are_said(tmp_path: Path, states: Path) -> None:
    """Rather than kept."""
    with pytest.raises(BackupError, match="nothing to keep"):
        backup.make(tmp_path / "b.tar", tmp_path / "nowhere", [], None)
    path = states / "catalog" / "catalog.sqlite"
    path.write_bytes(path.read_bytes()[:2000] + b"\xff" * 3000)
    with pytest.raises(StateUnavailable, match=r"catalog\.sqlite"):
        backup.make(tmp_path / "b.tar", states, [], None)
    assert not (tmp_path / "b.tar").exists()
    assert not (tmp_path / "b.tar.part").exists()
