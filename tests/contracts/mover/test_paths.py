"""What the real mover sends is what was looked at, wherever the names lead by then."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from datauploader.files import nofollow
from datauploader_sandbox.drives import NetworkDrive
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.ports import Item, Outcome, State
from datauploader_transfer.rclone.mover import RcloneMover
from datauploader_transfer.rclone.private_folder import FolderOnDemand
from datauploader_transfer.rclone.remote_storage import RemoteStorage
from datauploader_transfer.rclone.source_file import OpenSources, at_once

from .conftest import BASE, Files, local, rclone_mover

pytestmark = pytest.mark.storage
SECRET = b"their so secret"
MINE = b"mine is so long"


class Between(RcloneMover):
    """The real mover, where something happens before its first look at the storage, and around its copy."""

    before_look: Callable[[], object] = staticmethod(lambda: None)
    before_copy: Callable[[], object] = staticmethod(lambda: None)
    after_copy: Callable[[], object] = staticmethod(lambda: None)

    def _storage(self, remote: str) -> RemoteStorage:
        mover, inner = self, super()._storage(remote)

        class Hooked(RemoteStorage):
            def __init__(self) -> None:
                self.__dict__ = inner.__dict__

            def object_sizes(self, *arguments):
                once, mover.before_look = mover.before_look, staticmethod(lambda: None)
                once()
                return super().object_sizes(*arguments)

            def copy_files(self, *arguments):
                mover.before_copy()
                answers = super().copy_files(*arguments)
                mover.after_copy()
                return answers

        return Hooked()


@contextmanager
def between(tmp_path: Path) -> Iterator[Between]:
    """Give such a mover over a folder."""
    with local(tmp_path / "storage") as definition:
        mover = Between(parse_remotes({"disk": definition}))
        try:
            yield mover
        finally:
            mover.close()


def swap(files, item: Item, part: str) -> None:
    """Put a link to something secret in the place of the file, or of a folder above it; size and time fit."""
    elsewhere = files.root.parent / "elsewhere" / "above" / "folder"
    elsewhere.mkdir(parents=True)
    (elsewhere / "file").write_bytes(SECRET)
    os.utime(elsewhere / "file", ns=(item.mtime_ns, item.mtime_ns))
    place, goal = {
        "file": (item.source, elsewhere / "file"),
        "folder": (item.source.parent, elsewhere),
        "above": (item.source.parent.parent, elsewhere.parent),
    }[part]
    place.rename(place.with_name("away"))
    place.symlink_to(goal)


@pytest.mark.fault("F51")
@pytest.mark.attack("S20")
@pytest.mark.parametrize("part", ["file", "folder", "above"])
def test_what_is_swapped_between_the_look_and_the_copy_never_arrives(tmp_path, files, part):
    """Not for a moment: what was opened is sent, and is the version that was announced."""
    item = files.write("above/folder/file", MINE, target="file")
    stored = tmp_path / "storage" / BASE / "file"
    arrived: list[bytes] = []
    with between(tmp_path) as mover:
        mover.before_copy = lambda: swap(files, item, part)
        mover.after_copy = lambda: arrived.append(stored.read_bytes())
        (found,) = mover.move("disk", [item])
    assert arrived == [MINE]
    assert found.state is State.VERIFIED, found


@pytest.mark.fault("F51")
@pytest.mark.attack("S20")
@pytest.mark.parametrize("part", ["file", "folder", "above"])
def test_what_is_swapped_before_it_is_opened_is_not_sent(tmp_path, files, part):
    """After the first look at the file, before it is held: nothing is copied at all."""
    item = files.write("above/folder/file", MINE, target="file")
    arrived: list[Path] = []
    with between(tmp_path) as mover:
        mover.before_look = lambda: swap(files, item, part)
        mover.after_copy = lambda: arrived.extend((tmp_path / "storage").rglob("file"))
        (found,) = mover.move("disk", [item])
    assert not arrived
    assert found.state is State.SOURCE_GONE, found
    assert "link" in found.detail


KILLED = """
import os, signal, sys
from pathlib import Path
from datauploader_transfer.rclone.mover import RcloneMover
from datauploader_transfer.rclone.remote_storage import RemoteStorage
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.ports import Item

base, source, place, goal, size, mtime_ns, sha256, md5 = sys.argv[1:]
copy = RemoteStorage.copy_files

