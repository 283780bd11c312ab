"""From what was read and seen to the ledger: finished versions, omissions, records taken back."""

import sqlite3
import stat
from collections.abc import Iterable
from dataclasses import replace

import structlog

from datauploader.contracts.files import LeftOutFile
from datauploader.contracts.names import display
from datauploader_watcher.adapters.disk import Disk, look
from datauploader_watcher.adapters.hashing import Outcome
from datauploader_watcher.clock import Clock
from datauploader_watcher.domain.selection import Omission, unrecorded
from datauploader_watcher.domain.settling import Candidate
from datauploader_watcher.domain.versions import Fresh, Kept, judge, split
from datauploader_watcher.errors import Busy, FolderError, RootLost, Unreadable, Vanished
from datauploader_watcher.ledger.choices import Choice, Choices
from datauploader_watcher.ledger.files import Files, Row, new_row
from datauploader_watcher.ledger.held import Held
from datauploader_watcher.ledger.uploads import Uploads
from datauploader_watcher.publishing import left_out, say_left_out
from datauploader_watcher.scan import UNFOUND
from datauploader_watcher.work import Pending, Work

log = structlog.get_logger()

NEVER_HELD = "it was removed or renamed before it could be stored"
OLDER_HELD = "its newest version was removed or renamed before it could be stored; the version before it is stored"
NEITHER_HELD = (
    "its newest version was removed or renamed before it could be stored, and the version before it is no longer on"
    " the storage: neither of them is there"
)
BARRED_NEVER_HELD = "the administrator removed its folder from `roots` before it was stored"
BARRED_OLDER_HELD = f"{BARRED_NEVER_HELD}; the version before it is stored"
BARRED_AT_ONCE = 500
MOST_TAKEN = 3
"""How often a file is read that is to be taken as it is, and becomes something else before it is sent."""
TAKEN_BACK = {
    "gone": "it no longer exists",
    "unreadable": "it can be read now",
}


