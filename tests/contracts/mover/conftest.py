"""Real storages on loopback for the mover's contract, and the mover over each of them."""

import hashlib
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from datauploader_sandbox.storages import definition as defined
from datauploader_testing.servers import SmbServer
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.memory_mover import MemoryMover, MemoryStorage
from datauploader_transfer.ports import Item, Mover
from datauploader_transfer.rclone.daemon import find_rclone
from datauploader_transfer.rclone.mover import RcloneMover, RcloneSettings

PATIENCE_S = 20
BASE = "base"


@dataclass
class Bench:
    """Hold a mover, the name of its remote, and a way to look at and touch the storage from outside."""

    mover: Mover
    remote: str
    plant: Callable[[str, bytes], None]
    content: Callable[[str], bytes | None]
    hostile: bool = True

    def within(self, prefix: str) -> "Bench":
        """Give the same storage with all targets below a prefix, so that tests can share it."""
        return Bench(
            self.mover,
            self.remote,
            lambda target, content: self.plant(prefix + target, content),
            lambda target: self.content(prefix + target),
            self.hostile,
        )


@dataclass
class Files:
    """Write source files and announce them as the watcher does; targets lie below the prefix."""

    root: Path
    prefix: str = ""

    def write(self, name: str, content: bytes, *, target: str | None = None, replaces: frozenset[str] = frozenset()):
        """Write a file and return the item that announces it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.item(name, content, target=target, replaces=replaces)

    def item(
        self, name: str, content: bytes, *, target: str | None = None, replaces: frozenset[str] = frozenset(),
        as_is: bool = False,
    ):  # fmt: skip
        """Announce a file with the digests of the content given."""
        path = self.root / name
        seen = path.lstat()
        digests = {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha256", "md5")}
        return Item(
            name, path, self.prefix + (target or name), len(content), seen.st_mtime_ns, digests, replaces, as_is=as_is
        )


@pytest.fixture
def files(tmp_path) -> Files:
    """Give a place for source files."""
    return Files(tmp_path / "source")


def free_port() -> int:
    """Ask the system for a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the end of the block; enter when it listens."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _await_listener(process, port, log)
            yield
        finally:
            process.terminate()


def _await_listener(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def listens_or_ended() -> bool:
        with socket.socket() as probe:
            return process.poll() is not None or probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens_or_ended, within_s=PATIENCE_S, what=f"{log.stem} listens")
    assert process.poll() is None, f"the server ended: {log.read_text(errors='replace')[-500:]}"


@contextmanager
def rclone_mover(name: str, definition: dict[str, object], **settings: object) -> Iterator[RcloneMover]:
    """Run the real mover with one remote."""
    mover = RcloneMover(parse_remotes({name: definition}), RcloneSettings(**settings))
    try:
        yield mover
    finally:
        mover.close()


@contextmanager
def webdav(folder: Path) -> Iterator[dict[str, object]]:
    """Serve a folder over WebDAV and give the definition of the remote."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(find_rclone()), "serve", "webdav", str(folder), "--config=", f"--addr=127.0.0.1:{port}"]
    command += ["--user=u", "--pass=p", "--no-unicode-normalization"]
    with served(command, port, folder.parent / "webdav.log"):
        options = {"url": f"http://127.0.0.1:{port}", "user": "u", "vendor": "other"}
        yield {"type": "webdav", "base": BASE, "options": options, "secrets": {"pass": "p"}}


@contextmanager
def s3(folder: Path) -> Iterator[dict[str, object]]:
    """Serve a folder over S3 and give the definition of the remote."""
    (folder / "bucket").mkdir(parents=True)
    port = free_port()
    command = [str(find_rclone()), "serve", "s3", str(folder), "--config=", f"--addr=127.0.0.1:{port}"]
    command += ["--auth-key=ACCESSKEY01,SECRETKEY01", "--no-unicode-normalization"]
    with served(command, port, folder.parent / "s3.log"):
        options = {
            "provider": "Other",
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key_id": "ACCESSKEY01",
            "force_path_style": True,
        }
        secrets = {"secret_access_key": "SECRETKEY01"}
        yield {"type": "s3", "base": f"bucket/{BASE}", "options": options, "secrets": secrets}


@contextmanager
def sftp(folder: Path) -> Iterator[dict[str, object]]:
    """Serve the disk over OpenSSH and give the definition of the remote, based in the folder."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.fail("there is no sshd: install openssh-server")
    folder.mkdir(parents=True)
    keys = folder.parent / "ssh"
    keys.mkdir(mode=0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / key], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    (keys / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\n"
        "StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nMaxStartups 100\n"
        "Subsystem sftp internal-sftp\n"
    )
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    with served([sshd, "-D", "-e", "-f", str(keys / "config")], port, keys / "log"):
        options = {"host": "127.0.0.1", "port": port, "user": user, "key_file": str(keys / "user")}
        yield {"type": "sftp", "base": str(folder / BASE), "options": options}


