"""From what was read and seen to the ledger: finished versions, omissions, records taken back."""

import sqlite3
import stat
from collections.abc import Iterable

import structlog

from datauploader.contracts.files import LeftOutFile
from datauploader.contracts.names import display
from datauploader_watcher.adapters.disk import lstat
from datauploader_watcher.adapters.hashing import HashResult
from datauploader_watcher.clock import Clock
from datauploader_watcher.discovery.scanner import UNFOUND
from datauploader_watcher.domain.selection import Omission, unrecorded
from datauploader_watcher.domain.versions import NewVersion, Unchanged, judge, split
from datauploader_watcher.errors import DiskBusy, FolderError, PathMissing, RootLost, Unreadable
from datauploader_watcher.ledger.choices import RestlessChoice, RestlessChoiceTable
from datauploader_watcher.ledger.files import FileRow, FileTable, new_row
from datauploader_watcher.ledger.superseded import SupersededVersions
from datauploader_watcher.ledger.uploads import UploadTable
from datauploader_watcher.outgoing.publishing import left_out, say_left_out
from datauploader_watcher.uploads.session import UploadSession

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
        self._epoch = self._now_ns / 1e9 - clock.monotonic()
        """What is to be added to the monotonic clock for the calendar's."""
        self._files, self._uploads = FileTable(db), UploadTable(db)
        self._superseded, self._choices = SupersededVersions(db), RestlessChoiceTable(db)
        self._folders: dict[tuple[int, bytes], int] = {}

    def outcomes(self, session: UploadSession, outcomes: Iterable[HashResult]) -> list[FileRow]:
        """Take what came of reading files; return new versions, which are not in the ledger yet."""
        records: list[LeftOutFile] = []
        fresh: list[FileRow] = []
        session.count_again()
        for outcome in outcomes:
            if outcome.problem is not None:
                self._problem(session, outcome.path, outcome.problem, records)
            elif outcome.changed is not None:
                session.stability.changed(outcome.path, outcome.changed, self._clock.monotonic())
            else:
                self._finished(session, outcome, records, fresh)
        say_left_out(self._db, session.upload, records)
        if fresh and session.upload.state == "sealed":
            self._uploads.reseal(session.upload.number)
        return fresh

    def omissions(self, session: UploadSession) -> None:
        """Put what still stays out on the record, and take back what does not."""
        now = self._clock.monotonic()
        records: list[LeftOutFile] = []
        for path, pending in list(session.omissions.items()):
            if pending.due > now:
                break
            del session.omissions[path]
            try:  # once more, because it was to be left out a while ago
                seen = lstat(session.disk, path)
            except FolderError as problem:
                if isinstance(problem, PathMissing) and pending.omission != UNFOUND:
                    continue
                seen = None
            if pending.omission.reason == "unreadable" and seen is not None:
                folder = stat.S_ISDIR(seen.st_mode)
                if not folder or session.disk.lists(path):  # of a file, reading it tells the rest
                    session.mark_path(path, folder=folder)
                    continue
            self._omit(session, path, pending.omission, records)
        for path, reason in list(session.returned.items()):
            if path not in session.stability:  # of a file that is taken after all it is said when it is finished
                del session.returned[path]
                self._take_back(session, path, reason, records)
        say_left_out(self._db, session.upload, records)

    def _finished(
        self, session: UploadSession, outcome: HashResult, records: list[LeftOutFile], fresh: list[FileRow]
    ) -> None:
        assert outcome.digests is not None
        now, as_is = self._clock.monotonic(), outcome.as_is
        candidate = session.stability.finish(
            outcome.path, outcome.asked, outcome.digests, now, writer=outcome.writer, alone=outcome.alone, as_is=as_is
        )  # fmt: skip
        if candidate is None:
            return
        folder, name = self._place(session.upload.number, outcome.path)
        if reason := session.returned.pop(outcome.path, ""):
            self._take_back(session, outcome.path, reason, records)
        known = None if candidate.fresh else self._files.find_in(folder, name)
        verdict = judge(known, outcome.asked, outcome.digests, self._now_ns)
        if isinstance(verdict, Unchanged):
            self._files.restamp(folder, name, outcome.asked, writer=outcome.writer)
        elif isinstance(verdict, NewVersion):
            row = new_row(
                folder, name, outcome.path, outcome.asked, outcome.digests, verdict.revision, writer=outcome.writer,
                as_is=as_is, seen_at=self._epoch + candidate.changed_at,
            )  # fmt: skip
            fresh.append(row)
        else:
            self._files.ready_again(folder, name, outcome.asked, writer=outcome.writer, as_is=as_is)
            session.note_versions(waiting=True)
        if as_is:
            self._done(session, outcome.path)

    def _problem(self, session: UploadSession, path: bytes, problem: FolderError, records: list[LeftOutFile]) -> None:
        try:
            session.disk.verify_root()
        except RootLost as lost:
            session.lose_root(str(lost))
            session.stability.failed(path, self._clock.monotonic())
            return
        if isinstance(problem, PathMissing):
            session.stability.drop(path)
            folder, name = self._place(session.upload.number, path)
            known = self._files.find_in(folder, name)
            if known is not None and known.state == "suspect":  # somebody says that it must be there
                held = self._superseded.restore(folder, name)
                if not held:
                    self._files.set_state(folder, name, "gone")
                self._uploads.reseal(session.upload.number)
                missing = NEITHER_HELD if self._superseded.was_not_found(folder, name) else NEVER_HELD
                records.append(left_out(path, "gone", OLDER_HELD if held else missing))
        elif isinstance(problem, Unreadable) or session.stability.failed(path, self._clock.monotonic()):
            session.stability.drop(path)
            self._omit(session, path, Omission("unreadable", f"{problem}; it is retried at every scan"), records)
        elif isinstance(problem, DiskBusy):
            log.info("file_is_busy", path=path.decode("utf-8", "replace"), problem=str(problem))

    def unrecorded(self, session: UploadSession, path: bytes, error: Exception) -> None:
        """Leave out a file of which something cannot be held, and go on."""
        session.stability.drop(path)
        session.returned.pop(path, None)
        omission = unrecorded(error)
        records: list[LeftOutFile] = []
        self._omit(session, path, omission, records)
        folder, name = self._place(session.upload.number, path)
        known = self._files.find_in(folder, name)
        if known is not None and known.state != "gone":  # what is known of it is not what lies there now
            self._files.set_state(folder, name, "gone")
            self._uploads.reseal(session.upload.number)
            records.append(left_out(path, omission.reason, omission.detail))
        say_left_out(self._db, session.upload, records)

    def missing(self, session: UploadSession, path: bytes) -> None:
        """Take note that a file is not there of which a receipt says that it could not be read."""
        records: list[LeftOutFile] = []
        self._problem(session, path, PathMissing("it does not exist"), records)
        say_left_out(self._db, session.upload, records)

    def chosen(self, session: UploadSession) -> None:
        """Leave out what somebody has chosen to leave out because it went on changing."""
        for path, choice in list(session.closing.choices.items()):
            if not (choice.take or choice.done):
                self.leave_out(session, path, choice)

    def leave_out(self, session: UploadSession, path: bytes, choice: RestlessChoice) -> None:
        """Leave a file out as it is now; a version of it that is stored or on its way stays in the dataset."""
        session.stability.drop(path)
        for waiting in (session.omissions, session.returned):
            waiting.pop(path, None)
        detail = f"{choice.who} chose to leave it out while it was still being written"
        records: list[LeftOutFile] = []
        self._omit(session, path, Omission("chosen", detail), records)
        folder, name = self._place(session.upload.number, path)
        known = self._files.find_in(folder, name)
        if known is not None and known.state in ("suspect", "failed"):
            if not self._superseded.restore(folder, name):
                self._files.set_state(folder, name, "gone")
                records.append(left_out(path, "chosen", detail))
            self._uploads.reseal(session.upload.number)
        say_left_out(self._db, session.upload, records)
        self._done(session, path)

    def take_again(self, session: UploadSession, path: bytes, choice: RestlessChoice) -> bool:
        """Have a file taken once more that has become something else meanwhile; False where that cannot help."""
        if not choice.done:
            return True
        if choice.tries + 1 >= MOST_TAKEN:
            log.info("file_read_at_once_failed", path=display(path))
            session.closing.drop_choice(path)
            self._choices.drop(session.upload.number, path)
            return False
        session.closing.retry_choice(path)
        self._choices.again(session.upload.number, path)
        return True

    def _done(self, session: UploadSession, path: bytes) -> None:
        if session.closing.finish_choice(path):
            self._choices.set_done(session.upload.number, path)

    def given_up(self, session: UploadSession) -> None:
        """Leave out what was found in a root that is not read any more, and is not on its way to the storage."""
        reason, older, never = (
            ("barred", BARRED_OLDER_HELD, BARRED_NEVER_HELD) if session.barred else ("gone", OLDER_HELD, NEVER_HELD)
        )
        records: list[LeftOutFile] = []
        for state in ("ready", "suspect", "failed"):
            for row in self._files.in_state(session.upload.number, state, BARRED_AT_ONCE):
                held = self._superseded.restore(row.folder, row.name)
                if not held:
                    self._files.set_state(row.folder, row.name, "gone")
                records.append(left_out(row.path, reason, older if held else never))
        if records:
            self._uploads.reseal(session.upload.number)
            say_left_out(self._db, session.upload, records)

    def _omit(self, session: UploadSession, path: bytes, omission: Omission, records: list[LeftOutFile]) -> None:
        folder, name = self._place(session.upload.number, path)
        if self._files.put_left_out(session.upload.number, folder, name, omission.reason, omission.detail):
            records.append(left_out(path, omission.reason, omission.detail))

    def _take_back(self, session: UploadSession, path: bytes, reason: str, records: list[LeftOutFile]) -> None:
        folder, name = self._place(session.upload.number, path)
        if self._files.take_back(folder, name):
            detail = TAKEN_BACK.get(reason, "it is uploaded after all")
            records.append(left_out(path, reason, detail, returned=True))

    def _place(self, upload: int, path: bytes) -> tuple[int, bytes]:
        folder, name = split(path)
        number = self._folders.get((upload, folder))
        if number is None:
            number = self._folders[upload, folder] = self._files.make_folder(upload, folder)
        return number, name
