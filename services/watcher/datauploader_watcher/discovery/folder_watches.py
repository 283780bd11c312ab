"""File-system watches: which folders have them for which uploads, and where only scanning helps."""

import os
from collections import defaultdict

import structlog

from datauploader_watcher.adapters.events import Events, Notice, watches_left_out
from datauploader_watcher.adapters.mounts import file_system, is_network
from datauploader_watcher.domain.versions import join
from datauploader_watcher.loop_inbox import LoopInbox
from datauploader_watcher.settings import WatcherSettings
from datauploader_watcher.uploads.session import UploadSession

log = structlog.get_logger()

_SEPARATOR = os.fsencode(os.sep)
_SLASHES = b"/" + _SEPARATOR


class FolderWatches:
    """The watches on folders: carries hints from the operating system to the uploads that they concern."""

    def __init__(self, settings: WatcherSettings, inbox: LoopInbox) -> None:
        """Prepare, without watching anything."""
        self._settings = settings
        self._events = Events(inbox.notice, inbox.overflow, inbox.watched)
        self._uploads: defaultdict[bytes, list[UploadSession]] = defaultdict(list)
        self._counted = 0
        self.short = ""
        """The sentence while fewer folders are watched than there are."""

    def start(self) -> None:
        """Begin to listen."""
        self._events.start()

    def stop(self, deadline_s: float) -> None:
        """Stop listening."""
        self._events.stop(deadline_s)

    def watch_upload(self, session: UploadSession) -> None:
        """Watch what belongs to an upload, or have it polled."""
        reason = self._why_polled(session.disk.root)
        session.poll_folders(reason)
        if reason:
            return
        for folder, names in session.sources:
            place = _place(session, folder)
            self._uploads[place].append(session)
            if len(self._uploads[place]) == 1:
                self._events.watch(place, recursive=names is None)
                session.await_watches()

    def unwatch_upload(self, session: UploadSession) -> None:
        """Stop watching for an upload."""
        for folder, _ in session.sources:
            place = _place(session, folder)
            if session in self._uploads.get(place, ()):
                self._uploads[place].remove(session)
                if not self._uploads[place]:
                    del self._uploads[place]
                    self._events.unwatch(place)

    def rewatch_upload(self, session: UploadSession) -> None:
        """Watch the folders of an upload anew: its root was away, and so are the watches.

        It may only now be known what kind of drive it is.
        """
        if self._why_polled(session.disk.root):
            self.unwatch_upload(session)
            self.watch_upload(session)
        for folder, names in session.sources:
            if session in self._uploads.get(_place(session, folder), ()):
                self._events.watch(_place(session, folder), recursive=names is None)

    def route(self, notice: Notice) -> None:
        """Have a path looked at in every upload that it belongs to."""
        for session in self._uploads.get(notice.watch, ()):
            base = session.disk.root.rstrip(_SLASHES)
            if notice.path.startswith(base) and notice.path[len(base) : len(base) + 1] in (b"/", _SEPARATOR):
                path = notice.path[len(base) + 1 :].replace(_SEPARATOR, b"/")
                session.mark_path(path, folder=notice.folder, closed=notice.closed)

    def note_watched(self, folder: bytes, problem: str) -> None:
        """Take note that a folder is watched now, or why it cannot be."""
        for session in self._uploads.get(folder, ()):
            session.note_watched(problem)

    def count(self) -> None:
        """Find out whether all folders are watched."""
        uploads = {id(session): session for uploads in self._uploads.values() for session in uploads}.values()
        folders = sum(session.rescans.folders for session in uploads)
        short = watches_left_out(min(folders, self._counted))  # what appeared just now may not be watched yet
        self._counted = folders
        if short and not self.short:
            log.warning("folder_watches_missing", problem=short)
        self.short = short
        for session in uploads:
            if short:
                session.note_unwatched()

    def _why_polled(self, root: bytes) -> str:
        if self._settings.poll is not None:
            return "the settings say so" if self._settings.poll else ""
        kind = file_system(root)
        return f"a {kind} file system raises no events for what others write" if is_network(kind) else ""


def _place(session: UploadSession, folder: bytes) -> bytes:
    return join(session.disk.root.rstrip(_SLASHES), folder) if folder else session.disk.root
