"""Whether a folder has changed since its dataset was closed."""

import threading

from datauploader.reliability import Store
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.discovery.late_changes import compare
from datauploader_watcher.ledger.rules import RuleFolder
from datauploader_watcher.ledger.uploads import UploadTable
from datauploader_watcher.uploads.admission import UploadAdmission
from datauploader_watcher.uploads.earlier import earlier_of


def changed_since(store: Store, row: RuleFolder, admission: UploadAdmission) -> bool:
    """Compare a folder with what was uploaded; a file that was removed after its upload leaves no trace here."""
    with store.reading() as db:
        upload = UploadTable.get(db, row.upload_id)
    if upload is None:
        return False
    plan = admission.resumed(upload)
    earlier = earlier_of(store, plan.root, upload.request)
    later = compare(store, upload.number, plan, plan.disk(LocalDisk), threading.Event(), earlier)
    return later is not None and bool(later.sizes)
