"""Windows on Linux: a folder of Debian's Wine in which programs of Windows run, services included."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

FORWARDER = "LIBRARY bcryptprimitives.dll\nEXPORTS\n ProcessPrng = advapi32.SystemFunction036\n"
"""Debian's Wine 8 lacks a library of one function, which programs in Go and Rust ask for random numbers."""
_REST_S = 1.0
"""What a program has printed is read within so many seconds of its end."""
LIBRARIES = "mscoree=;mshtml=;winedbg.exe=;winemenubuilder.exe=;wbemprox=;bcryptprimitives=n"


class Wine:
    """One folder of Wine, with a C: drive, a registry and a service control manager of its own."""

    def __init__(self, prefix: Path) -> None:
        """Use this folder; `make` makes it."""
        self.prefix = prefix
        self._awake: subprocess.Popen[bytes] | None = None

    @property
    def drive(self) -> Path:
        """What Windows' programs call C:."""
        return self.prefix / "drive_c"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of everything that runs in it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATAUPLOADER_", "DISPLAY"))}
        quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": LIBRARIES, "LC_ALL": "C.UTF-8"}
        return kept | quiet | {"WINEPREFIX": str(self.prefix)}

    def make(self) -> None:
        """Make Windows 10, unless it is there.

        Raises:
            subprocess.CalledProcessError: Wine could not.
        """
        stamp = self.prefix / "made"
        if stamp.exists():
            return
        shutil.rmtree(self.prefix, ignore_errors=True)
        self.prefix.mkdir(parents=True)
        for words in (["wineboot", "-i"], ["winecfg", "-v", "win10"]):
            subprocess.run(self.command(*words), env=self.environment, check=True, stdin=subprocess.DEVNULL)
        subprocess.run(["wineserver", "-w"], env=self.environment, check=False)
        share = self.prefix / "dosdevices" / "unc" / "localhost"
        share.mkdir(parents=True)
        (share / "C$").symlink_to(self.drive)  # as every Windows offers it to its administrators
        definition, exports = self.prefix / "b.def", self.prefix / "e.o"
        definition.write_text(FORWARDER)
        library = self.drive / "windows" / "system32" / "bcryptprimitives.dll"
        library.unlink(missing_ok=True)
        tool = "x86_64-w64-mingw32-"
        subprocess.run([f"{tool}dlltool", "-d", definition, "-e", exports, "-D", library.name], check=True)
        subprocess.run([f"{tool}ld", "-shared", "--entry", "0", "-o", library, exports], check=True)
        stamp.touch()

    @staticmethod
    def command(*words: str | Path) -> Sequence[str]:
        """Return the command line that runs a program of Windows."""
        return ["wine", *map(str, words)]

    def start(self, *words: str | Path, cwd: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a program; its output goes through a pipe, because Wine cannot write to every file."""
        return subprocess.Popen(
            self.command(*words), env=self.environment, cwd=cwd or self.drive, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *words: str | Path, within_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end; what it has printed is in `stdout`."""
        printed: list[bytes] = []
        code = self.follow(printed.append, *words, within_s=within_s)
        return subprocess.CompletedProcess(words, code, b"".join(printed).decode("utf-8", "replace"))

    def follow(
        self,
        told: Callable[[bytes], object],
        *words: str | Path,
        within_s: float | None = None,
        cwd: Path | None = None,
    ) -> int:
        """Run a program to its end, with each line told as it is printed; return the exit code.

        What it leaves running, Wine's own programs among it, may hold the pipe open for as long as it likes.
        """
        process = self.start(*words, cwd=cwd)
        assert process.stdout is not None
        reader = threading.Thread(target=_read, args=(process.stdout, told), daemon=True)
        reader.start()
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        reader.join(_REST_S)
        return code

    def boot(self) -> None:
        """Start its services as a computer does, and let them run until `end`: else they end with the last program."""
        self._awake = self.start("cmd.exe", "/c", "ping -n 36000 127.0.0.1")

    def end(self) -> None:
        """End everything that runs in it at once, as a power cut does."""
        subprocess.run(["wineserver", "-k"], env=self.environment, check=False)
        if self._awake is not None:
            self._awake.communicate()
            self._awake = None


def _read(pipe: IO[bytes], told: Callable[[bytes], object]) -> None:
    with pipe:
        for line in pipe:
            told(line)
