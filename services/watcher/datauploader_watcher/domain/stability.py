"""When a file counts as finished: two equal looks a quiet period apart, by a clock that nobody can set."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from datauploader.reliability.backoff import Backoff
from datauploader_watcher.domain.versions import Digests, Stamp

LONGEST_RETRY_S = 300.0
LONGEST_REST_S = 300.0
REMEMBERED_S = 1800.0
"""For so long the rest of a file that got a newer version stays longer."""
TRIES_BEFORE_RECORD = 5
"""Failures to read in a row before a file goes on the record as unreadable."""


@dataclass(frozen=True, slots=True)
class QuietPeriod:
    """The quiet period, for which a file must rest: `open_s` in general, `closed_s` once no writer has it open."""

    open_s: float
    closed_s: float

    @classmethod
    def of(cls, period_s: float, *, factor: float, least_s: float) -> "QuietPeriod":
        """Derive both from the period of an upload; a close never makes the wait longer."""
        return cls(period_s, min(period_s, max(least_s, period_s * factor)))


class Candidate(NamedTuple):
    """A file that is not finished yet; a tuple, because one is made for every new file of a scan."""

    stamp: Stamp
    due: float
    """When it is worth a look, on the monotonic clock."""
    rests_until: float
    """When it will have rested long enough to be finished."""
    fresh: bool
    """The ledger has no version of it."""
    failures: int = 0
    """Attempts to read it that failed in a row."""
    digests: Digests | None = None
    """Of a reading before the end of the rest; they count if the last look finds the file as it was."""
    writer: bool = False
    """A program had it open for writing when that reading began."""
    again: bool = False
    """Somebody has written to it since the reading began that goes on."""
    since: float = 0.0
    """When it was first seen unfinished, on the monotonic clock."""
    changed_at: float = 0.0
    """When it was first seen as it is now, on the monotonic clock."""
    changes: int = 0
    """How often it was found changed since."""
    as_is: bool = False
    """It is taken as it is when it is read next, whether it rests or not."""


class HashRequest(NamedTuple):
    """A request to hash a file: as it must still be, and what it was read as already."""

    path: bytes
    stamp: Stamp
    digests: Digests | None = None
    writer: bool = False
    """A program had it open for writing when it was read."""
    as_is: bool = False
    """It may be another one by now: what is read first counts."""


class StabilityTracker:
    """Tracks the stability of the unfinished files of one upload."""

    def __init__(self, quiet: QuietPeriod, *, hasty: bool = False) -> None:
        """Begin with none; `hasty` gives a file that gets version after version no longer rest than any other."""
        self._quiet, self._hasty = quiet, hasty
        self._versions: dict[bytes, tuple[int, float]] = {}
        """Newer versions that a file got of late, and until when (monotonic) that counts."""
        self._open: dict[bytes, Candidate] = {}
        self._reading: set[bytes] = set()
        self._finished: dict[bytes, Candidate] = {}
        """What was judged finished and is not in the ledger yet."""
        self._due: dict[float, list[bytes]] = {}
        """Which files are worth a look at a moment; those of one page of a scan have the same one."""
        self._moments: list[float] = []
        """These moments, as a heap."""

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, path: object) -> bool:
        return path in self._open

    @property
    def next_due(self) -> float | None:
        """When the next file is worth a second look."""
        return self._moments[0] if self._moments else None

    @property
    def reading(self) -> int:
        """How many files are being hashed."""
        return len(self._reading)

    @property
    def unfinished(self) -> Mapping[bytes, Candidate]:
        """All unfinished files as they are now, by path."""
        return self._open

    def candidates(self) -> Iterator[Candidate]:
        """Go through all unfinished files."""
        return iter(self._open.values())

    def known(self) -> list[bytes]:
        """Name those of which the ledger has a version."""
        return [path for path, one in self._open.items() if not one.fresh]

    def observe_file(
        self, path: bytes, stamp: Stamp, now: float, *, fresh: bool, at_once: bool = False, calm: bool = False
    ) -> bool:
        """Take note of a look; return whether it changed anything.

        Args:
            path: below the root.
            stamp: what the disk said.
            now: monotonic seconds.
            fresh: the ledger has no version of it.
            at_once: read it without waiting (somebody says that its bytes differ from what was announced).
            calm: it looks as if nobody writes, so it is read while it rests; a look at the end decides.
        """
        known = self._open.get(path)
        if known is not None and known.stamp == stamp:
            return False
        rests_until = now if at_once else now + self._rest(path, self._quiet.open_s, now)
        candidate = Candidate(stamp, now if calm else rests_until, rests_until, fresh, since=now, changed_at=now)
        self._put(path, _after(known, candidate))
        return True

    def mark_written(self, path: bytes) -> bool:
        """Take note that somebody has written: what was read of it so far does not count; False where it is not here.

        The stamps need not show it: whoever writes may put the time back, and a memory map may leave it as it is.
        """
        known = self._open.get(path)
        if known is not None:
            self._open[path] = known._replace(digests=None, again=path in self._reading)
        return known is not None

    def restless(self, since: float, seen_after: float) -> dict[bytes, float]:
        """Name what was unfinished at a moment already, and has changed until another one, each with since when."""
        return {
            path: one.since
            for path, one in sorted(self._open.items())
            if one.changes and one.since <= since and one.changed_at >= seen_after and not one.as_is
        }

    def read_at_once(self, path: bytes, now: float) -> None:
        """Have an unfinished file read at once and taken as it is then, because somebody has chosen so."""
        known = self._open.get(path)
        if known is not None and not known.as_is:
            self._put(path, known._replace(due=now, rests_until=now, digests=None, as_is=True))

    def closed(self, path: bytes, now: float) -> None:
        """Take note that the writer has closed the file: from now on a shorter quiet period is enough."""
        known = self._open.get(path)
        rests_until = now + self._rest(path, self._quiet.closed_s, now)
        if known is not None and rests_until < known.rests_until:
            self._put(path, known._replace(due=min(known.due, rests_until), rests_until=rests_until))

    def take_due(self, now: float, most: int) -> list[HashRequest]:
        """Return files that are worth a look; they count as being read until something is said of them."""
        due: list[HashRequest] = []
        while self._moments and (at := self._moments[0]) <= now and (room := most - len(due)) > 0:
            paths = self._due.pop(at)
            if len(paths) > room:
                self._due[at] = paths[room:]
            else:
                heapq.heappop(self._moments)
            for path in paths[:room]:
                known = self._open.get(path)
                if known is not None and known.due == at and path not in self._reading:
                    self._reading.add(path)
                    due.append(HashRequest(path, known.stamp, known.digests, known.writer, known.as_is))
        return due

    def finish(
        self, path: bytes, stamp: Stamp, digests: Digests, now: float, *, writer: bool = False, alone: bool = False,
        as_is: bool = False,
    ) -> Candidate | None:  # fmt: skip
        """Judge a look that found a file as it was: what is finished, or None where it has changed, or must rest on.

        Of a file that nobody had open for writing (`alone`) as much is known as of one whose writer has closed it, and
        it need not rest for longer.
        """
        self._reading.discard(path)
        known = self._open.get(path)
        if known is None:
            return None
        if as_is:
            self._finished[path] = self._open.pop(path)
            return known
        if known.stamp != stamp:
            self._put(path, known)
            return None
        if known.again:
            rests_until = now if known.as_is else now + self._rest(path, self._quiet.open_s, now)
            self._put(path, known._replace(due=rests_until, rests_until=rests_until, digests=None, again=False))
            return None
        rests_until = known.rests_until
        if alone and now < rests_until:
            rests_until = min(rests_until, known.changed_at + self._rest(path, self._quiet.closed_s, now))
        if now < rests_until:
            read = Candidate(
                known.stamp, rests_until, rests_until, known.fresh, known.failures, digests, writer, False,
                known.since, known.changed_at, known.changes, known.as_is,
            )  # fmt: skip
            self._put(path, read)  # `_replace` would take four times as long, and every file comes by here
            return None
        self._finished[path] = self._open.pop(path)
        if not known.fresh:
            count, until = self._versions.get(path, (0, 0.0))
            self._versions[path] = (count + 1 if now < until else 1, now + REMEMBERED_S)
        return known

    def recorded(self) -> None:
        """Take note that what was finished is in the ledger."""
        self._finished.clear()

    def unrecorded(self) -> None:
        """Take back that something was finished, because the ledger did not take it."""
        for path, candidate in self._finished.items():
            self._put(path, candidate)
        self._finished.clear()

    def changed(self, path: bytes, stamp: Stamp, now: float) -> None:
        """Take note that the second look differed from the first: the wait begins again."""
        self._reading.discard(path)
        known = self._open.get(path)
        if known is not None:
            rests_until = now + self._rest(path, self._quiet.open_s, now)
            candidate = Candidate(stamp, rests_until, rests_until, known.fresh, since=now, changed_at=now)
            self._put(path, _after(known, candidate))

    def failed(self, path: bytes, now: float) -> bool:
        """Take note that it could not be read; True when that has become worth a record."""
        self._reading.discard(path)
        known = self._open.get(path)
        if known is None:
            return False
        failures = known.failures + 1
        wait = Backoff(max(self._quiet.open_s, 1.0), LONGEST_RETRY_S).wait_s(failures)
        self._put(path, known._replace(due=now + wait, failures=failures, again=False))
        return failures == TRIES_BEFORE_RECORD

    def hasten(self, now: float) -> None:
        """Let every file rest no longer than the quiet period: the upload is closed, and last versions are wanted."""
        self._hasty = True
        for path, one in list(self._open.items()):
            rests_until = now + self._quiet.open_s
            if rests_until < one.rests_until:
                self._put(path, one._replace(due=min(one.due, rests_until), rests_until=rests_until))

    def _rest(self, path: bytes, period_s: float, now: float) -> float:
        """Return how long a file must rest: twice as long with each newer version that it got of late.

        A large file that grows by a line now and then would be read and sent whole each time.
        """
        count, until = self._versions.get(path, (0, 0.0))
        if self._hasty or now >= until:
            return period_s
        return Backoff(period_s, LONGEST_REST_S).wait_s(count + 1, at_least_s=period_s)

    def drop(self, path: bytes) -> None:
        """Forget a file: it is gone, or stays out."""
        self._versions.pop(path, None)
        self._reading.discard(path)
        self._open.pop(path, None)

    def clear(self) -> None:
        """Forget all files."""
        self._open.clear()
        self._reading.clear()
        self._finished.clear()
        self._due.clear()
        self._moments.clear()

    def _put(self, path: bytes, candidate: Candidate) -> None:
        self._open[path] = candidate
        if path in self._reading:
            return
        if (paths := self._due.get(candidate.due)) is not None:
            paths.append(path)
        else:
            self._due[candidate.due] = [path]
            heapq.heappush(self._moments, candidate.due)


def _after(known: Candidate | None, candidate: Candidate) -> Candidate:
    """Carry over since when a file is unfinished, how often it has changed, and that it is taken as it is."""
    if known is None:
        return candidate
    after = candidate._replace(since=known.since, changes=known.changes + 1)
    now = candidate.changed_at
    return after._replace(due=now, rests_until=now, as_is=True) if known.as_is else after
