"""Which folders are watched for which uploads, and where only scanning helps."""

import os
from collections import defaultdict

import structlog

from datauploader_watcher.adapters.events import Events, Notice, watches_left_out
from datauploader_watcher.adapters.mounts import file_system, is_network
from datauploader_watcher.domain.versions import join
from datauploader_watcher.mailbox import Mailbox
from datauploader_watcher.settings import WatcherSettings
from datauploader_watcher.work import Work

log = structlog.get_logger()

_SEPARATOR = os.fsencode(os.sep)
_SLASHES = b"/" + _SEPARATOR


class Watching:
    """Carries hints from the operating system to the uploads that they concern."""

    def __init__(self, settings: WatcherSettings, mailbox: Mailbox) -> None:
        """Prepare, without watching anything."""
        self._settings = settings
        self._events = Events(mailbox.notice, mailbox.overflow, mailbox.watched)
        self._works: defaultdict[bytes, list[Work]] = defaultdict(list)
        self._counted = 0
        self.short = ""
        """The sentence while fewer folders are watched than there are."""

    def start(self) -> None:
        """Begin to listen."""
        self._events.start()

    def stop(self, deadline_s: float) -> None:
        """Stop listening."""
        self._events.stop(deadline_s)

    def take(self, work: Work) -> None:
        """Watch what belongs to an upload, or have it polled."""
        work.polled = self._why_polled(work.disk.root)
        if work.polled:
            return
        for folder, names in work.sources:
            place = _place(work, folder)
            self._works[place].append(work)
            if len(self._works[place]) == 1:
                self._events.watch(place, recursive=names is None)

    def leave(self, work: Work) -> None:
        """Stop watching for an upload."""
        for folder, _ in work.sources:
            place = _place(work, folder)
            if work in self._works.get(place, ()):
                self._works[place].remove(work)
                if not self._works[place]:
                    del self._works[place]
                    self._events.unwatch(place)

    def again(self, work: Work) -> None:
        """Watch the folders of an upload anew: its root was away, and so are the watches.

        It may only now be known what kind of drive it is.
        """
        if self._why_polled(work.disk.root):
            self.leave(work)
            self.take(work)
        for folder, names in work.sources:
            if work in self._works.get(_place(work, folder), ()):
                self._events.watch(_place(work, folder), recursive=names is None)

    def route(self, notice: Notice) -> None:
        """Have a path looked at in every upload that it belongs to."""
        for work in self._works.get(notice.watch, ()):
            base = work.disk.root.rstrip(_SLASHES)
            if notice.path.startswith(base) and notice.path[len(base) : len(base) + 1] in (b"/", _SEPARATOR):
                path = notice.path[len(base) + 1 :].replace(_SEPARATOR, b"/")
                work.mark(path, folder=notice.folder, closed=notice.closed)

    def began(self, folder: bytes, problem: str) -> None:
        """Take note that a folder is watched now, or why it cannot be."""
        for work in self._works.get(folder, ()):
            work.polled = f"its folders cannot be watched ({problem})" if problem else ""
            work.visits.watched = not problem
            work.hasten()

    def count(self) -> None:
        """Find out whether all folders are watched."""
        works = {id(work): work for works in self._works.values() for work in works}.values()
        folders = sum(work.visits.folders for work in works)
        short = watches_left_out(min(folders, self._counted))  # what appeared just now may not be watched yet
        self._counted = folders
        if short and not self.short:
            log.warning("folders_not_watched", problem=short)
        self.short = short
        for work in works:
            if short and not work.polled:
                work.polled = "not all folders can be watched"
                work.hasten()

    def _why_polled(self, root: bytes) -> str:
        if self._settings.poll is not None:
            return "the settings say so" if self._settings.poll else ""
        kind = file_system(root)
        return f"a {kind} file system raises no events for what others write" if is_network(kind) else ""


def _place(work: Work, folder: bytes) -> bytes:
    return join(work.disk.root.rstrip(_SLASHES), folder) if folder else work.disk.root
