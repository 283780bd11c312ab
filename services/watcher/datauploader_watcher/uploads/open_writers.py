"""Open writers: files that programs still write when the seal is due are waited for, taken as they are, named."""

import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from datauploader.contracts.model import LATEST_NS
from datauploader.contracts.names import display, pack
from datauploader.contracts.uploads import RestlessFile
from datauploader.wording import count
from datauploader_watcher.adapters.disk import RootDisk, lstat, stamp_of
from datauploader_watcher.adapters.sharing import has_writer, is_locked
from datauploader_watcher.clock import Clock
from datauploader_watcher.domain.versions import split
from datauploader_watcher.errors import FolderError
from datauploader_watcher.ledger.choices import RestlessChoiceTable
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.uploads import UploadRow
from datauploader_watcher.settings import WatcherSettings
from datauploader_watcher.uploads.session import UploadSession

NAMED = 3
"""Files that a sentence names."""
RECENT_S = 30.0
"""A file that has rested for longer is being read, or waits for that, and is not being written."""


class OpenWriters:
    """Finds open writers: decides about the seal of one upload after the other, as far as open files are concerned."""

    def __init__(self, clock: Clock, settings: WatcherSettings) -> None:
        """Take how long to wait, and after what time to speak."""
        self._clock = clock
        self._patience_s, self._restless_after_s = settings.seal_patience_s, settings.restless_after_s

    def holds(self, db: sqlite3.Connection, session: UploadSession) -> bool:
        """Tell whether the seal waits: for programs that have files open, or for their files to be read again.

        What a program had open when it was read may have changed without a trace. It is read again when the program
        has closed it, at the latest when the patience ends, and then counts as it is.
        """
        written = [row for row in FileTable(db).written(session.upload.number) if row.path not in session.closing.taken]
        if session.upload.state != "open" or not written:
            session.closing.lingering = ()
            return False
        if session.closing.held_until is None:
            at = time.localtime(self._clock.now_ns() / 1e9 + self._patience_s)
            session.closing.held_until = self._clock.monotonic() + self._patience_s, time.strftime("%H:%M", at)
        until, shown = session.closing.held_until
        over = self._clock.monotonic() >= until
        still = [] if over else [row.path for row in written if _is_written(session.disk, row.path)]
        waiting = False
        for row in written:
            if row.path in still:
                continue
            if over:
                session.closing.taken.add(row.path)
            try:
                seen = lstat(session.disk, row.path)
            except FolderError:
                session.closing.taken.add(row.path)
                continue
            now = self._clock.monotonic()
            session.stability.observe_file(row.path, stamp_of(seen), now, fresh=False, at_once=over)
            session.stability.closed(row.path, now)
            waiting = True
        closed = "it is" if len(still) == 1 else "they are"
        sentence = (
            f"Still open in another program: {_names(still)}; the dataset is sealed when {closed} closed, at the "
            f"latest at {shown}."
        )
        session.closing.lingering = (sentence,) if still else ()
        return bool(still) or waiting

    def speak(self, db: sqlite3.Connection, session: UploadSession) -> None:
        """Name the files that have not rested for a while, although their upload is closed; do what a rule says."""
        now = self._clock.monotonic()
        if not session.upload.closing or session.upload.state not in ("open", "sealed"):
            session.closing.restless.clear()
            return
        if now - session.closing.since < self._restless_after_s:
            return
        found = session.stability.restless(now - self._restless_after_s, now - RECENT_S)
        request, choices = session.upload.request, session.closing.choices
        paths = [path for path in found if path not in choices and path not in session.closing.untaken]
        if request.when_restless != "wait" and paths:  # whoever asked for the upload has chosen beforehand
            who, take = request.requested_by, request.when_restless == "take"
            RestlessChoiceTable(db).put(session.upload.number, paths, take=take, who=who.name or who.id)
            session.take_choices(RestlessChoiceTable(db).of(session.upload.number))
        known, ago = session.closing.restless, self._clock.now_ns() / 1e9 - now
        session.closing.restless = {
            path: known.get(path)
            or RestlessFile(
                path=display(path),
                path_b64=pack(path),
                since=datetime.fromtimestamp(ago + since, UTC).replace(microsecond=0),
            )
            for path, since in found.items()
            if path not in session.closing.choices
        }
        restless = list(session.closing.restless)
        if restless or not session.at_rest:
            session.closing.lingering = tuple(_restless(restless, session.closing.untaken)) if restless else ()


def notes(db: sqlite3.Connection, upload: UploadRow) -> tuple[str, ...]:
    """Say of a sealed upload which files a program still had open when they were read last, and which dates are odd."""
    said: list[str] = []
    choices = RestlessChoiceTable(db).of(upload.number)
    for who in sorted({choice.who for choice in choices.values()}):
        if taken := sorted(path for path, choice in choices.items() if choice.who == who and choice.take):
            said.append(f"Uploaded while a program was still writing, as {who} chose: {_names(taken)}.")
        if out := sorted(path for path, choice in choices.items() if choice.who == who and not choice.take):
            said.append(f"Left out while a program was still writing, as {who} chose: {_names(out)}.")
    if paths := [row.path for row in FileTable(db).written(upload.number) if row.path not in choices]:
        as_then = "it was uploaded as it was then" if len(paths) == 1 else "they were uploaded as they were then"
        said.append(f"Still open in another program when the dataset was sealed: {_names(paths)}; {as_then}.")
    for bound, day in ((-LATEST_NS, "1677-09-21"), (LATEST_NS, "2262-04-11")):
        if odd := [path for path, kept in FileTable(db).odd_dates(upload.number) if kept == bound]:
            said.append(f"With a date outside the supported range: {_names(odd)}; {day} is recorded instead.")
    return tuple(said)


def _restless(paths: Sequence[bytes], untaken: Collection[bytes]) -> Iterator[str]:
    it = "it" if len(paths) == 1 else "them"
    yield (
        f"Still being written: {_names(paths)}; the dataset cannot be sealed before that ends. Stop the program "
        f"that writes {it}, upload {it} as {'it is' if len(paths) == 1 else 'they are'} now, or leave {it} out."
    )
    if stubborn := [path for path in paths if path in untaken]:
        yield (
            f"Not uploaded as chosen: {_names(stubborn)}; the file was overwritten before it was sent. "
            "Stop the program that writes it, or leave it out."
        )


def _names(paths: Sequence[bytes]) -> str:
    named = ", ".join(display(path) for path in paths[:NAMED])
    return f"{named} and {count(len(paths) - NAMED, 'other file')}" if len(paths) > NAMED else named


def _is_written(disk: RootDisk, path: bytes) -> bool:
    """Tell whether a program has a file open for writing; where nobody can tell, it counts as closed."""
    folder, name = split(path)
    try:
        with disk.folder(folder) as opened:
            descriptor = opened.open(name)
            try:
                return has_writer(descriptor) is True
            finally:
                os.close(descriptor)
    except OSError as error:
        return is_locked(error)
