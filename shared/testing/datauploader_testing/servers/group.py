"""A process group with a guardian: whatever happens to the process that started it, nothing stays behind."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Reads the number of the group to end, line by line, until its owner closes the pipe or dies.
GUARDIAN = (
    'group=""; while read -r line; do group="$line"; done; '
    '[ -z "$group" ] || kill -s KILL -- "-$group" 2>/dev/null; rm -rf -- "$1"'
)


class ProcessGroup:
    """Run programs in a process group of their own, and clean up them and their directory at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._guardian = subprocess.Popen(
            ["/bin/sh", "-c", GUARDIAN, "guardian", str(directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def spawn(self, command: Sequence[str | Path], *, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program; the first one leads the group."""
        leader = self._processes[0].pid if self._processes else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=dict(env),
                cwd=self._directory,
                process_group=leader,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        self._tell_guardian(str(self._processes[0].pid))
        return process

    @property
    def ended(self) -> bool:
        """Say whether any program of the group has ended."""
        return any(process.poll() is not None for process in self._processes)

    def kill(self) -> None:
        """End every program of the group with SIGKILL, and wait until they are gone."""
        if self._processes:
            self.signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        self._processes.clear()
        self._tell_guardian("")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._processes[0].pid, number)

    def freeze(self) -> None:
        """Stop what runs (SIGSTOP), and return when it has: a busy machine lets it go on for a while."""
        self.signal(signal.SIGSTOP)
        for process in self._processes:
            with contextlib.suppress(ChildProcessError):  # one that has ended, and was waited for
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """Kill what runs, and let the guardian remove the directory."""
        if self._guardian.poll() is not None:
            return
        self.kill()
        self._guardian.communicate()

    def _tell_guardian(self, line: str) -> None:
        assert self._guardian.stdin is not None
        self._guardian.stdin.write(f"{line}\n".encode())
        self._guardian.stdin.flush()
