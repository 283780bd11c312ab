"""Forgetting: the files of uploads that were over long ago are not remembered one by one any more."""

from collections.abc import Callable

from datauploader_watcher.context import WatcherContext
from datauploader_watcher.ledger.choices import RestlessChoiceTable
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.uploads import UploadTable

MOST_FILES = 500
"""Files that are forgotten in one transaction."""


def forgetting(context: WatcherContext) -> Callable[[], bool]:
    """Return a step that forgets some files, and says whether there may be more."""
    days = max(context.settings.keep_days, context.settings.reopen_days)

    def forget_some() -> bool:
        before = context.clock.now_ns() / 1e9 - days * 86400
        with context.store.reading() as db:
            upload = UploadTable(db).find_forgettable(before)
        if upload is None:
            return False
        with context.store.transaction() as db:
            FileTable(db).forget(upload, MOST_FILES)
            RestlessChoiceTable(db).forget(upload)
        return True

    return forget_some
