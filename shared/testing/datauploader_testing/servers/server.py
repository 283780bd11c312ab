"""What all private servers share: a directory, a process group, and a life that a test can command."""

import os
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import structlog

from datauploader_testing.servers.errors import ServerStartError, ServerToolError
from datauploader_testing.servers.group import ProcessGroup

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.02


class Startable(ABC):
    """What a test starts and ends: a context manager that leaves nothing behind."""

    @abstractmethod
    def start(self) -> Self:
        """Start it, and return when it answers."""

    @abstractmethod
    def close(self) -> None:
        """End it and remove what it has written."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class PrivateServer(Startable):
    """A server on loopback that belongs to the test which started it."""

    name: ClassVar[str]
    start_seconds: ClassVar[float] = 30.0
    stop_seconds: ClassVar[float] = 20.0

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"datauploader-{self.name}-"))
        self._group = ProcessGroup(self.directory)
        self._main: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Spawn the server's programs and return the main one."""

    @abstractmethod
    def _answers(self) -> bool:
        """Ask the server by its own protocol whether it serves; an OSError means not yet."""

    @property
    def log_file(self) -> Path:
        """Tell where the output of the programs goes."""
        return self.directory / "output.log"

    @property
    def pid(self) -> int:
        """Tell the process id of the running server."""
        assert self._main is not None, f"{self.name} is not running"
        return self._main.pid

    @property
    def running(self) -> bool:
        """Say whether the server's process is alive."""
        return self._main is not None and self._main.poll() is None

    def start(self) -> Self:
        """Start the server on its directory and ports, and return when it answers."""
        started = time.monotonic()
        try:
            self._main = self._launch()
            self._wait_for(self._answered, started + self.start_seconds)
        except BaseException:
            self.kill()
            raise
        log.debug("server_started", server=self.name, seconds=round(time.monotonic() - started, 2))
        return self

    def stop(self) -> None:
        """Ask the server to end (SIGTERM), and make it end when it does not."""
        if self._main is not None and self._main.poll() is None:
            self._main.send_signal(signal.SIGTERM)
            try:
                self._main.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                log.warning("server_did_not_stop", server=self.name, seconds=self.stop_seconds)
        self._group.kill()
        self._main = None

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a power cut would; the directory stays."""
        self._group.kill()
        self._main = None

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        self._group.freeze()

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._group.signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its directory."""
        self._main = None
        self._group.close()

    def _spawn(self, *command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return self._group.spawn(command, env=environment() | dict(env or {}), log=self.log_file)

    def _answered(self) -> bool:
        try:
            return self._answers()
        except OSError:
            return False

    def _wait_for(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition():
            if self._group.ended:
                raise ServerStartError(f"{self.name} ended while it was starting.\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise ServerStartError(
                    f"{self.name} did not answer within {self.start_seconds:.0f} s.\n{self._last_words()}"
                )
            time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        if not self.log_file.exists():
            return "It printed nothing."
        return "Its last words:\n" + self.log_file.read_text(errors="replace")[-2000:]


def environment() -> dict[str, str]:
    """Copy the environment without what would point a private server at a public one's files."""
    foreign = ("RABBITMQ_", "ERL_", "RCLONE_", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def run_tool(command: Sequence[str | Path], *, env: Mapping[str, str], stdin: str = "", timeout: float = 60) -> str:
    """Run a tool of a server to its end and return what it printed; raise ServerToolError otherwise."""
    done = subprocess.run(
        [str(part) for part in command],
        env=dict(env),
        input=stdin,
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise ServerToolError(f"'{command[0]}' answered {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
