"""The parts of a SPEC file, line by line: headers and scans, whatever is missing, broken or cut off.

The lines are described in the manual of spec and of its C-PLOT (https://certif.com/cplot_manual/ch0c_C_11_3.html): `#`
and a letter begin a line of text, `@` one of a multichannel analyser, all others are points. Names of motors and labels
of columns are two blanks apart, because they may hold one.
"""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

LONGEST_LINE = 64 * 1024
"""Bytes that are kept of one line; the rest of it is passed over."""
MOST_NAMES = 1000
"""Motors, positions, columns or comments that are kept of one part of a file."""
_ABORTED = re.compile(r"aborted after (\d+) points?", re.IGNORECASE)
_USER = re.compile(r"\bUser\s*=\s*(.+)$")
_MOTORS = re.compile(r"#O\d+ ")
_POSITIONS = re.compile(r"#P\d+ ")
_WIDE = re.compile(r" {2,}|\t")


@dataclass(slots=True)
class Header:
    """What stands before scans: who measured with what, and since when. A file may have several."""

    file: str = ""
    user: str = ""
    start: str = ""
    comments: list[str] = field(default_factory=list)
    motors: list[str] = field(default_factory=list)

    def read(self, _: str, key: str, text: str) -> None:
        """Take one of its lines: the whole of it, its first word, the rest."""
        match key:
            case "#F":
                self.file = text
            case "#E" if text.isdigit() and len(text) < 12:  # noqa: PLR2004 - seconds since 1970, to the year 5138
                self.start = dt.datetime.fromtimestamp(int(text), dt.UTC).isoformat()
            case "#D":
                self.start = self.start or moment(text)
            case "#U":
                self.user = self.user or text
            case "#C":
                _keep(self.comments, [text])
                if found := _USER.search(text):
                    self.user = found[1].strip()
            case _ if _MOTORS.match(f"{key} "):
                _keep(self.motors, _names(text))


@dataclass(slots=True)
class Scan:
    """One scan: what was commanded, what its points are, and what is wrong with it."""

    number: str
    command: str
    header: Header
    date: str = ""
    count: float | None = None
    units: str = ""
    labels: list[str] = field(default_factory=list)
    columns: int = 0
    positions: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    points: int = 0
    spectra: int = 0
    continued: bool = False
    """The next line belongs to the spectrum of this one."""
    aborted: bool = False
    wrong: str = ""

    def read(self, line: str, key: str, text: str) -> None:
        """Take one of its lines: the whole of it, its first word, the rest."""
        if line.startswith("#"):
            self._read_control(key, text)
        elif line.startswith("@") or self.continued:
            self.spectra += line.startswith("@A")
            self.continued = line.endswith("\\")
        elif not line.isspace() and line:
            self._add_point(line)

    def _read_control(self, key: str, text: str) -> None:
        match key:
            case "#D":
                self.date = self.date or moment(text)
            case "#T" | "#M":
                number, _, what = text.partition(" ")
                if self.count is None and _is_number(number):
                    self.count, self.units = float(number), what.strip().strip("()")
            case "#N":
                first = text.split()[:1]
                self.columns = int(first[0]) if first and first[0].isdigit() and len(first[0]) < 6 else 0  # noqa: PLR2004
            case "#L":
                self.labels = _names(text)
                if self.columns and len(self.labels) != self.columns and len(text.split()) == self.columns:
                    self.labels = text.split()  # as those write it who keep one blank between them
            case "#C" | "#CO":
                _keep(self.comments, [text])
                self.aborted = self.aborted or bool(_ABORTED.search(text))
            case _ if _POSITIONS.match(f"{key} "):
                _keep(self.positions, text.split())

    def _add_point(self, line: str) -> None:
        values = line.split()
        wanted = self.columns or len(self.labels)
        if not all(map(_is_number, values)):
            self.wrong = self.wrong or f"after {self.points} points comes a line that is not numbers"
        elif wanted and len(values) != wanted:
            self.wrong = self.wrong or f"after {self.points} points comes a line with {len(values)} of {wanted} values"
        else:
            self.points += 1

    @property
    def motors(self) -> dict[str, float]:
        """Return where the motors stood when it began, as far as names and positions fit together."""
        if len(self.positions) != len(self.header.motors):
            return {}
        pairs = zip(self.header.motors, self.positions, strict=True)
        return {name: float(text) for name, text in pairs if _is_number(text)}


def parts(file: IO[bytes], most: int) -> Iterator[Header | Scan]:
    """Yield each header when it begins and each scan when it is over, of the first `most` bytes."""
    header, begun = Header(), False
    now: Header | Scan = header
    for line in _lines(file, most):
        key, _, text = line.partition(" ")
        if key == "#S":
            if isinstance(now, Scan):
                yield now
            number, _, command = text.strip().partition(" ")
            now = Scan(number, command.strip(), header)
        elif key in ("#F", "#E") and (isinstance(now, Scan) or not begun):  # one of both begins a header
            if isinstance(now, Scan):
                yield now
            now = header = Header()
            begun = True
            yield header
        now.read(line, key, text.strip())
    if isinstance(now, Scan):
        yield now


def moment(text: str) -> str:
    """Return a date of spec in ISO 8601, or as it is written."""
    try:
        return dt.datetime.strptime(" ".join(text.split()), "%a %b %d %H:%M:%S %Y").isoformat()  # noqa: DTZ007 - it has none
    except ValueError:
        return text


def _lines(file: IO[bytes], most: int) -> Iterator[str]:
    while most > 0 and (raw := file.readline(min(LONGEST_LINE, most))):
        most -= len(raw)
        line = raw
        while most > 0 and not raw.endswith(b"\n") and (raw := file.readline(min(LONGEST_LINE, most))):
            most -= len(raw)
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            yield line.decode("latin-1").rstrip("\r\n")


def _names(text: str) -> list[str]:
    return [name for part in _WIDE.split(text) if (name := part.strip())]


def _keep(kept: list[str], new: list[str]) -> None:
    kept += new[: MOST_NAMES - len(kept)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
