"""The services of a facility in a box: all in this process, or each in its own, where one can be killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from datauploader.runtime.config import CONFIG_VARIABLE, Settings, load
from datauploader.runtime.process import Runtime

PROGRAM = str(Path(sys.executable).with_name("datauploader"))
"""Our own command line, from the environment that runs this."""


class InOneProcess:
    """All services in this process; each can be ended and started again."""

    def __init__(self, config: Path, services: Sequence[str]) -> None:
        """Start them."""
        os.environ[CONFIG_VARIABLE] = str(config)
        self._settings = load(Settings)
        self._runtimes = {service: Runtime((service,), self._settings) for service in services}
        for runtime in self._runtimes.values():
            runtime.start()

    def start(self, service: str) -> None:
        """Start a service again that was ended."""
        self._runtimes[service] = Runtime((service,), self._settings)
        self._runtimes[service].start()

    def terminate(self, service: str) -> None:
        """End one service as SIGTERM would."""
        self._runtimes.pop(service).stop()

    def stop(self) -> None:
        """Stop them as SIGTERM would, all at once."""
        enders = [threading.Thread(target=runtime.stop, daemon=True) for runtime in self._runtimes.values()]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        del os.environ[CONFIG_VARIABLE]


class InManyProcesses:
    """Each service as a process of its own, its output in a file."""

    def __init__(
        self, config: Path, services: Sequence[str], logs: Path, before: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Start them; `before` holds the beginning of the command line of some (`env`, `unshare` …)."""
        self._before = before or {}
        self._environment = {**os.environ, CONFIG_VARIABLE: str(config), "PYTHONUNBUFFERED": "1"}
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for service in services:
            self.start(service)

    def start(self, service: str, **environment: str) -> None:
        """Start one service, again if need be, with more in its environment where that is wanted.

        `catalog#2` is one more process of the catalog, and is called so from then on.
        """
        with (self._logs / f"{service}.log").open("ab") as output:
            self._processes[service] = subprocess.Popen(
                [*self._before.get(service, ()), PROGRAM, "run", service.partition("#")[0]],
                env=self._environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def kill(self, service: str) -> None:
        """End one service at once, as a power cut would."""
        process = self._processes.pop(service)
        process.kill()
        process.wait()

    def pause(self, service: str) -> None:
        """Freeze one service, as a machine that swaps or sleeps does."""
        self._processes[service].send_signal(signal.SIGSTOP)

    def resume(self, service: str) -> None:
        """Let a frozen service go on."""
        self._processes[service].send_signal(signal.SIGCONT)

    def ended(self, service: str, within_s: float) -> int:
        """Wait until one service ends by itself; return its exit code (minus the signal's number)."""
        code = self._processes[service].wait(within_s)
        del self._processes[service]
        return code

    def runs(self, service: str) -> bool:
        """Tell whether a service is there and has not ended."""
        return service in self._processes and self._processes[service].poll() is None

    def log(self, service: str) -> str:
        """Return what one service has written so far."""
        return (self._logs / f"{service}.log").read_text(errors="replace")

    def memory(self, service: str) -> int:
        """Return the bytes of memory that one service has resident now."""
        pages = Path(f"/proc/{self._processes[service].pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def terminate(self, service: str, within_s: float = 10.0) -> int:
        """Ask one service to end; return its exit code."""
        process = self._processes.pop(service)
        process.terminate()
        return process.wait(within_s)

    def check(self) -> None:
        """Raise when a service has ended by itself, with its last words."""
        for service, process in self._processes.items():
            if process.poll() is not None:
                words = self.log(service)[-2000:]
                raise RuntimeError(f"{service} ended with exit code {process.returncode}:\n{words}")

    def stop(self) -> None:
        """Ask all to end, and make those end that do not."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        for process in self._processes.values():
            try:
                process.wait(12.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