def swapped(*arguments):
    Path(place).rename(place + "-away")
    Path(place).symlink_to(goal)
    copy(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

RemoteStorage.copy_files = swapped
mover = RcloneMover(parse_remotes({"disk": {"type": "local", "base": base}}))
item = Item("k", Path(source), "file", int(size), int(mtime_ns), {"sha256": sha256, "md5": md5})
mover.move("disk", [item], on_begin=lambda _some, new: print(*new, flush=True))
"""


@pytest.mark.fault("F51")
def test_a_kill_between_the_swap_and_the_proof_leaves_nothing_secret_behind(tmp_path, files):
    """What lies on the storage then is the announced file, and what was begun was said before."""
    item, base = files.write("folder/file", MINE, target="file"), tmp_path / "storage" / BASE
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(SECRET)
    os.utime(elsewhere / "file", ns=(item.mtime_ns, item.mtime_ns))
    arguments = [base, item.source, item.source.parent, elsewhere, item.size, item.mtime_ns, *item.digests.values()]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], check=False, capture_output=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "k" in killed.stdout.decode().split()
    assert (base / "file").read_bytes() == MINE


@pytest.mark.campaign
@pytest.mark.fault("F8", "F51")
def test_a_drive_that_hangs_when_its_files_are_opened_holds_nobody_up(tmp_path):
    """After the first look at the file: it is waited for ten seconds, then told, and sent when the drive is back."""
    with NetworkDrive(tmp_path / "drive", tmp_path / "server") as drive, between(tmp_path) as mover:
        item = Files(drive.folder).write("file", MINE)
        mover.before_look = drive.freeze
        began = time.monotonic()
        (found,) = mover.move("disk", [item])
        assert "does not answer" in found.detail, found
        assert found.retryable
        assert time.monotonic() - began < 30
        mover.before_look = lambda: None
        drive.thaw()
        eventually(lambda: mover.move("disk", [item])[0].state is State.VERIFIED, within_s=30)


@pytest.mark.fault("F51")
def test_more_files_than_may_be_held_open_are_sent_and_none_stays_open(tmp_path, files):
    """As many at a time as the limit of this process bears; afterwards as few are open as before."""
    items = [files.write(f"d/{n}", b"%d" % n) for n in range(3 * at_once() + 1)]
    with between(tmp_path) as mover:
        mover.probe_remote("disk")
        before = _open_sources(files.root)
        found = mover.move("disk", items)
        assert {outcome.state for outcome in found} == {State.VERIFIED}
        assert _open_sources(files.root) == before == []


def test_a_file_that_is_opened_after_the_copy_is_over_is_closed_again(files):
    """A drive that has hung answers into the void."""
    item = files.write("file", MINE)
    sources = OpenSources(FolderOnDemand("du-test-", files.root.parent))
    [held] = sources.open([item])
    assert isinstance(held, str)
    assert Path(held).read_bytes() == MINE
    sources.close()
    [late] = sources.open([item])
    assert isinstance(late, Outcome)
    assert not _open_sources(files.root)


def test_what_is_held_open_has_a_number_that_nothing_else_gets(files):
    """Two copies after each other use different ones, so who asks late for the first finds nothing there."""
    numbers = []
    for _ in range(2):
        sources = OpenSources(FolderOnDemand("du-test-", files.root.parent))
        [held] = sources.open([files.write("file", MINE)])
        assert isinstance(held, str)
        numbers.append(int(Path(held).name))
        sources.close()
    with (files.root / "file").open() as other:
        assert other.fileno() < min(numbers)
    assert numbers[0] != numbers[1]


def _open_sources(root: Path) -> Sequence[str]:
    names = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            names.append(str(one.readlink()))
    return [name for name in names if name.startswith(str(root))]


def buried(folder: Path, content: bytes, depth: int = 25) -> Path:
    """Write a file whose path is longer than the 4,096 bytes that the system takes, and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    with open(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
    os.close(here)
    return folder.joinpath(*["d" * 200] * depth, "f")


@pytest.mark.fault("F60")
def test_a_path_that_is_longer_than_the_system_takes_is_sent_and_else_told_with_the_storages_reason(
    tmp_path: Path,
) -> None:
    """It is opened part by part, as the watcher opened it; a storage that cannot hold such a path says so at once."""
    content = b"data"
    source = buried(tmp_path / "source", content)
    seen = nofollow.look(os.fsencode(source))
    digests = {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha256", "md5")}
    item = Item("short", source, "f", len(content), seen.st_mtime_ns, digests)
    with local(tmp_path / "storage") as definition, rclone_mover("store", definition) as mover:
        (found,) = mover.move("store", [item])
        assert found.state is State.VERIFIED, found
        (found,) = mover.move("store", [replace(item, target=str(source.relative_to(tmp_path)))])
    assert (found.state, found.retryable) == (State.REFUSED, False), found
    assert "name too long" in found.detail
    assert "path" in found.hint