@contextmanager
def local(folder: Path) -> Iterator[dict[str, object]]:
    """Give the definition of a remote on the local disk."""
    yield {"type": "local", "base": str(folder / BASE)}


@contextmanager
def smb(folder: Path) -> Iterator[dict[str, object]]:
    """Serve a folder over SMB and give the definition of the remote."""
    with SmbServer(folder) as server:
        yield {**defined(server.address), "base": f"{server.address.base}/{BASE}"}


STORAGES = {"local": local, "webdav": webdav, "s3": s3, "sftp": sftp, "smb": smb}


def over_folder(mover: Mover, remote: str, base: Path, *, hostile: bool = True) -> Bench:
    """Look at a storage through the folder that it serves."""

    def plant(target: str, content: bytes) -> None:
        path = base / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def content(target: str) -> bytes | None:
        path = base / target
        return path.read_bytes() if path.is_file() else None

    return Bench(mover, remote, plant, content, hostile)


def over_door(mover: Mover, definition: dict[str, object], base: Path) -> Bench:
    """Look at a storage through its folder, but write through its door: the server remembers what it listed."""
    options = {**definition["options"], "type": definition["type"]}
    for key, secret in definition["secrets"].items():
        options[key] = _obscured(secret) if key == "pass" else secret
    spoken = {f"RCLONE_CONFIG_T_{key.upper()}": str(value).lower() if value is True else str(value)
              for key, value in options.items()}  # fmt: skip

    def plant(target: str, content: bytes) -> None:
        command = [find_rclone(), "rcat", "--config=", f"t:{definition['base']}/{target}"]
        subprocess.run(command, input=content, env=os.environ | spoken, check=True)

    return Bench(mover, "there", plant, over_folder(mover, "there", base).content, hostile=False)


def _obscured(secret: str) -> str:
    command = [find_rclone(), "obscure", "-"]
    return subprocess.run(command, input=secret, check=True, capture_output=True, text=True).stdout.strip()


REAL = [
    pytest.param(name, marks=[pytest.mark.storage, *([pytest.mark.campaign] if name == "smb" else [])])
    for name in STORAGES
]
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", params=["memory", *REAL])
def storage(request, tmp_path_factory) -> Iterator[Bench]:
    """Start the mover over each kind of storage in turn, once for all tests."""
    if request.param == "memory":
        memory = MemoryStorage()
        yield Bench(MemoryMover({"memory": memory}), "memory", memory.objects.__setitem__, memory.objects.get)
        return
    folder = tmp_path_factory.mktemp(request.param) / "storage"
    below = "bucket/" + BASE if request.param == "s3" else BASE
    with STORAGES[request.param](folder) as definition, rclone_mover("there", definition) as mover:
        if request.param in {"s3", "webdav"}:
            yield over_door(mover, definition, folder / below)
            return
        yield over_folder(mover, "there", folder / below, hostile=request.param != "smb")


@pytest.fixture
def bench(storage, files) -> Bench:
    """Give the mover over each kind of storage in turn, in a folder of this test's own."""
    files.prefix = f"test-{next(NUMBERS)}/"
    return storage.within(files.prefix)


@pytest.fixture
def webdav_served():
    """Give what serves a folder over WebDAV."""
    return webdav


@pytest.fixture
def rclone_over():
    """Give what runs the real mover with one remote."""
    return rclone_mover
