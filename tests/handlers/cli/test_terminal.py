"""What stands on a real terminal: bars that move, colours unless refused, and Ctrl-C that stops only the looking."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

OWN = (
    "import fcntl, signal, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.default_int_handler)"
)
"""Makes the terminal the session's own, so that Ctrl-C reaches the program, also from tests in the background."""
PROGRAM = [sys.executable, "-c", f"{OWN}; from datauploader_client.cli import main; raise SystemExit(main())"]


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        """Start it."""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", **environment},
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until the text has come."""
        end = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < end, f"waited in vain for {text!r}; there came {self.seen!r}"
            self._read()

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        end = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end; there came {self.seen!r}"
            self._read()
        self._read()
        os.close(self._master)
        return self.process.returncode

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.1)[0]:
            try:
                self.seen += os.read(self._master, 65536).decode()
            except OSError:  # the program has closed its end
                self.process.wait(10)


@pytest.fixture
def signed_in(surroundings):
    """Give the program a token."""
    surroundings.setenv("DATAUPLOADER_TOKEN", "du_good")
    surroundings.delenv("NO_COLOR", raising=False)


def test_progress_is_drawn_and_names_stay_harmless(gateway, signed_in) -> None:
    """Bars, counts, failures first; a name with a terminal code is shown, not obeyed."""
    gateway.files = [{"path": "a\x1b[2J.tif", "size": 1, "state": "failed", "detail": "Full.", "hint": "Make room."}]
    gateway.events = [("upload", gateway.upload(found=10, stored=5, failed=1, speed=5e6, seconds_left=300.0))]
    terminal = Terminal("watch", "u-0001")
    terminal.until("a\\x1b[2J.tif")
    terminal.until("5.00 kB of 10.0 kB")
    terminal.until("5 min left")
    gateway.events.append(("end", gateway.completed()))
    assert terminal.end() == 0
    assert "━" in terminal.seen
    assert "\x1b[2J" not in terminal.seen
    assert "Complete: 10 files, 10.0 kB, all verified." in terminal.seen


def test_ctrl_c_ends_the_look_and_not_the_upload(gateway, signed_in) -> None:
    """It says so, and how to look again."""
    gateway.events = [("upload", gateway.upload(found=10, stored=5))]
    terminal = Terminal("upload", "/data/scan1", "-i", "1", "-d", "scan1", "--follow")
    terminal.until("5.00 kB of 10.0 kB")
    terminal.press("\x03")
    assert terminal.end() == 130
    assert "The upload continues. Watch it again with: datauploader watch u-0001" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert not any(path.endswith(("cancel", "pause")) for _, path, _ in gateway.asked)


def test_without_colour_nothing_is_coloured(gateway, signed_in) -> None:
    """NO_COLOR is kept."""
    coloured, plain = Terminal("status"), Terminal("status", "nope", NO_COLOR="1")
    assert coloured.end() == 0
    assert plain.end() == 1
    assert "\x1b[1m" in coloured.seen
    assert not any(f"\x1b[{code}" in plain.seen for code in ("31", "1;31", "38"))


def test_columns_are_headed_in_words_for_people(gateway, signed_in) -> None:
    """Not by the name of a class."""
    terminal = Terminal("investigations", COLUMNS="200", NO_COLOR="1")
    assert terminal.end() == 0
    headings = next(line for line in terminal.seen.splitlines() if "Title" in line)
    words = re.sub(r"\x1b\[\d*m", "", headings).split()
    assert words[:3] == ["Investigation", "Title", "State"]


def test_a_password_is_not_shown_while_it_is_typed(gateway, surroundings) -> None:
    """It is asked for on the terminal and never echoed."""
    terminal = Terminal("login", "-u", "anna")
    terminal.until("Password: ")  # the space comes once the echo is off
    terminal.press("secret\n")
    assert terminal.end() == 0
    assert "secret" not in terminal.seen
