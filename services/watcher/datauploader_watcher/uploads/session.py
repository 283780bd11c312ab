"""The upload session: what is unfinished of one open upload, what is to be looked at, and when all was seen."""

import os
from collections import deque
from functools import partial

from datauploader.reliability import Store
from datauploader_watcher.adapters.disk import BARRED, RootDisk
from datauploader_watcher.clock import Clock
from datauploader_watcher.discovery.findings import Entered, Finding, Found, Omitted, Readable, RootGone, Vanished, fold
from datauploader_watcher.discovery.scanner import Scanner, Start
from datauploader_watcher.domain.selection import PendingOmission, Selection
from datauploader_watcher.domain.stability import QuietPeriod, StabilityTracker
from datauploader_watcher.domain.versions import split
from datauploader_watcher.errors import RootLost
from datauploader_watcher.ledger.choices import RestlessChoice
from datauploader_watcher.ledger.uploads import UploadRow
from datauploader_watcher.uploads.earlier import EarlierFiles
from datauploader_watcher.uploads.rescan_queue import RescanQueue, ScanInterval
from datauploader_watcher.uploads.waiting import ClosingState, DatasetApproval

COUNT_S = 1.0
"""The counts of an upload are said at most once in so many seconds."""
GONE_S = 10.0
"""For so long a root whose name is gone is waited for after its upload was closed: somebody may rename it back."""
SCAN_SHARE = 10
"""A timer's scan comes at the earliest after so many times its own length."""
WATCHED_WITHIN_S = 5.0
"""For so long the first scan waits until all folders are watched, for which they are walked through as well."""


