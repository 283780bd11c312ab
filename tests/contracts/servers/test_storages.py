"""The private storages: rclone reaches each one by its definition, and the bytes lie where the address says."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from datauploader_testing.faults import Direction, FaultProxy, FlipByte
from datauploader_testing.servers import (
    ApacheWebdavServer,
    RcloneWebdavServer,
    S3Server,
    SftpServer,
    SmbServer,
    StorageAddress,
)
from datauploader_testing.servers.programs import find_rclone
from datauploader_testing.servers.server import environment
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.storage

KINDS = (
    RcloneWebdavServer,
    ApacheWebdavServer,
    S3Server,
    SftpServer,
    pytest.param(SmbServer, marks=pytest.mark.campaign),
)
NAME = "α-Fe2O3 after annealing/frame_0001.tif"
BYTES = bytes(range(256)) * 1000


def rclone(address: StorageAddress, work: Path, *arguments: str) -> str:
    """Run rclone with the storage as remote `storage:`; low-level retries are off."""
    configuration = work / "rclone.conf"
    configuration.write_text(address.configuration("storage"))
    options = (
        "--config",
        str(configuration),
        "--retries",
        "1",
        "--low-level-retries",
        "1",
        "--webdav-pacer-min-sleep",
        "0",
    )
    done = subprocess.run(
        [find_rclone(), *arguments, *options], env=environment(), capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_arrive_in_the_directory_and_survive_a_kill(kind: type[SftpServer], tmp_path: Path) -> None:
    """What rclone copies lies on disk, is listed by the restarted server on the same port, and goes at the end."""
    source = tmp_path / "source"
    (source / NAME).parent.mkdir(parents=True)
    (source / NAME).write_bytes(BYTES)
    with kind() as server:
        target = f"storage:{server.address.base}"
        rclone(server.address, tmp_path, "copy", str(source), target)
        assert (server.address.directory / NAME).read_bytes() == BYTES
        server.kill()
        server.start()
        assert rclone(server.address, tmp_path, "lsf", "-R", "--files-only", target).strip() == NAME
        (server.address.directory / "foreign.dat").write_bytes(b"put here behind the server's back")
        listed = lambda: "foreign.dat" in rclone(server.address, tmp_path, "lsf", target)  # noqa: E731  a name for it
        eventually(listed, within_s=5, what="the file is listed; rclone's servers remember a folder for a second")
    assert not server.directory.exists()


def test_sftp_hashes_through_the_shell(sftp_server: SftpServer, tmp_path: Path) -> None:
    """The server computes md5 for files that rclone did not write."""
    (sftp_server.address.directory / "x").write_bytes(BYTES)
    sums = rclone(sftp_server.address, tmp_path, "md5sum", f"storage:{sftp_server.address.base}/x")
    assert sums.split()[0] == hashlib.md5(BYTES).hexdigest()


def test_a_storage_can_be_reached_through_a_fault_proxy(webdav_server: RcloneWebdavServer, tmp_path: Path) -> None:
    """A flipped byte on the way to WebDAV is stored, and rclone says nothing: why reading back is needed."""
    source = tmp_path / "x"
    source.write_bytes(BYTES)
    with FaultProxy(webdav_server.address.port) as proxy:
        flip = FlipByte(direction=Direction.UP, position=100_000)
        with proxy.having(flip):
            rclone(webdav_server.address.through(proxy.port), tmp_path, "copyto", str(source), "storage:flipped")
    assert flip.hits == 1
    stored = (webdav_server.address.directory / "flipped").read_bytes()
    assert len(stored) == len(BYTES)
    assert sum(a != b for a, b in zip(stored, BYTES, strict=True)) == 1


def test_two_of_a_kind_run_at_once(webdav_server: RcloneWebdavServer, apache_server: ApacheWebdavServer) -> None:
    """Each has its own port and directory."""
    with RcloneWebdavServer() as second, ApacheWebdavServer() as other:
        ports = {webdav_server.address.port, apache_server.address.port, second.address.port, other.address.port}
    assert len(ports) == 4
