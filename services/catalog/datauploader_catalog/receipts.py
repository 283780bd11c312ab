"""The receipts of registered files, written from the JSON that the ledger holds of each: nothing is read for them."""

import hashlib
from collections.abc import Iterable, Iterator

from pydantic import PrivateAttr
from pydantic_core import to_json

from datauploader.contracts import FileCatalogued, StoredFile
from datauploader.contracts.batching import ENVELOPE
from datauploader.contracts.envelope import LARGEST, natural_id
from datauploader.contracts.files import MOST_FILES
from datauploader.plugins.catalogue.batches import batches

_FILE, _OBJECT = '{"file":', ',"object":'
"""What stands before and behind the file in a `StoredFile` in JSON. Within a string each quote has a backslash before
it, so the second one stands nowhere else."""


class WrittenReceipt(FileCatalogued):
    """A receipt that is there in JSON alone: its `files` are empty."""

    _written: bytes = PrivateAttr()

    def to_json(self) -> bytes:
        """Return what was written."""
        return self._written

    @classmethod
    def of(cls, upload_id: str, dataset_id: str, written: bytes) -> "WrittenReceipt":
        """Take the whole of it in JSON."""
        receipt = cls.model_construct(upload_id=upload_id, dataset_id=dataset_id, files=())
        receipt._written = written  # noqa: SLF001 - its own
        return receipt


def of_registered(
    upload_id: str, dataset_id: str, files: Iterable[tuple[str, str]]
) -> Iterator[tuple[FileCatalogued, str]]:
    """Yield what says that these files are datafiles of their dataset, and its id, which the same files always give.

    Args:
        upload_id: the upload that they belong to.
        dataset_id: the catalogue's own id.
        files: of each its `StoredFile` in compact JSON, and its `state`.
    """
    head = to_json({"upload_id": upload_id, "dataset_id": dataset_id})[:-1] + b',"files":['
    room = LARGEST - ENVELOPE - len(head) - MOST_FILES
    known = (f'{_FILE}{version_of(stored)},"datafile_id":"","state":"{state}"}}' for stored, state in files)
    for some in batches(known, most=MOST_FILES, most_bytes=room):
        listed = ",".join(some).encode()
        identity = natural_id(FileCatalogued, upload_id, hashlib.sha256(listed).hexdigest())
        yield WrittenReceipt.of(upload_id, dataset_id, b"".join((head, listed, b"]}"))), identity


def version_of(stored: str) -> str:
    """Return the `FileVersion` in JSON that stands in a `StoredFile` in JSON."""
    head, found, _ = stored.partition(_OBJECT)
    if found and head.startswith(_FILE):
        return head[len(_FILE) :]
    return StoredFile.model_validate_json(stored).file.to_json().decode()
