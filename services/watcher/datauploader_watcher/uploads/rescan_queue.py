"""The rescan queue of an upload: folders where something happened, and where it may have been missed."""

import heapq
from dataclasses import dataclass

from datauploader_watcher.clock import Clock
from datauploader_watcher.discovery.scanner import Start
from datauploader_watcher.domain.versions import split

LOOK_AGAIN_S = (1.0, 5.0)
"""A new folder is looked at again after so long: files may have come between the look and the watch on it."""
YOUNG_S = 60.0
"""A folder that is younger is looked at again whenever something new was seen in it."""
LONG_AGO = float("-inf")
FILE_CLOCK_NS = 10_000_000_000
"""By so much the times that the disk gives to folders may differ from the clock's."""


@dataclass(frozen=True, slots=True)
class ScanInterval:
    """The interval between full scans."""

    watched_s: float
    polled_s: float


class RescanQueue:
    """A queue of folders to be scanned again: those that belong to an upload, and what is marked in them."""

    def __init__(self, sources: tuple[Start, ...], clock: Clock) -> None:
        """Begin with the sources themselves."""
        self._sources, self._clock = sources, clock
        self._seen: dict[bytes, float] = dict.fromkeys((folder for folder, _ in sources), LONG_AGO)
        self._marked: dict[bytes, set[bytes] | None] = {}
        self._later: list[tuple[float, bytes]] = []
        self._waiting: set[bytes] = set()
        self.watched = False
        """Events come; until then the next scan of everything sees what appears in new folders."""
        self.watched_since_ns = 0
        """When the watches were begun, 0 before that: what was there then is watched before it is looked at."""

    def __bool__(self) -> bool:
        return bool(self._marked)

    def __contains__(self, folder: object) -> bool:
        return folder in self._seen

    @property
    def folders(self) -> int:
        """How many folders belong to the upload."""
        return len(self._seen)

    @property
    def next_due(self) -> float | None:
        """When a young folder is to be looked at again."""
        return self._later[0][0] if self._later else None

    def mark(self, path: bytes, *, folder: bool) -> bool:
        """Have a path looked at; False when it does not belong to the upload."""
        if not any(covers(source, path) for source in self._sources):
            return False
        directory, name = split(path)
        while directory and directory not in self._seen:  # the topmost folder that is new, or was left out
            folder, (directory, name) = True, split(directory)
        names = self._marked.setdefault(directory, set())
        if names is not None:
            names.add(name)
        if folder and path in self._seen:
            self._marked[path] = None
        return True

    def enter(self, folder: bytes, *, known: bool, changed_ns: int = 0) -> None:
        """Take in a folder: a new one, or one that is known from a former run.

        One that was changed last before the watches began, in a folder that is not new, was there already: a folder
        that is made or given another name has changed.
        """
        watched_before = 0 < changed_ns < self.watched_since_ns - FILE_CLOCK_NS
        new = not known and not (watched_before and self._seen.get(split(folder)[0]) == LONG_AGO)
        self._seen[folder] = self._clock.monotonic() if self.watched and new else LONG_AGO
        self.again(folder)
        self.again(split(folder)[0])

    def again(self, folder: bytes) -> None:
        """Have a young folder looked at again in a while."""
        since = self._seen.get(folder, LONG_AGO)
        if since == LONG_AGO or folder in self._waiting:
            return
        now = self._clock.monotonic()
        if now - since > YOUNG_S:
            return
        self._waiting.add(folder)
        for wait in LOOK_AGAIN_S:
            heapq.heappush(self._later, (now + wait, folder))

    def ripen(self, now: float) -> None:
        """Mark the young folders whose time has come."""
        while self._later and self._later[0][0] <= now:
            folder = heapq.heappop(self._later)[1]
            self._waiting.discard(folder)
            self._marked[folder] = None

    def drain_due(self) -> list[Start]:
        """Return what is to be looked at, and begin anew."""
        sources = dict(self._sources)
        due: list[Start] = []
        for folder, marked in self._marked.items():
            names = None if marked is None else frozenset(marked)
            wanted = sources.get(folder)
            whole = any(source[1] is None and covers(source, folder) for source in self._sources)
            if wanted is not None and not whole:  # only the names that were asked for
                names = wanted if names is None else names & wanted
            due.append((folder, names))
        self._marked.clear()
        return due

    def drop(self) -> None:
        """Forget what is marked; a scan of everything will see it."""
        self._marked.clear()

    def rest(self) -> None:
        """Look at nothing again by itself."""
        self.drop()
        self._later.clear()
        self._waiting.clear()


def covers(source: Start, path: bytes) -> bool:
    """Tell whether a path is a source, or lies in one."""
    folder, names = source
    if folder and path != folder and not path.startswith(folder + b"/"):
        return False
    if names is None:
        return True
    below = path[len(folder) + 1 :] if folder else path
    return below.split(b"/", 1)[0] in names
