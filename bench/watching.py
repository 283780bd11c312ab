"""A turn of somebody who watches a folder: files are written there, and the time of each at the goal is found.

The parties are in `watchers.py`. A file counts when it lies complete at the goal, ours when it is verified there.
All times are this machine's clock: of the writer after its close, of the goal by the time of the file's last change
(a file system stamps that itself, in steps of up to 4 ms, so nobody has to look often), of a verified file when
`file.stored` has come from the broker to a listener.
"""

import filecmp
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import name_of
from processor import processor_seconds

READY = "ready.bin"
"""The first file of each turn: nothing is timed before it has arrived."""
READY_S = 60.0
RESTED_S = 2.0
"""The files of a batch have rested for so long when it begins."""
LOOK_S = 0.01
SHARE = 20
"""Between two looks at what has arrived lie so many times the length of one: the looks take 5% of a processor."""


@dataclass(frozen=True)
class Watching:
    """A folder that is watched now."""

    goal: Path
    """Where its files are brought."""
    arrived: Callable[[str, int], float | None]
    """When a file of this name and size was verified, or complete at the goal where nobody verifies; None: not yet."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else there is to say afterwards."""


@dataclass(frozen=True)
class Watcher:
    """One of those that are compared."""

    name: str
    version: str
    settings: str
    watch: Callable[[Path], AbstractContextManager[Watching]]
    """Watch a folder."""
    batch: bool = False
    """The files are there before it begins."""
    idle_s: float = 45.0
    """Its turn is over when nothing has arrived for so long: three times the longest delay of a party."""


@dataclass(frozen=True)
class Writing:
    """What is written in a turn."""

    files: int
    size: int
    every_s: float = 0.0
    """Seconds from one file to the next; 0: as fast as it goes."""
    within_s: float = float("inf")
    """Nothing is written after so many seconds."""


@dataclass(frozen=True)
class LiveTurn:
    """What came of one turn; all times are seconds since 1970."""

    began: float
    """When the first file was closed; of a batch, when it was asked for."""
    closed: Mapping[str, float]
    arrived: Mapping[str, float]
    there: Mapping[str, float]
    """When each file was complete at the goal: the same, where nobody verifies."""
    processor: Mapping[str, float]
    notes: Mapping[str, Any]

    @property
    def lost(self) -> int:
        """How many files did not arrive."""
        return len(self.closed) - len(self.arrived)


def take_turn(watcher: Watcher, source: Path, writing: Writing, writer: Executor, patience_s: float) -> LiveTurn:
    """Have one party bring what is written; compare what has arrived with what was written, byte for byte.

    A party that has not brought everything after `patience_s` seconds is ended, and what has arrived until then counts.
    """
    source.mkdir(parents=True)
    writes = writer.submit(write, str(source), writing) if watcher.batch else None
    closed = dict(writes.result()) if writes else {}
    time.sleep(RESTED_S if writes else 0.0)
    before, began = processor_seconds(), time.time()
    arrived: dict[str, float] = {}
    with watcher.watch(source) as watching:
        if writes is None:
            (source / READY).write_bytes(b"ready")
            await_ready(watcher, watching)
            writes = writer.submit(write, str(source), writing)
        pending = dict.fromkeys(closed or map(name_of, range(writing.files)))
        begun = latest = time.monotonic()
        while pending and time.monotonic() - begun < patience_s:
            if writes.done() and not closed:
                closed = dict(writes.result())
                pending = {name: None for name in pending if name in closed}
            looked = time.monotonic()
            found = {name: at for name in pending if (at := watching.arrived(name, writing.size)) is not None}
            if found:
                arrived |= found
                pending = {name: None for name in pending if name not in found}
                latest = time.monotonic()
            elif writes.done() and looked - latest > watcher.idle_s:
                break
            time.sleep(max(LOOK_S, SHARE * (time.monotonic() - looked)))
        closed = dict(writes.result())
    used = {name: seconds - before[name] for name, seconds in processor_seconds().items()}
    for name in arrived:
        if not filecmp.cmp(source / name, watching.goal / name, shallow=False):
            raise SystemExit(f"{watching.goal / name} does not hold what {watcher.name} should have brought there")
    there = {name: complete(watching.goal, name, writing.size) or 0.0 for name in arrived}
    began = began if watcher.batch else min(closed.values())
    return LiveTurn(began, closed, arrived, there, used, watching.notes)


def await_ready(watcher: Watcher, watching: Watching) -> None:
    """Wait until the first file has arrived."""
    end = time.monotonic() + READY_S
    while watching.arrived(READY, len(b"ready")) is None:
        if time.monotonic() > end:
            raise SystemExit(f"{watcher.name} has not brought its first file within {READY_S:.0f} s")
        time.sleep(LOOK_S)


def complete(goal: Path, name: str, size: int) -> float | None:
    """Say when a file of this size came to lie at the goal; None: it does not."""
    try:
        seen = os.stat(goal / name)  # noqa: PTH116 - a path object's own takes twice as long
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen.st_ctime_ns / 1e9 if seen.st_size == size else None


def write(folder: str, writing: Writing) -> list[tuple[str, float]]:
    """Write the files, and say of each when it was closed."""
    closed: list[tuple[str, float]] = []
    began, last = time.monotonic(), ""
    for number in range(writing.files):
        time.sleep(max(0.0, began + number * writing.every_s - time.monotonic()) if writing.every_s else 0.0)
        if time.monotonic() - began > writing.within_s:
            break
        name = name_of(number)
        parent = f"{folder}/{name.rpartition('/')[0]}"
        if parent != last:
            os.makedirs(last := parent, exist_ok=True)  # noqa: PTH103 - a burst is to be fast
        with open(f"{folder}/{name}", "wb", buffering=0) as file:  # noqa: PTH123 - likewise
            file.write(os.urandom(writing.size))
        closed.append((name, time.time()))
    return closed


@contextmanager
def writer_process() -> Iterator[Executor]:
    """Start the process that writes, so that what measures does not keep it waiting."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as writer:
        writer.submit(time.time).result()
        yield writer


def spread(values: Sequence[float]) -> dict[str, float]:
    """Put the percentiles of durations into one object."""
    ranks = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [*values] * 99
    named = {"p50_s": ranks[49], "p99_s": ranks[98], "least_s": min(values), "greatest_s": max(values)}
    return {name: round(value, 3) for name, value in named.items()}


def processor_median(turns: Sequence[LiveTurn]) -> dict[str, float]:
    """Return the median of the processor seconds of each process."""
    names = sorted({name for turn in turns for name in turn.processor})
    return {name: round(statistics.median(turn.processor.get(name, 0) for turn in turns), 2) for name in names}


def busy(processor: Mapping[str, float]) -> str:
    """Write which processes have used the processor."""
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in processor.items() if seconds > 0.1)
