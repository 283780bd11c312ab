"""What earlier uploads of this station have put into their datasets: such a file is left out of a later one."""

import os
from collections.abc import Sequence

from datauploader.contracts.uploads import UploadRequested
from datauploader.reliability import Store
from datauploader_watcher.adapters.disk import prefix_below
from datauploader_watcher.domain.selection import Omission
from datauploader_watcher.domain.versions import Stamp, split
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.uploads import UploadTable

REASON = "in-earlier-dataset"
IN_DATASET = ("catalogued", "releasing")
"""States of a file that is in its dataset and lies on the station as well: once removed, one of its name is new."""


class EarlierFiles:
    """Files of earlier uploads: those of some uploads, by their real paths."""

    def __init__(self, store: Store, root: bytes, upload_ids: Sequence[str]) -> None:
        """Look up the uploads; one that is not known here has nothing that could be left out."""
        self._store, self._root = store, root
        with store.reading() as db:
            uploads = [upload for name in upload_ids if (upload := UploadTable(db).get(name)) is not None]
        self._uploads = [
            (one.number, one.root or os.path.realpath(os.fsencode(one.request.root)), one.request.dataset.name)
            for one in uploads
        ]

    def omits(self, path: bytes, seen: Stamp) -> Omission | None:
        """Say in which dataset a file is as it lies there now; None where it is new, or has changed since."""
        separator = os.fsencode(os.sep)
        full = os.path.join(self._root, path.replace(b"/", separator))  # noqa: PTH118 - bytes
        for number, root, dataset in self._uploads:
            prefix, below = prefix_below(root), path
            if root != self._root:
                if not full.startswith(prefix):
                    continue
                below = full[len(prefix) :].replace(separator, b"/")
            folder, name = split(below)
            with self._store.reading() as db:
                place = FileTable(db).folder(number, folder)
                known = None if place is None else FileTable(db).find_in(place, name)
            if known is not None and known.state in IN_DATASET and is_same(known.stamp, seen):
                return Omission(REASON, f"it is already in the dataset {dataset} and has not changed since")
        return None


def earlier_of(store: Store, root: bytes, request: UploadRequested) -> EarlierFiles | None:
    """Return what a request leaves out because it is in earlier datasets, None where it names none."""
    return EarlierFiles(store, root, request.without) if request.without else None


def is_same(known: Stamp, seen: Stamp) -> bool:
    """Tell whether a file has not changed; what the catalog had to tell has no inode (a lost state: see ADR 20)."""
    return known.agrees(seen) or (not known.inode and (known.size, known.mtime_ns) == (seen.size, seen.mtime_ns))
