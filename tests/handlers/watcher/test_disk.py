"""The disk's edges: nothing outside the root, mounts and file systems told apart, Windows' refusals understood."""

import os
from pathlib import Path

import pytest

from datauploader_watcher.adapters.disk import LocalDisk, explain, is_below, lstat
from datauploader_watcher.adapters.events import watches_left_out
from datauploader_watcher.adapters.mounts import file_system, is_mounted, is_network, mount_point
from datauploader_watcher.adapters.sharing import LOCK_VIOLATION, SHARING_VIOLATION, is_locked
from datauploader_watcher.errors import DiskBusy, PathMissing, RootLost


@pytest.mark.posix  # links, which Wine does not have
@pytest.mark.attack("S20")
def test_a_folder_that_was_swapped_for_a_link_is_not_entered(tmp_path):
    """Between the look and the open somebody puts a link in its place."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    disk = LocalDisk(os.fsencode(root))
    (root / "sub").rmdir()
    (root / "sub").symlink_to(outside)
    with pytest.raises(PathMissing):
        lstat(disk, b"sub/secret")
    with pytest.raises(OSError, match="directory"), disk.folder(b"sub"):
        pass


@pytest.mark.posix  # pipes
@pytest.mark.attack("S20", "S21")
def test_a_file_that_was_swapped_for_a_link_or_a_pipe_is_not_read(tmp_path):
    """The open refuses the link, and does not wait for a writer of the pipe."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    with LocalDisk(os.fsencode(tmp_path)).folder(b"") as opened:
        with pytest.raises(OSError, match="symbolic"):
            opened.open(b"link")
        os.close(opened.open(b"pipe"))


@pytest.mark.posix  # folders by their descriptors
def test_paths_deeper_than_the_system_takes_at_once_are_read(tmp_path):
    """5,000 bytes of path, one folder after the other."""
    disk = LocalDisk(os.fsencode(tmp_path))
    parts = [b"d" * 200] * 25
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for part in parts:
        os.mkdir(part, dir_fd=descriptor)
        inner = os.open(part, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    with disk.folder(b"/".join(parts)) as opened:
        assert opened.names() == [b"file"]


def test_below_means_below():
    """A name that only begins like the root is not in it."""
    assert is_below(b"/data", b"/data")
    assert is_below(b"/data/a", b"/data")
    assert is_below(b"/a", b"/")
    assert not is_below(b"/database", b"/data")


@pytest.mark.posix  # a backslash separates names on Windows
def test_a_backslash_belongs_to_a_name():
    """A folder whose name ends with one is another folder than the one without."""
    assert is_below(b"/data\\/a", b"/data\\")
    assert not is_below(b"/data/a", b"/data\\")


@pytest.mark.fault("F7")
def test_a_root_that_is_away_is_lost(tmp_path):
    """Missing, no folder, or no longer a mount."""
    (tmp_path / "file").write_bytes(b"")
    for disk in (
        LocalDisk(os.fsencode(tmp_path / "away")),
        LocalDisk(os.fsencode(tmp_path / "file")),
        LocalDisk(os.fsencode(tmp_path), os.fsencode(tmp_path)),
    ):
        with pytest.raises(RootLost):
            disk.verify_root()
    LocalDisk(os.fsencode(tmp_path), b"/proc").verify_root()


@pytest.mark.posix  # mounts
def test_mount_points_are_found():
    """The system's own root never goes away, so it is not watched for."""
    assert mount_point(b"/proc/self") == b"/proc"
    assert mount_point(b"/") == b""


@pytest.mark.posix  # mounts
@pytest.mark.fault("F7")
def test_a_folder_that_is_mounted_a_second_time_is_a_mount_of_its_own(tmp_path):
    """A bind mount has the device of what is around it; only the table of mounts knows it."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/sda1 {tmp_path}/drive ext4 rw 0 0\n")
    inside = os.fsencode(tmp_path / "drive" / "scan")
    assert mount_point(inside, mounts) == os.fsencode(tmp_path / "drive")
    assert is_mounted(os.fsencode(tmp_path / "drive"), mounts)
    assert not is_mounted(inside, mounts)
    assert mount_point(b"/proc/self", tmp_path / "missing") == b"/proc"


@pytest.mark.posix  # mounts
@pytest.mark.fault("F6")
def test_the_type_of_a_file_system_is_read_from_the_mounts(tmp_path):
    """The longest mount point that a folder lies below; escapes are understood."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n"
        f"//pc/y {tmp_path}/a\\040b cifs rw 0 0\nsshfs {tmp_path}/c fuse.sshfs rw 0 0\n"
    )
    for name, kind, network in (
        ("/etc", "ext4", False), (tmp_path, "nfs4", True), (tmp_path / "a b" / "deep", "cifs", True),
        (tmp_path / "c", "fuse.sshfs", True), (f"{tmp_path}-other", "ext4", False),
    ):  # fmt: skip
        assert file_system(os.fsencode(name), mounts) == kind
        assert is_network(kind) is network
    assert file_system(b"/etc", tmp_path / "missing") == ""


class WindowsError32(OSError):
    """What an open raises on Windows while another program writes."""

    winerror = SHARING_VIOLATION


@pytest.mark.fault("F16")
def test_a_file_in_use_on_windows_is_deferred_and_not_failed():
    """Sharing and lock violations say "later"."""
    assert is_locked(WindowsError32(13, "in use"))
    assert not is_locked(PermissionError(13, "no"))
    assert isinstance(explain(WindowsError32(13, "in use"), b"a.h5"), DiskBusy)
    assert LOCK_VIOLATION == 33


@pytest.mark.fault("F16")
@pytest.mark.fault("F5")
def test_too_few_watches_are_told_with_what_to_do(tmp_path):
    """Fewer folders are watched than there are."""
    (tmp_path / "sys/fs/inotify").mkdir(parents=True)
    (tmp_path / "sys/fs/inotify/max_user_watches").write_text("3\n")
    (tmp_path / "self/fdinfo").mkdir(parents=True)
    (tmp_path / "self/fdinfo/7").write_text("pos: 0\n" + "inotify wd:1 ino:2\n" * 3)
    assert watches_left_out(3, tmp_path) == ""
    sentence = watches_left_out(10, tmp_path)
    assert "3 of 10" in sentence
    assert "max_user_watches" in sentence
    assert watches_left_out(10, Path("/nowhere")) == ""
