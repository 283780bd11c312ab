"""Where the time of files goes: for each step a histogram of bounded length, from the events' own times. Pure.

A file keeps when it was first said to be announced, stored and registered. What it adds to the histograms follows from
these alone, and is taken away again when they change, so that order and repetition of events do not matter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from datauploader.contracts import Event, EventData, FileCatalogued, FileReady, FileStored
from datauploader.contracts.model import microseconds
from datauploader.contracts.rest.timing import Step, StepTiming, Timing

Times = tuple[int, int, int, int]
"""The bucket of the time until it was announced, and the moments when it was announced, stored, registered; 0: unknown.

A moment is in hundredths of a second, of which the last 32 bits are kept: steps of up to 248 days are told.
"""
NEVER: Times = (0, 0, 0, 0)
STEPS: tuple[Step, ...] = ("announced", "stored", "registered", "shown")
ANNOUNCED, STORED, REGISTERED, SHOWN = range(4)
_STAGES: Mapping[type[EventData], int] = {FileReady: 1, FileStored: 2, FileCatalogued: 3}
_WRAP, _HALF = 2**32, 2**31
_BEFORE, _LEAST = 1, 2
"""Buckets of a step that ended before it began, and of one that took less than a hundredth of a second."""
_EACH = 4
"""Buckets within which a time doubles: what is told is at most a quarter too long."""
_HUNDREDTH_S, _HUNDREDTH_US, _HUNDREDTH_NS = 0.01, 10_000, 10_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What an event tells of the times of its files."""

    stage: int
    """Which of the moments."""
    hundredths: int
    """Hundredths of a second since 1970-01-01 UTC."""
    moment: int
    """The same as a file keeps it, never 0."""

    @classmethod
    def of(cls, event: Event[EventData]) -> Self | None:
        """Read it from an event; None where it tells none."""
        stage, hundredths = _STAGES.get(type(event.data)), microseconds(event.time) // _HUNDREDTH_US
        return cls(stage, hundredths, hundredths % _WRAP or 1) if stage else None

    def adding(self, known: Times, mtime_ns: int) -> Times:
        """Return the times of a file with this one; of two of the same stage the earlier one stays."""
        when, had = self.moment, known[self.stage]
        if had and _between(when, had) <= 0:
            return known
        rested, announced, stored, registered = known
        if self.stage == ANNOUNCED + 1:
            return bucket(self.hundredths - mtime_ns // _HUNDREDTH_NS), when, stored, registered
        return (rested, announced, when, registered) if self.stage == STORED + 1 else (rested, announced, stored, when)


def steps(times: Times) -> Iterable[tuple[int, int]]:
    """Yield each step that is known of a file, with its bucket."""
    rested, announced, stored, registered = times
    if rested:
        yield ANNOUNCED, rested
    if announced and stored:
        yield STORED, bucket(_between(announced, stored))
    if stored and registered:
        yield REGISTERED, bucket(_between(stored, registered))


def steps_between(retimed: Mapping[tuple[Times, Times], int]) -> Counter[tuple[int, int]]:
    """Count what is to be added to the histograms where so many files had those times and now have these."""
    counts: Counter[tuple[int, int]] = Counter()
    for (then, now), files in retimed.items():
        for step in steps(then):
            counts[step] -= files
        for step in steps(now):
            counts[step] += files
    return counts


def until_shown(registered: datetime, now: datetime) -> tuple[int, int]:
    """Return the last step and its bucket: it is known to whoever shows it, and in no event."""
    return SHOWN, bucket(microseconds(now) // _HUNDREDTH_US - microseconds(registered) // _HUNDREDTH_US)


def bucket(hundredths: int) -> int:
    """Return the number of the bucket for a time; it fits into a byte."""
    if hundredths <= 0:
        return _LEAST if hundredths == 0 else _BEFORE
    hundredths = min(hundredths, _HALF - 1)
    octave = hundredths.bit_length() - 1
    return _LEAST + 1 + _EACH * octave + (hundredths * _EACH >> octave) - _EACH


def summarise(histogram: Mapping[tuple[int, int], int], mode: Literal["sync", "batch"]) -> Timing:
    """Tell the histograms, by step and bucket.

    In a batch the files lie there before it is asked for: how long is no step of it.
    """
    told = range(STORED if mode == "batch" else ANNOUNCED, len(STEPS))
    counted = {step: {b: n for (s, b), n in sorted(histogram.items()) if s == step and n > 0} for step in told}
    return Timing(steps=[_summary(STEPS[step], counts) for step, counts in counted.items() if counts])


def _summary(step: Step, counts: Mapping[int, int]) -> StepTiming:
    files = sum(counts.values())
    return StepTiming(
        step=step,
        files=files,
        p50_s=_within(counts, files * 0.5),
        p95_s=_within(counts, files * 0.95),
        max_s=_within(counts, files),
        before=counts.get(_BEFORE, 0),
    )


def _within(counts: Mapping[int, int], files: float) -> float:
    """Return the upper bound of the bucket in which so many files are reached, in seconds."""
    for number, count in counts.items():
        files -= count
        if files <= 0:
            return upper_s(number)
    return 0.0


def upper_s(number: int) -> float:
    """Return the longest time of a bucket, in seconds."""
    if number <= _LEAST:
        return _HUNDREDTH_S if number == _LEAST else 0.0
    octave, part = divmod(number - _LEAST - 1, _EACH)
    return round((_EACH + part + 1) * (1 << octave) / _EACH * _HUNDREDTH_S, 4)


def _between(begin: int, end: int) -> int:
    return (end - begin + _HALF) % _WRAP - _HALF
