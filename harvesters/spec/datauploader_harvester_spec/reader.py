"""Reads what a SPEC file says about itself: its scans, motors and counters, its author's comments.

The format is read here and by no library: silx reads it in C and brings 60 MB with it, and what is wanted are the lines
of text, of files that are broken as well.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from datauploader.plugins.file_reader import Found
from datauploader_harvester_spec.scans import MOST_NAMES, Header, Scan, parts

MOST_BYTES = 512 * 1024**2
"""Of a file; what comes behind is not read."""
MOST_SCANS = 40
"""Scans that are told one by one; of all others the numbers count."""
MOST_MOTORS = 100
MOST_TEXTS = 20
"""Comments that are told."""
MOST_WRONG = 10
"""Broken scans that are named."""
BEGINNING = 4096
"""Bytes in which a SPEC file must have said that it is one."""


def read(path: Path) -> Iterator[Found]:
    """Yield each scan, then who measured and what the scans have in common.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no SPEC file, or a part of it is broken; comes last, after all that was read.
    """
    with path.open("rb") as file:
        if not any(line.startswith((b"#F ", b"#S ")) for line in file.read(BEGINNING).splitlines()):
            if path.suffix.lower() == ".spec":
                raise ValueError("it is no SPEC file: neither #F nor #S stands at its beginning")
            return
        file.seek(0)
        summary = _Summary()
        for part in parts(file, MOST_BYTES):
            if isinstance(part, Header):
                summary.headers = [*summary.headers, part][:MOST_TEXTS]
            else:
                yield from summary.add_scan(part)
        yield from summary.in_common()
        if file.read(1):
            summary.add_problem(f"only the first {MOST_BYTES // 1024**2} MiB were read")
        else:
            file.seek(-1, os.SEEK_END)
            if file.read(1) not in b"\r\n":
                summary.add_problem("its last line has no end: it was cut off, or is still being written")
    if problem := summary.problem():
        raise ValueError(problem)


@dataclass(slots=True)
class _Summary:
    """What the scans of one file have in common."""

    headers: list[Header] = field(default_factory=list)
    scans: int = 0
    points: int = 0
    aborted: int = 0
    first: Scan | None = None
    last_date: str = ""
    times: Counter[str] = field(default_factory=Counter)
    """How often each number of a scan came."""
    motors: dict[str, tuple[float, float]] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)
    comments: dict[str, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    more_problems: int = 0

    def add_problem(self, sentence: str) -> None:
        """Keep a sentence, or count it."""
        if len(self.problems) < MOST_WRONG:
            self.problems.append(sentence)
        else:
            self.more_problems += 1

    def problem(self) -> str:
        """Say everything that is wrong, "" for nothing."""
        return "; ".join(self.problems + ([f"and {self.more_problems} more"] if self.more_problems else []))

    def add_scan(self, scan: Scan) -> Iterator[Found]:
        """Yield what is told of this scan alone, and keep what counts for the file."""
        number = scan.number[:20]
        if len(self.times) < MOST_NAMES or number in self.times:
            self.times[number] += 1
        name = f"scan_{number}" + (f".{self.times[number]}" if self.times[number] > 1 else "")
        if wrong := scan.wrong or ("" if scan.labels or scan.spectra else "it has no #L, which names its columns"):
            self.add_problem(f"{name}: {wrong}")
        self.scans, self.points, self.aborted = self.scans + 1, self.points + scan.points, self.aborted + scan.aborted
        self.first, self.last_date = self.first or scan, scan.date or self.last_date
        if len(self.columns) < MOST_NAMES:
            self.columns |= dict.fromkeys(scan.labels)
        if len(self.comments) < MOST_TEXTS:
            self.comments |= dict.fromkeys(scan.comments[:MOST_TEXTS])
        for motor, position in scan.motors.items() if len(self.motors) < MOST_NAMES else ():
            low, high = self.motors.get(motor, (position, position))
            self.motors[motor] = min(low, position), max(high, position)
        if self.scans <= MOST_SCANS:
            yield from _scan(name, scan)

    def in_common(self) -> Iterator[Found]:
        """Yield what is told of the whole file."""
        head = self.headers[0] if self.headers else Header()
        comments = [text for header in self.headers for text in header.comments if "User =" not in text]
        motors = {name for header in self.headers for name in header.motors} | set(self.motors)
        for name, said in (
            ("title", comments[0] if comments else ""),
            ("file", head.file),
            ("user", head.user),
            ("start_time", head.start or (self.first.date if self.first else "")),
            ("last_scan_time", self.last_date),
            ("scans", self.scans),
            ("points", self.points),
            ("scans_aborted", self.aborted or ""),
            ("counters", ", ".join(name for name in self.columns if name not in motors)),
            ("motors_scanned", ", ".join(name for name in self.columns if name in motors)),
            ("comments", "; ".join(dict.fromkeys(filter(None, [*comments, *self.comments])))),
        ):
            if said != "":
                yield name, said
        yield from self._positions()

    def _positions(self) -> Iterator[Found]:
        """Yield where motors stood when scans began: a value, or the range where it is not the same in all."""
        for motor, (low, high) in islice(self.motors.items(), MOST_MOTORS):
            name = f"motor/{motor}"[:190]
            yield from ((name, low),) if low == high else ((f"{name}/min", low), (f"{name}/max", high))
        if len(self.motors) > MOST_MOTORS:
            self.add_problem(f"of {len(self.motors)} motors only the first {MOST_MOTORS} are told")


def _scan(name: str, scan: Scan) -> Iterator[Found]:
    yield f"{name}/command", scan.command or "(none)"
    if scan.date:
        yield f"{name}/start_time", scan.date
    yield f"{name}/points", scan.points
    if scan.spectra:
        yield f"{name}/spectra", scan.spectra
    if scan.count is not None:
        yield f"{name}/count_time" if scan.units == "Seconds" else f"{name}/count", scan.count, scan.units[:60]
    if scan.aborted:
        yield f"{name}/aborted", True
