"""Files on Windows: any name that it can hold is read, and no program is ever kept from its own file."""

import ctypes
import hashlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datauploader.files import nofollow, win32
from datauploader_testing.waiting import eventually
from datauploader_transfer.rclone import die_with_parent
from datauploader_transfer.rclone.private_folder import PrivateFolder
from datauploader_watcher.adapters.disk import LocalDisk, lstat, stamp_of
from datauploader_watcher.adapters.hashing import HashPool
from datauploader_watcher.adapters.mounts import file_system, is_network, mount_point
from datauploader_watcher.adapters.removal import hold_path
from datauploader_watcher.adapters.sharing import is_locked, open_sharing
from datauploader_watcher.domain.stability import HashRequest

ODD = ["trail.", "blank ", "CON", "nul.txt", "ü€.dat", "x" * 200]


@pytest.fixture(params=["drive", "share"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """Give a folder whose path is longer than 260 characters, on a drive and as another computer sees it."""
    place = str(tmp_path.resolve())
    deep = os.fsencode(place if request.param == "drive" else f"\\\\localhost\\{place[0]}$" + place[2:])
    for _ in range(4):
        deep = os.path.join(deep, b"d" * 60)  # noqa: PTH118 - bytes
        os.mkdir(win32.verbatim(deep))  # noqa: PTH102 - bytes
    return deep


def write(root: bytes, name: str, content: bytes) -> None:
    """Write a file under a name as it is."""
    with open(win32.verbatim(os.path.join(root, os.fsencode(name))), "wb") as file:  # noqa: PTH118, PTH123 - bytes
        file.write(content)


@pytest.mark.fault("F16")
@pytest.mark.parametrize("name", ODD)
def test_a_file_of_an_odd_name_in_a_deep_folder_is_listed_looked_at_and_read(root: bytes, name: str) -> None:
    """Names that Windows' own shell cannot use are no reason to lose a file in silence."""
    write(root, name, b"content")
    disk, raw = LocalDisk(root), os.fsencode(name)
    with disk.folder(b"") as opened:
        assert stat.S_ISDIR(opened.stat(b".").st_mode)
        assert opened.names() == [raw]
        assert opened.stat(raw).st_size == 7
        descriptor = opened.open(raw)
    assert os.read(descriptor, 100) == b"content"
    os.close(descriptor)
    path = os.path.join(root, raw)  # noqa: PTH118 - bytes
    assert nofollow.look(path).st_size == 7
    descriptor = nofollow.open_file(path)
    assert os.read(descriptor, 100) == b"content"
    os.close(descriptor)
    assert is_network(file_system(root)) == root.startswith(b"\\\\")


@pytest.mark.fault("F16")
def test_a_file_that_is_hidden_read_only_and_of_the_system_is_read_like_any_other(tmp_path: Path) -> None:
    """What an instrument marks so is data all the same."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"content")
    wanted = stat.FILE_ATTRIBUTE_HIDDEN | stat.FILE_ATTRIBUTE_READONLY | stat.FILE_ATTRIBUTE_SYSTEM
    assert ctypes.WinDLL("kernel32").SetFileAttributesW(str(path), wanted)  # type: ignore[attr-defined]
    assert path.stat().st_file_attributes & wanted == wanted  # type: ignore[attr-defined]
    with LocalDisk(os.fsencode(tmp_path.resolve())).folder(b"") as opened:
        assert opened.names() == [b"scan.dat"]
        descriptor = opened.open(b"scan.dat")
    assert os.read(descriptor, 100) == b"content"
    os.close(descriptor)
    assert ctypes.WinDLL("kernel32").SetFileAttributesW(str(path), stat.FILE_ATTRIBUTE_NORMAL)  # type: ignore[attr-defined]


@pytest.mark.fault("F16")
def test_a_file_that_a_program_has_open_for_writing_is_in_use(tmp_path: Path) -> None:
    """It is said to be so, and waited for."""
    path = tmp_path / "scan.dat"
    with path.open("wb") as writer:
        writer.write(b"half")
        with pytest.raises(OSError) as refused:  # noqa: PT011 - its number tells
            open_sharing(str(path))
        assert is_locked(refused.value)
    os.close(open_sharing(str(path)))


@pytest.mark.fault("F16")
def test_while_we_read_a_file_its_program_writes_renames_and_removes_it(tmp_path: Path) -> None:
    """The instrument always wins."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"first")
    reading = open_sharing(str(path))
    with path.open("ab") as writer:
        writer.write(b" and second")
    moved = path.rename(tmp_path / "moved.dat")
    moved.unlink()
    assert os.read(reading, 100) == b"first and second"
    os.close(reading)


@pytest.mark.fault("F16")
def test_what_is_written_while_it_is_hashed_is_found_out(tmp_path: Path) -> None:
    """By the stamps before and after."""
    path, done = tmp_path / "scan.dat", []
    path.write_bytes(b"x" * (64 << 20))
    disk = LocalDisk(os.fsencode(tmp_path.resolve()))
    seen = stamp_of(lstat(disk, b"scan.dat"))
    hashers = HashPool(1, done.extend)
    hashers.start()
    hashers.hash(1, disk, [HashRequest(b"scan.dat", seen)])
    with path.open("ab") as writer:
        writer.write(b"more")
    (outcome,) = eventually(lambda: done, within_s=30, what="it is read")
    if outcome.digests is not None:  # it was read before the writing
        assert outcome.digests.sha256 == hashlib.sha256(b"x" * (64 << 20)).digest()
    else:
        assert outcome.changed is not None or outcome.problem is not None
    hashers.stop(5)


@pytest.mark.fault("F49")
def test_a_local_copy_goes_that_nobody_has_touched_since_it_was_opened(tmp_path: Path) -> None:
    """Whoever only reads it keeps it no longer than that."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"content")
    with hold_path(str(path)) as held:
        assert os.read(held.descriptor, 100) == b"content"
        assert held.remove(b"") == ""
    assert not path.exists()


@pytest.mark.fault("F49")
def test_a_program_that_writes_while_a_local_copy_is_proven_is_refused_nothing_and_its_file_stays(
    tmp_path: Path,
) -> None:
    """The instrument always wins, also where it puts size and times back."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"content")
    before = path.stat()
    with hold_path(str(path)) as held:
        assert os.read(held.descriptor, 100) == b"content"
        path.write_bytes(b"CONTENT")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert "opened it for writing" in held.remove(b"")
    with hold_path(str(path)) as held:
        path.rename(tmp_path / "moved.dat")
        path.write_bytes(b"content")
        assert "taken its place" in held.remove(b"")
    with hold_path(str(path)) as held, path.open("ab"), pytest.raises(OSError) as refused:  # noqa: PT011 - its number tells
        held.remove(b"")
    assert is_locked(refused.value)
    assert path.read_bytes() == b"content"


@pytest.mark.fault("F49")
def test_a_local_copy_on_a_drive_without_times_of_change_stays_when_it_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT has none: size and time of the last write tell it there."""
    monkeypatch.setattr("datauploader_watcher.adapters.removal.change_time", lambda _: 0)
    path = tmp_path / "scan.dat"
    path.write_bytes(b"content")
    with hold_path(str(path)) as held:
        path.write_bytes(b"content and more")
        assert "opened it for writing" in held.remove(b"")
    assert path.exists()


@pytest.mark.fault("F34")
def test_a_program_does_not_outlive_its_leash(tmp_path: Path) -> None:
    """However the leash ends: nothing of it is asked then."""
    mark = tmp_path / "alive"
    code = (
        "import time, pathlib\nwhile True:\n    "
        f"pathlib.Path({str(mark)!r}).write_text(str(time.time()))\n    time.sleep(0.1)"
    )
    command = [sys.executable, "-I", die_with_parent.__file__, str(os.getpid()), sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
        eventually(mark.exists, within_s=30, what="the program runs")
        guard.kill()
    time.sleep(1.0)
    last = mark.read_text()
    time.sleep(1.0)
    assert mark.read_text() == last


@pytest.mark.fault("F36")
def test_a_private_folder_is_made_held_and_left_to_its_owner(tmp_path: Path) -> None:
    """No folder is renamed while a file in it is open; one of another process that lives is not removed."""
    first = PrivateFolder("du-test-", tmp_path)
    second = PrivateFolder("du-test-", tmp_path)
    assert first.path.is_dir()
    assert second.path.is_dir()
    second.close()
    assert not second.path.exists()
    first.close()


@pytest.mark.fault("F6", "F7")
def test_a_drive_is_its_own_mount_point_and_a_share_is_a_network_drive() -> None:
    """Nothing is asked of the drive for that."""
    here = os.fsencode(Path.cwd().resolve().drive + "\\")
    assert mount_point(here) == here
    assert not is_network(file_system(b"C:\\data"))
    assert is_network(file_system(b"\\\\server\\share\\data"))
