"""A server ends with the process that started it, however that one ends."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from datauploader_testing.servers.errors import MissingProgramError
from datauploader_testing.servers.programs import find_program

OWNER = """
from datauploader_testing.servers import RedisServer
server = RedisServer().start()
print(server.pid, server.directory, flush=True)
server._main.wait()
"""


def test_a_killed_owner_leaves_no_server_and_no_directory() -> None:
    """SIGKILL of the test process: the server and its files are gone soon after."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout as lines:
        words = next(line for line in lines if "datauploader-redis-" in line and line[0].isdigit()).split()
        pid, directory = words[0], Path(words[1])
        assert is_alive(pid)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    deadline = time.monotonic() + 60
    while is_alive(pid) or directory.exists():
        assert time.monotonic() < deadline, f"{pid} or {directory} outlived its owner"
        threading.Event().wait(0.05)


def is_alive(pid: str) -> bool:
    """Say whether a process runs; a zombie that nobody has collected does not."""
    try:
        return "State:\tZ" not in Path("/proc", pid, "status").read_text()
    except OSError:
        return False


def test_a_missing_program_says_what_to_install() -> None:
    """The message names the program and the command that installs it."""
    with pytest.raises(
        MissingProgramError, match=r"'no-such-server' is not on this machine\. Install it with: apt-get"
    ):
        find_program("no-such-server", install="apt-get install it")