class UploadSession:
    """The session of one open upload: what the loop holds in memory; a scan finds everything in it again."""

    _gone_since: float | None = None
    """Since when the root's name is not there any more (monotonic)."""
    _full_missed = False
    """Something has changed while a scan of everything ran, perhaps without an event."""

    def __init__(
        self,
        upload: UploadRow,
        disk: RootDisk,
        selection: Selection,
        store: Store,
        clock: Clock,
        *,
        quiet: QuietPeriod,
        interval: ScanInterval,
        sources: tuple[Start, ...],
        barred: bool = False,
        earlier: EarlierFiles | None = None,
        patience_s: float = 0.0,
        md5: bool = True,
    ) -> None:
        """Begin, with everything still to be scanned; nothing, where the root is barred.

        For so long it waits for the catalogue before anything is announced.
        """
        self.upload, self.disk, self.selection, self.md5 = upload, disk, selection, md5
        self.stability = StabilityTracker(quiet, hasty=bool(upload.closing))
        self._earlier, self.sources = earlier, sources
        self.omissions: dict[bytes, PendingOmission] = {}
        self.returned: dict[bytes, str] = {}
        """Records to take back, with the reason that they carried."""
        self.barred = self.given_up = barred
        """The root may not be read any more; nothing more is to be found: what is not on its way is left out."""
        self.lost = BARRED if barred else ""
        """The sentence while the root is away."""
        self.question = ""
        """What a person was asked, because there is no file to seal."""
        self.unheard, self._unheard_at = "", 0.0
        """The sentence while nobody answers what was announced, and since when (seconds since 1970)."""
        self._polled = ""
        """Why events cannot be relied on, "" where they can."""
        self._versions_wait = True
        """There may be versions to announce in the ledger."""
        self.marked = False
        """The marker file was seen."""
        self.looked = False
        """A scan of everything has ended since the start."""
        self.scanned_all = False
        """A scan that began after the upload was closed (or opened, in batch mode) has seen everything."""
        self._approval = DatasetApproval(clock.monotonic(), patience_s, asked_at=clock.monotonic())
        self._uncounted = True
        """Something has changed since the counts were said."""
        self.changed_at, self._counted_at, self.entries = clock.monotonic(), clock.monotonic() - COUNT_S, 0
        self.rescans = RescanQueue(sources, clock)
        self._closed: set[bytes] = set()
        """Files that were closed since the last look at them."""
        self._touched: set[bytes] = set()
        """Files that somebody has written to: they are read again, whatever a look at them says."""
        self.closing = ClosingState(clock.monotonic())
        self._store, self._clock, self._interval, self._quiet = store, clock, interval, quiet
        self._scans: deque[Scanner] = deque()
        self._full: Scanner | None = None
        self._full_counts = self._again = False
        self._full_began = 0.0
        self._full_due: float | None = clock.monotonic()

    def _take_finding(self, now: float, calm_ns: int, finding: Finding) -> None:
        """Take over what a scan has found; whoever wrote a file before `calm_ns` seems to be done."""
        match finding:
            case Found():
                self._take_found(finding, now, calm_ns)
            case Omitted():
                path, omission, row, is_folder = finding
                self.marked = self.marked or (not is_folder and self.selection.marks(path))
                if path not in self.omissions and (row is None or row[5] != omission.reason):
                    self.stability.drop(path)
                    self._touched.discard(path)
                    self.omissions[path] = PendingOmission(omission, now + max(self._quiet.open_s, 1.0), is_folder)
            case Entered(folder, known, changed_ns):
                self.rescans.enter(folder, known=known, changed_ns=changed_ns)
            case Vanished(path):
                self.returned[path] = "gone"
            case Readable(folder):
                self.omissions.pop(folder, None)
                self.returned[folder] = "unreadable"
            case RootGone(problem):
                self.lost = problem

    def _take_found(self, found: Found, now: float, calm_ns: int) -> None:
        path, seen, row = found
        choice = self.closing.choices.get(path)
        if choice is not None and (choice.done or not choice.take):
            self._touched.discard(path)
            return
        left_out = row is not None and row[4] == "left-out"
        changed = self.stability.observe_file(
            path, seen, now, fresh=row is None or left_out, calm=seen.mtime_ns < calm_ns
        )  # fmt: skip
        if changed and not left_out:  # what is only tried again is no news
            self.changed_at = now
            self._uncounted = True
            self._full_missed = True
            self.rescans.again(split(path)[0])
        self._touched.discard(path)
        if choice is not None:
            self.stability.read_at_once(path, now)
        if path in self._closed:
            self._closed.discard(path)
            self.stability.closed(path, now)
        self.omissions.pop(path, None)
        if row is not None and left_out:
            self.returned[path] = row[5] or "excluded"
        if not self.marked and self.selection.marks(path):
            self.marked = True

    def lose_root(self, sentence: str) -> None:
        """Stop looking until the root is back; nothing is concluded."""
        self.lost = sentence
        self._stop_scans()
        self._full_due = self._clock.monotonic() + 1.0

    def mark_path(self, path: bytes, *, folder: bool, closed: bool = False) -> None:
        """Have a path looked at soon, because something says that it has changed."""
        if not self.rescans.mark(path, folder=folder) or folder:
            return
        if closed:  # the look that follows may be the first one, or find it changed since the last one
            self._closed.add(path)
        else:
            self._closed.discard(path)
        if not self.stability.mark_written(path):
            self._touched.add(path)
        elif closed:
            self.stability.closed(path, self._clock.monotonic())

    def take_choices(self, choices: dict[bytes, RestlessChoice]) -> None:
        """Take over what was chosen for files that go on changing."""
        self.closing.choices = choices
        self.closing.taken.update(path for path, choice in choices.items() if choice.done)
        for path, choice in choices.items():
            if choice.take and not choice.done:
                self.stability.read_at_once(path, self._clock.monotonic())

    def rescan_all(self) -> None:
        """Scan everything from the beginning, because something may have been missed."""
        self._stop_scans()
        self.scanned_all = False
        self._full_due = self._clock.monotonic()

    def hasten_scan(self) -> None:
        """Scan everything once more, soon."""
        self._again = self._full is not None
        self._full_due = self._clock.monotonic()

    def poll_folders(self, reason: str) -> None:
        """Scan often, for this reason; "" where events can be relied on."""
        self._polled = reason

    def await_watches(self) -> None:
        """Begin the first scan when the folders are watched; one that began before would have to be repeated."""
        self._full_due = self._clock.monotonic() + WATCHED_WITHIN_S
        self.rescans.watched_since_ns = self._clock.now_ns()

    def note_watched(self, problem: str) -> None:
        """Take note that a folder is watched now, or why it cannot be."""
        self._polled = f"its folders cannot be watched ({problem})" if problem else ""
        self.rescans.watched = not problem
        self.hasten_scan()

    def note_unwatched(self) -> None:
        """Take note that some folders have no watch."""
        if not self._polled:
            self._polled = "not all folders can be watched"
            self.hasten_scan()

    def begin_closing(self) -> None:
        """See once more all that there is, because the upload was closed."""
        self.closing.since = self._clock.monotonic()
        self.stability.hasten(self.closing.since)
        self.rescan_all()

    def count_again(self) -> None:
        """Have the counts said again."""
        self._uncounted = True

    def note_counted(self) -> None:
        """Take note that the counts are said now."""
        self._uncounted, self._counted_at = False, self._clock.monotonic()

    @property
    def count_due(self) -> float | None:
        """When the counts are to be said again, None while nothing has changed."""
        return self._counted_at + COUNT_S if self._uncounted else None

    def forget_unrecorded(self) -> None:
        """Forget everything that is not in the ledger, and find it again."""
        self._touched.update(self.stability.known())  # a look at them may say nothing
        self.stability.clear()
        self.omissions.clear()
        self.returned.clear()
        if self.upload.state == "open":
            self.rescan_all()

    def has_omissions(self, now: float) -> bool:
        """Tell whether something is to be put on the record as left out, or taken back."""
        if any(path not in self.stability for path in self.returned):
            return True
        return bool(self.omissions) and next(iter(self.omissions.values())).due <= now

    def stop_scanning(self) -> None:
        """Look at nothing more by itself: the upload is sealed, or over."""
        self._stop_scans()
        self.rescans.rest()
        self._full_due = None

    def give_up_root(self) -> bool:
        """Give a root up that was renamed or removed, once a person has closed the upload; True when that was now."""
        if self.given_up or self.upload.closing != "asked" or self._gone_since is None:
            return False
        self.given_up = self._clock.monotonic() - max(self._gone_since, self.closing.since) >= GONE_S
        return self.given_up

    @property
    def at_rest(self) -> bool:
        """Nothing is unfinished, and nothing waits to be looked at."""
        if self.given_up:
            return True
        busy = self.rescans or self._scans or self._full or self.omissions or self.returned
        return not busy and not len(self.stability) and not self.lost

    @property
    def _held(self) -> bool:
        """Nothing is announced now, because the catalogue has not let the upload write its dataset."""
        until = self._approval.announces_at(self.upload)
        return until is None or until > self._clock.monotonic()

    def ask_approval_again(self, patience_s: float) -> bool:
        """Tell whether the catalog is to be asked once more whether the upload may write its dataset."""
        return self._held and self._approval.ask_again(self._clock.monotonic(), patience_s)

    @property
    def may_announce(self) -> bool:
        """Nothing holds back what is ready."""
        return not (self._held or self.upload.paused or self.lost)

    @property
    def has_to_announce(self) -> bool:
        """There may be versions to announce, and nothing holds them back."""
        return self._versions_wait and self.may_announce

    @property
    def announcement_due(self) -> float | None:
        """When versions that wait may be announced, None where none do, or nobody knows when."""
        until = self._approval.announces_at(self.upload) if self._versions_wait else None
        now = self._clock.monotonic()
        return until if until is not None and until > now else now if self.has_to_announce else None

    def note_versions(self, *, waiting: bool) -> None:
        """Take note whether there may be versions to announce in the ledger."""
        self._versions_wait = waiting

    @property
    def unagreed(self) -> str:
        """The sentence for people while the upload waits for the catalogue's word."""
        return self._approval.waiting_sentence(self.upload, self._clock.monotonic())

    def note_silence(self, sentence: str, now: float) -> None:
        """Take note that nobody answers what was announced (seconds since 1970)."""
        self.unheard, self._unheard_at = sentence, now

    def note_receipt(self, heard_at: float) -> None:
        """Take note when the last receipt came (seconds since 1970): one that came later ends the silence."""
        if heard_at > self._unheard_at:
            self.unheard = ""

    @property
    def looking(self) -> bool:
        """There is something to look at now."""
        return not self.lost and not self.waiting and bool(self.rescans or self._scans or self._full)

    @property
    def waiting(self) -> bool:
        """The drive has not answered yet; whoever else can go on does."""
        scan = self._scans[0] if self._scans else self._full
        return scan is not None and scan.waiting

    @property
    def away(self) -> str:
        """The sentence for people while the root is lost, or does not answer."""
        if self.lost or not self.disk.silent:
            return self.lost
        return f"{os.fsdecode(self.disk.root)} has not answered for a while; check the network and this drive's server"

    @property
    def next_look(self) -> float | None:
        """When there is something to look at, or to put on the record, without any news."""
        times = [self._full_due, self.rescans.next_due]
        if self.omissions and not self.lost:  # all wait equally long, so the first one is due first
            times.append(next(iter(self.omissions.values())).due)
        return min((time for time in times if time is not None), default=None)

    def step(self) -> bool:
        """Look at some more entries; False when there is nothing to look at now."""
        now = self._clock.monotonic()
        if not self.lost:
            self.rescans.ripen(now)
            if self.rescans and not self._scans:
                self._scans.append(self._scan(self.rescans.drain_due(), deep=False))
        if self._scans:
            return self._advance(self._scans[0])
        if self._full is None and self._full_due is not None and now >= self._full_due:
            try:
                self.disk.verify_root()
            except RootLost as problem:
                self.lose_root(str(problem))
                self._gone_since = (self._gone_since or now) if problem.gone else None
                return False
            self.lost, self._gone_since = "", None
            self._full_counts = bool(self.upload.closing)
            self._full_began = now
            self._full_missed = False
            self._full = self._scan(list(self.sources), deep=True)
        return self._full is not None and self._advance(self._full)

    def _scan(self, starts: list[Start], *, deep: bool) -> Scanner:
        return Scanner(
            self.disk, self._store, self.upload.number, self.selection, starts, deep=deep, entered=self.rescans,
            pending=self.stability.unfinished, again=self._touched, earlier=self._earlier,
        )  # fmt: skip

    def _advance(self, scan: Scanner) -> bool:
        before = scan.entries
        findings = next(scan, None)
        self.entries += scan.entries - before
        if findings:  # all of them were looked at before this moment
            calm_ns = self._clock.now_ns() - int(self._quiet.open_s * 1e9)
            fold(findings, partial(self._take_finding, self._clock.monotonic(), calm_ns))
        if self.lost:
            self.lose_root(self.lost)
        elif findings is None and scan is self._full:
            now = self._clock.monotonic()
            self._closed.clear()
            self._touched.clear()  # what is left belongs to names that are not there any more
            self._full = None
            self._uncounted = self._uncounted or not self.looked
            self.looked = True
            self.scanned_all = self.scanned_all or self._full_counts
            often = self._polled or self._full_missed  # who has missed something may miss more
            interval = self._interval.polled_s if often else self._interval.watched_s
            wait = 0.0 if self._again else max(interval, SCAN_SHARE * (now - self._full_began))
            self._full_due, self._again = now + wait, False
        elif findings is None:
            self._scans.popleft()
        return not scan.waiting

    def _stop_scans(self) -> None:
        for scan in (*self._scans, *([self._full] if self._full else [])):
            scan.close()
        self._scans.clear()
        self._full = None
        self.rescans.drop()
