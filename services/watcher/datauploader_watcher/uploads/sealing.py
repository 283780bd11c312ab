"""When an upload is complete, and what is then said of it."""

import sqlite3
from collections.abc import Sequence

from datauploader.contracts.batching import bounded
from datauploader.contracts.uploads import MOST_RESTLESS, UploadScanned, UploadSealed, manifest_digest
from datauploader_watcher.domain.receipts import LONGEST_PATIENCE_S, next_reminder_s
from datauploader_watcher.ledger.files import FileTable, Tally
from datauploader_watcher.ledger.uploads import UploadRow, UploadTable
from datauploader_watcher.outgoing.publishing import say
from datauploader_watcher.uploads.open_writers import notes
from datauploader_watcher.uploads.session import UploadSession

_NONE = Tally()
UNSAID = ("ready", "suspect")
"""States in which a version has still to be announced."""
NOT_UPLOADED = ("left-out", "gone")


def close_by_itself(db: sqlite3.Connection, session: UploadSession, now: float) -> bool:
    """Close a sync upload whose marker has appeared, or in which nothing has changed for long enough."""
    upload, request = session.upload, session.upload.request
    if upload.closing or upload.state != "open":
        return False
    if session.marked:
        UploadTable(db).set_closing(upload.number, "marker")
        return True
    if request.idle_close_s is None or not session.at_rest or now - session.changed_at < request.idle_close_s:
        return False
    if not any(
        tally.files for state, tally in FileTable(db).tallies(upload.number).items() if state not in NOT_UPLOADED
    ):
        return False  # a folder that is still empty waits for its first file
    UploadTable(db).set_closing(upload.number, "idle")
    return True


def may_close(session: UploadSession) -> bool:
    """Tell whether nothing more is to be found; of a root that is given up a person must say that it is enough."""
    closing = session.upload.closing
    return closing == "asked" if session.given_up else bool(closing) and session.scanned_all


def question(db: sqlite3.Connection, session: UploadSession) -> str:
    """Ask what becomes of an upload that nobody closed and that would be sealed without any file, "" where all is well.

    An empty folder is a wrong folder, or a drive that is not mounted, far oftener than an empty dataset.
    """
    upload = session.upload
    ends = upload.state == "open" and upload.closing and upload.closing != "asked"
    if not ends or not session.scanned_all or not session.at_rest:
        return ""
    files, _, omitted = _counts(FileTable(db).tallies(upload.number))
    if files:
        return ""
    found, way = (
        f"There are no files in {upload.request.root}.",
        "Mount the drive, or start a new upload of another folder",
    )
    if omitted:
        found = f"Nothing in {upload.request.root} is uploaded: everything in it is left out ({omitted})."
        way = "Start a new upload with other patterns"
    return f"{found} {way}; or complete this one as an empty dataset."


def may_seal(db: sqlite3.Connection, session: UploadSession) -> bool:
    """Tell whether every file has been seen, is finished, and was announced, and what the catalog has is known."""
    upload = session.upload
    if upload.paused or upload.recall is not None or not session.at_rest:
        return False
    if upload.state == "open" and not may_close(session):
        return False
    if upload.state == "sealed" and upload.manifest:
        return False
    tallies = FileTable(db).tallies(upload.number)
    return not any(tallies.get(state, _NONE).files for state in UNSAID) and not question(db, session)


def seal(db: sqlite3.Connection, upload: UploadRow, now: float, first_patience_s: float) -> str:
    """Say that no more files come; a seal that differs from an earlier one supersedes it."""
    manifest = manifest_digest(FileTable(db).manifest(upload.number))
    UploadTable(db).set_sealed(
        upload.number, manifest, upload.seals + 1, now + next_reminder_s(first_patience_s, upload.seals + 1)
    )
    say(db, upload, _sealed(db, upload, manifest), manifest, str(upload.seals))
    return manifest


def seal_again(db: sqlite3.Connection, upload: UploadRow, now: float, first_patience_s: float) -> bool:
    """Repeat a seal that has had no answer although every file has; False where it is not due."""
    if upload.state != "sealed" or not upload.manifest or upload.seal_due_at is None:
        return False
    if now < upload.seal_due_at <= now + LONGEST_PATIENCE_S:  # later still: the clock was ahead, and was put right
        return False
    tallies = FileTable(db).tallies(upload.number)
    if upload.trouble or any(
        tallies.get(s, _NONE).files for s in ("ready", "suspect", "announced", "stored", "failed")
    ):
        return False
    due_at = now + next_reminder_s(first_patience_s, upload.seals + 1)
    UploadTable(db).set_sealed(upload.number, upload.manifest, upload.seals + 1, due_at)
    UploadTable(db).set_recall(upload.number, "")  # perhaps the catalog has files that are not known here
    say(db, upload, _sealed(db, upload, upload.manifest), upload.manifest, str(upload.seals))
    return True


def _sealed(db: sqlite3.Connection, upload: UploadRow, manifest: str) -> UploadSealed:
    files, size, omitted = _counts(FileTable(db).tallies(upload.number))
    return UploadSealed(
        upload_id=upload.upload_id, files=files, bytes=size, left_out=omitted, manifest_sha256=manifest,
        notes=notes(db, upload),
    )  # fmt: skip


def scanned(db: sqlite3.Connection, session: UploadSession) -> UploadScanned:
    """Count what belongs to an upload now, finished or not."""
    fresh = [candidate.stamp.size for candidate in session.stability.candidates() if candidate.fresh]
    sentences = (
        session.away,
        session.upload.trouble,
        session.unagreed,
        session.upload.recall,
        *session.closing.lingering,
    )
    troubles = tuple(sentence for sentence in sentences if sentence)
    said = counts(db, session.upload, fresh=fresh, settling=len(session.stability), troubles=troubles)
    session.question = "" if fresh else question(db, session)
    restless = tuple(session.closing.restless.values())[:MOST_RESTLESS]
    return said.model_copy(
        update={"question": session.question or None, "looking": not session.looked, "restless": restless}
    )  # fmt: skip


def counts(
    db: sqlite3.Connection,
    upload: UploadRow,
    *,
    fresh: Sequence[int] = (),
    settling: int = 0,
    troubles: tuple[str, ...] = (),
) -> UploadScanned:
    """Count an upload by its ledger, and the sizes of files that are not in it yet."""
    files, size, omitted = _counts(FileTable(db).tallies(upload.number))
    return UploadScanned(
        upload_id=upload.upload_id,
        files=files + len(fresh),
        bytes=size + sum(fresh),
        settling=settling,
        left_out=omitted,
        troubles=bounded(troubles),
    )


def _counts(tallies: dict[str, Tally]) -> tuple[int, int, int]:
    belong = [tally for state, tally in tallies.items() if state not in NOT_UPLOADED]
    omitted = sum(tallies.get(state, _NONE).files for state in NOT_UPLOADED)
    return sum(one.files for one in belong), sum(one.bytes for one in belong), omitted
