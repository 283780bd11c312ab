"""Where the time of files goes: for each step a histogram of bounded length, from the events' own times. Pure.

A file keeps when it was first said to be announced, stored and registered, and what was said with that: when it was
seen, how long its proof took. What it adds to the histograms follows from these alone, and is taken away again when
they change, so that order and repetition of events do not matter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, Self

from datauploader.contracts import Event, EventData, FileCatalogued, FileReady, FileStored
from datauploader.contracts.model import microseconds
from datauploader.contracts.rest.timing import Step, StepTiming, Timing

Times = tuple[int, int, int, int, int, int]
"""A bucket, three moments, two buckets; 0: unknown.

The bucket of the time from its last change until it was seen, or announced where nobody says when it was seen; when it
was announced, stored and registered; the bucket of the time from its being seen until it was announced, and the finer
one of its proof. A moment is in hundredths of a second, of which the last 32 bits are kept: steps of up to 248 days are
told.
"""
NEVER: Times = (0, 0, 0, 0, 0, 0)
STEPS: tuple[Step, ...] = ("announced", "stored", "registered", "shown", "seen", "moved", "verified")
"""By the numbers that Redis has for them."""
ANNOUNCED, STORED, REGISTERED, SHOWN, SEEN, MOVED, VERIFIED = range(7)
_BEFORE_MOVING = (SEEN, ANNOUNCED)
_IN_ORDER = (*_BEFORE_MOVING, MOVED, VERIFIED, STORED, REGISTERED, SHOWN)
_STAGES: Mapping[type[EventData], int] = {FileReady: 1, FileStored: 2, FileCatalogued: 3}
_WRAP, _HALF = 2**32, 2**31
_BEFORE, _LEAST = 1, 2
"""Buckets of a step that ended before it began, and of one that took less than a hundredth of a second."""
_EACH = 4
"""Buckets within which a time doubles: what is told is at most a quarter too long."""
_FINE = 8
"""Those of a proof, because what is left of the time until then is told as well."""
_HUNDREDTH_S, _HUNDREDTH_MS, _HUNDREDTH_US, _HUNDREDTH_NS = 0.01, 10, 10_000, 10_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What an event tells of the times of its files."""

    stage: int
    """Which of the moments."""
    hundredths: int
    """Hundredths of a second since 1970-01-01 UTC."""
    moment: int
    """The same as a file keeps it, never 0."""
    seen_ms: Sequence[int] = ()
    """How long before that each of the files was seen, where it is said."""
    proof: int = 0
    """The fine bucket of the time that their proof took, 0 where it is not said."""

    @classmethod
    def of(cls, event: Event[EventData]) -> Self | None:
        """Read it from an event; None where it tells none."""
        data = event.data
        stage, hundredths = _STAGES.get(type(data)), microseconds(event.time) // _HUNDREDTH_US
        if stage is None:
            return None
        seen_ms: Sequence[int] = ()
        proof = 0
        if isinstance(data, FileReady) and data.seen_ms and len(data.seen_ms) == len(data.files):
            seen_ms = data.seen_ms
        if isinstance(data, FileStored) and data.proof_ms is not None:
            proof = bucket(data.proof_ms // _HUNDREDTH_MS, _FINE)
        return cls(stage, hundredths, hundredths % _WRAP or 1, seen_ms, proof)

    def adding(self, known: Times, told: tuple[int, int]) -> Times:
        """Return the times of a file, of which this is told, with this one; of two of a stage the earlier one stays.

        Of two that were said at the same moment the one that says more stays.
        """
        when, had = self.moment, known[self.stage]
        if had and _between(when, had) < 0:
            return known
        rested, announced, stored, registered, held, proof = known
        if self.stage == ANNOUNCED + 1:
            held, rested = max(told, (held, rested)) if had == when else told
            return rested, when, stored, registered, held, proof
        if self.stage == STORED + 1:
            return rested, announced, when, registered, held, max(self.proof, proof) if had == when else self.proof
        return rested, announced, stored, when, held, proof

    def told(self, mtime_ns: int, number: int) -> tuple[int, int]:
        """Return what is told of the `number`th file alone, where it is announced.

        That is the buckets of the times from its being seen until now, and from its last change until that.
        """
        if self.stage != ANNOUNCED + 1:
            return 0, 0
        changed = mtime_ns // _HUNDREDTH_NS
        if not self.seen_ms:
            return 0, bucket(self.hundredths - changed)
        held = self.seen_ms[number] // _HUNDREDTH_MS
        return bucket(held), bucket(self.hundredths - held - changed)


def steps(times: Times) -> Iterable[tuple[int, int]]:
    """Yield each step that is known of a file, with its bucket."""
    rested, announced, stored, registered, held, proof = times
    if rested:
        yield SEEN if held else ANNOUNCED, rested
    if held:
        yield ANNOUNCED, held
    if announced and stored:
        both = _between(announced, stored)
        yield (MOVED, bucket(max(0, both - _middle(proof)) if both > 0 else both)) if proof else (STORED, bucket(both))
    if proof:
        yield VERIFIED, bucket(_middle(proof))
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


@lru_cache(maxsize=4096)
def bucket(hundredths: int, each: int = _EACH) -> int:
    """Return the number of the bucket for a time, of so many within which a time doubles; it fits into a byte."""
    if hundredths <= 0:
        return _LEAST if hundredths == 0 else _BEFORE
    hundredths = min(hundredths, _HALF - 1)
    octave = hundredths.bit_length() - 1
    return _LEAST + 1 + each * octave + (hundredths * each >> octave) - each


def summarise(histogram: Mapping[tuple[int, int], int], mode: Literal["sync", "batch"]) -> Timing:
    """Tell the histograms, by step and bucket.

    In a batch the files lie there before it is asked for: how long is no step of it.
    """
    told = [step for step in _IN_ORDER if mode == "sync" or step not in _BEFORE_MOVING]
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


def _middle(number: int) -> int:
    """Return the middle of a fine bucket, in hundredths of a second."""
    octave, part = divmod(max(0, number - _LEAST - 1), _FINE)
    return (2 * (_FINE + part) + 1 << octave) // (2 * _FINE) if number > _LEAST else 0


def _between(begin: int, end: int) -> int:
    return (end - begin + _HALF) % _WRAP - _HALF
