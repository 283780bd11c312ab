"""Whether a folder has changed since its dataset was closed."""

from datauploader.state import Store
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.domain.selection import Omission
from datauploader_watcher.domain.versions import Stamp
from datauploader_watcher.errors import RootLost
from datauploader_watcher.ledger.files import KnownRow
from datauploader_watcher.ledger.rules import RuleFolder
from datauploader_watcher.ledger.uploads import Uploads
from datauploader_watcher.opening import Opening
from datauploader_watcher.scan import Scan


class _Difference:
    """Notes whether a walk sees any file that was not uploaded as it is now."""

    def __init__(self) -> None:
        self.found = False

    def regular(self, path: bytes, seen: Stamp, row: KnownRow | None) -> None:  # noqa: ARG002 - the interface
        """See `Findings.regular`; a file that was removed after its upload leaves no trace here."""
        self.found = True

    def expects(self, path: bytes) -> bool:  # noqa: ARG002 - the interface
        """See `Findings.expects`."""
        return False

    def omit(self, path: bytes, omission: Omission, row: KnownRow | None, *, folder: bool = False) -> None:
        """See `Findings.omit`."""

    def vanished(self, path: bytes) -> None:
        """See `Findings.vanished`."""

    def enter(self, path: bytes) -> bool:  # noqa: ARG002 - the interface
        """See `Findings.enter`."""
        return True

    def readable(self, path: bytes) -> None:
        """See `Findings.readable`."""

    def lose(self, problem: RootLost) -> None:
        """See `Findings.lose`."""


def changed_since(store: Store, row: RuleFolder, opening: Opening) -> bool:
    """Compare a folder with what was uploaded of it."""
    with store.reading() as db:
        upload = Uploads.get(db, row.upload_id)
    if upload is None:
        return False
    plan = opening.resumed(upload)
    difference = _Difference()
    disk = plan.disk(LocalDisk)
    scan = Scan(disk, store, upload.number, plan.selection, difference, list(plan.sources), deep=True)
    while not difference.found and scan.step():
        pass
    scan.close()
    return difference.found and not scan.lost