class Recorder:
    """Writes findings of one turn of the loop into the ledger, inside its transaction."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        """Begin a turn."""
        self._db, self._clock, self._now_ns = db, clock, clock.now_ns()
        self._folders: dict[tuple[int, bytes], int] = {}

    def outcomes(self, work: Work, outcomes: Iterable[Outcome]) -> list[Row]:
        """Take what came of reading files; return new versions, which are not in the ledger yet."""
        records: list[LeftOutFile] = []
        fresh: list[Row] = []
        work.stirred = True
        for outcome in outcomes:
            if outcome.problem is not None:
                self._problem(work, outcome.path, outcome.problem, records)
            elif outcome.changed is not None:
                work.settling.changed(outcome.path, outcome.changed, self._clock.monotonic())
            elif candidate := self._settled(work, outcome):
                self._finished(work, outcome, candidate, records, fresh)
        say_left_out(self._db, work.upload, records)
        if fresh and work.upload.state == "sealed":
            Uploads.reseal(self._db, work.upload.number)
        return fresh

    def omissions(self, work: Work) -> None:
        """Put what still stays out on the record, and take back what does not."""
        now = self._clock.monotonic()
        records: list[LeftOutFile] = []
        for path, pending in list(work.omissions.items()):
            if pending.due > now:
                break
            del work.omissions[path]
            self._still_out(work, path, pending, records)
        for path, reason in list(work.returned.items()):
            if path not in work.settling:  # of a file that is taken after all it is said when it is finished
                del work.returned[path]
                self._take_back(work, path, reason, records)
        say_left_out(self._db, work.upload, records)

    def _settled(self, work: Work, outcome: Outcome) -> Candidate | None:
        assert outcome.digests is not None
        now = self._clock.monotonic()
        return work.settling.finish(
            outcome.path, outcome.asked, outcome.digests, now, writer=outcome.writer, as_is=outcome.as_is
        )  # fmt: skip

    def _finished(
        self, work: Work, outcome: Outcome, candidate: Candidate, records: list[LeftOutFile], fresh: list[Row]
    ) -> None:
        assert outcome.digests is not None
        folder, name = self._place(work.upload.number, outcome.path)
        if reason := work.returned.pop(outcome.path, ""):
            self._take_back(work, outcome.path, reason, records)
        known = None if candidate.fresh else Files.find_in(self._db, folder, name)
        verdict = judge(known, outcome.asked, outcome.digests, self._now_ns)
        if isinstance(verdict, Kept):
            Files.restamp(self._db, folder, name, outcome.asked, writer=outcome.writer)
        elif isinstance(verdict, Fresh):
            row = new_row(
                folder, name, outcome.path, outcome.asked, outcome.digests, verdict.revision, as_is=outcome.as_is
            )  # fmt: skip
            fresh.append(replace(row, writer=outcome.writer))
        else:
            Files.ready_again(
                self._db, folder, name, outcome.asked, writer=outcome.writer, as_is=outcome.as_is
            )  # fmt: skip
            work.ready = True
        if outcome.as_is:
            self._done(work, outcome.path)

    def _problem(self, work: Work, path: bytes, problem: FolderError, records: list[LeftOutFile]) -> None:
        try:
            work.disk.check()
        except RootLost as lost:
            work.lost_root(str(lost))
            work.settling.failed(path, self._clock.monotonic())
            return
        if isinstance(problem, Vanished):
            work.settling.drop(path)
            self._gone(work, path, records)
        elif isinstance(problem, Unreadable) or work.settling.failed(path, self._clock.monotonic()):
            work.settling.drop(path)
            self._omit(work, path, Omission("unreadable", f"{problem}; it is retried at every scan"), records)
        elif isinstance(problem, Busy):
            log.info("file_is_busy", path=path.decode("utf-8", "replace"), problem=str(problem))

    def unrecorded(self, work: Work, path: bytes, error: Exception) -> None:
        """Leave out a file of which something cannot be held, and go on."""
        work.settling.drop(path)
        work.returned.pop(path, None)
        omission = unrecorded(error)
        records: list[LeftOutFile] = []
        self._omit(work, path, omission, records)
        folder, name = self._place(work.upload.number, path)
        known = Files.find_in(self._db, folder, name)
        if known is not None and known.state != "gone":  # what is known of it is not what lies there now
            Files.set_state(self._db, folder, name, "gone")
            Uploads.reseal(self._db, work.upload.number)
            records.append(left_out(path, omission.reason, omission.detail))
        say_left_out(self._db, work.upload, records)

    def missing(self, work: Work, path: bytes) -> None:
        """Take note that a file is not there of which a receipt says that it could not be read."""
        records: list[LeftOutFile] = []
        self._problem(work, path, Vanished("it does not exist"), records)
        say_left_out(self._db, work.upload, records)

    def chosen(self, work: Work) -> None:
        """Leave out what somebody has chosen to leave out because it went on changing."""
        for path, choice in list(work.choices.items()):
            if not (choice.take or choice.done):
                self.leave_out(work, path, choice)

    def leave_out(self, work: Work, path: bytes, choice: Choice) -> None:
        """Leave a file out as it is now; a version of it that is stored or on its way stays in the dataset."""
        work.settling.drop(path)
        for waiting in (work.omissions, work.returned):
            waiting.pop(path, None)
        detail = f"{choice.who} chose to leave it out while it was still being written"
        records: list[LeftOutFile] = []
        self._omit(work, path, Omission("chosen", detail), records)
        folder, name = self._place(work.upload.number, path)
        known = Files.find_in(self._db, folder, name)
        if known is not None and known.state in ("suspect", "failed"):
            if not Held.restore(self._db, folder, name):
                Files.set_state(self._db, folder, name, "gone")
                records.append(left_out(path, "chosen", detail))
            Uploads.reseal(self._db, work.upload.number)
        say_left_out(self._db, work.upload, records)
        self._done(work, path)

    def take_again(self, work: Work, path: bytes, choice: Choice) -> bool:
        """Have a file taken once more that has become something else meanwhile; False where that cannot help."""
        if not choice.done:
            return True
        if choice.tries + 1 >= MOST_TAKEN:
            log.info("file_cannot_be_taken", path=display(path))
            del work.choices[path]
            work.closing.taken.discard(path)
            work.closing.untaken.add(path)
            Choices.drop(self._db, work.upload.number, path)
            return False
        work.choices[path] = replace(choice, done=False, tries=choice.tries + 1)
        Choices.again(self._db, work.upload.number, path)
        return True

    def _done(self, work: Work, path: bytes) -> None:
        if choice := work.choices.get(path):
            work.choices[path] = replace(choice, done=True)
            work.closing.taken.add(path)
            Choices.set_done(self._db, work.upload.number, path)

    def given_up(self, work: Work) -> None:
        """Leave out what was found in a root that is not read any more, and is not on its way to the storage."""
        reason, older, never = (
            ("barred", BARRED_OLDER_HELD, BARRED_NEVER_HELD) if work.barred else ("gone", OLDER_HELD, NEVER_HELD)
        )
        records: list[LeftOutFile] = []
        for state in ("ready", "suspect", "failed"):
            for row in Files.in_state(self._db, work.upload.number, state, BARRED_AT_ONCE):
                held = Held.restore(self._db, row.folder, row.name)
                if not held:
                    Files.set_state(self._db, row.folder, row.name, "gone")
                records.append(left_out(row.path, reason, older if held else never))
        if records:
            Uploads.reseal(self._db, work.upload.number)
            say_left_out(self._db, work.upload, records)

    def _gone(self, work: Work, path: bytes, records: list[LeftOutFile]) -> None:
        """Note that a file is not there, where somebody says that it must be."""
        folder, name = self._place(work.upload.number, path)
        known = Files.find_in(self._db, folder, name)
        if known is not None and known.state == "suspect":
            held = Held.restore(self._db, folder, name)
            if not held:
                Files.set_state(self._db, folder, name, "gone")
            Uploads.reseal(self._db, work.upload.number)
            missing = NEITHER_HELD if Held.lost(self._db, folder, name) else NEVER_HELD
            records.append(left_out(path, "gone", OLDER_HELD if held else missing))

    def _still_out(self, work: Work, path: bytes, pending: Pending, records: list[LeftOutFile]) -> None:
        """Look once more at what was to be left out a while ago."""
        try:
            seen = look(work.disk, path)
        except Vanished:
            if pending.omission != UNFOUND:
                return
            seen = None
        except FolderError:
            seen = None
        if pending.omission.reason == "unreadable" and seen is not None and _can_be_read(work.disk, path, seen.st_mode):
            work.mark(path, folder=stat.S_ISDIR(seen.st_mode))
            return
        self._omit(work, path, pending.omission, records)

    def _omit(self, work: Work, path: bytes, omission: Omission, records: list[LeftOutFile]) -> None:
        folder, name = self._place(work.upload.number, path)
        if Files.put_left_out(self._db, work.upload.number, folder, name, omission.reason, omission.detail):
            records.append(left_out(path, omission.reason, omission.detail))

    def _take_back(self, work: Work, path: bytes, reason: str, records: list[LeftOutFile]) -> None:
        folder, name = self._place(work.upload.number, path)
        if Files.take_back(self._db, folder, name):
            detail = TAKEN_BACK.get(reason, "it is uploaded after all")
            records.append(left_out(path, reason, detail, returned=True))

    def _place(self, upload: int, path: bytes) -> tuple[int, bytes]:
        folder, name = split(path)
        number = self._folders.get((upload, folder))
        if number is None:
            number = self._folders[upload, folder] = Files.make_folder(self._db, upload, folder)
        return number, name


def _can_be_read(disk: Disk, path: bytes, mode: int) -> bool:
    return not stat.S_ISDIR(mode) or disk.lists(path)  # of a file, reading it tells the rest
