"""rclone's control is as good as a shell: nobody but transfer reaches it, and no message chooses what it is told."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from datauploader.contracts.files import FileReady, FileVersion
from datauploader.contracts.questions import HashStored
from datauploader.contracts.uploads import Destination
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.errors import TransferError
from datauploader_transfer.ports import Item, State
from datauploader_transfer.rclone.mover import RcloneMover, RcloneSettings

REMOTES = (
    ":local:",
    ":local:/",
    "local:",
    ":webdav,bearer_token_command='id':",
    "archive:",
    "a,b=c",
    "../x",
    "",
)


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneMover]:
    """Run the real mover over a folder."""
    folder = tmp_path_factory.mktemp("store")
    made = RcloneMover(parse_remotes({"archive": {"type": "local", "base": str(folder)}}), RcloneSettings())
    made._daemon.client()
    yield made
    made.close()


def paths(mover: RcloneMover) -> tuple[Path, Path]:
    """Return rclone's folder and socket."""
    return mover._daemon.folder, mover._daemon.folder / "rc"


@pytest.mark.attack("S16")
@pytest.mark.parametrize("auth", [None, ("", ""), ("admin", "admin"), ("u", "p")])
def test_without_the_password_of_this_start_rclone_does_nothing(
    mover: RcloneMover, auth: tuple[str, str] | None
) -> None:
    """Even for somebody who reaches the socket; harmless calls as well, since there are calls that run programs."""
    _, address = paths(mover)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(address)), base_url="http://rclone") as client:
        for call in ("core/version", "core/command", "config/dump", "operations/list", "rc/noop", "rc/noopauth"):
            assert client.post(f"/{call}", json={}, auth=auth).status_code == 401, call
        assert client.get("/", auth=auth).status_code in (401, 404)


@pytest.mark.attack("S16")
def test_another_user_does_not_reach_the_socket(mover: RcloneMover) -> None:
    """Folder and socket are the user's own; where the tests run as root, another user tries."""
    folder, address = paths(mover)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert address.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        look = f"import socket; socket.socket(socket.AF_UNIX).connect({str(address)!r})"
        tried = subprocess.run(["python3", "-c", look], user=65534, group=65534, capture_output=True, check=False)
        assert b"PermissionError" in tried.stderr


@pytest.mark.attack("S16")
def test_rclone_listens_on_no_port(mover: RcloneMover) -> None:
    """The socket in the file system is the only way in."""
    assert mover._daemon.pid
    inodes = set()
    for handle in Path(f"/proc/{mover._daemon.pid}/fd").iterdir():
        inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{mover._daemon.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            assert not (fields[3] == "0A" and fields[9] in inodes)


@pytest.mark.attack("S17")
@pytest.mark.parametrize("remote", REMOTES)
def test_no_message_can_name_what_is_no_remote(remote: str) -> None:
    """The contract has no room for a connection string, so no consumer ever sees one."""
    with pytest.raises(ValidationError):
        Destination(remote=remote, location="1/scan")
    with pytest.raises(ValidationError):
        HashStored(remote=remote, object="1/scan/a")


@pytest.mark.attack("S17", "S19")
@pytest.mark.parametrize("location", ["..", "/abs", "a/../b", "a//b", "a\\b", "C:x", "a\nb", ":local:x", "con", ""])
def test_no_message_can_name_a_place_outside_the_remote(location: str) -> None:
    """Nor can the path of a file in it, in text or in base64."""
    with pytest.raises(ValidationError):
        Destination(remote="archive", location=location)


@pytest.mark.attack("S19")
@pytest.mark.parametrize("packed", ["Li4vZXRj/w==", "L2V0Yy//", "YS8uLi8uLi//", "YQAv/w=="])
def test_no_bytes_of_a_path_climb_out(packed: str) -> None:
    r"""`../etc\xff` in base64 is as refused as in text."""
    version = FileVersion(path="harmless", path_b64=packed, size=1, mtime_ns=1, sha256="0" * 64, revision=1)
    with pytest.raises(ValidationError):
        FileReady(upload_id="up-12345", root="/", destination=Destination(remote="a", location="b"), files=(version,))


@pytest.mark.attack("S17", "S19")
@pytest.mark.parametrize(
    ("remote", "target"), [(":local:", "x"), ("nowhere", "x"), ("archive", "../x"), ("archive", "/x")]
)
def test_the_mover_itself_asks_nothing_of_rclone_for_them(
    mover: RcloneMover, tmp_path: Path, remote: str, target: str
) -> None:
    """The last line, should a message ever get so far: refused, and nothing is written."""
    source = tmp_path / "source"
    source.write_bytes(b"x")
    item = Item("k", source, target, 1, source.stat().st_mtime_ns, {"sha256": "0" * 64}, frozenset())
    (outcome,) = mover.move(remote, [item])
    assert outcome.state is State.REFUSED
    with pytest.raises(TransferError):
        mover.hash_stored(remote, target, ("md5",))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
