"""The receipts of stored versions, as many events as they need, each with an id that the same versions always give."""

from collections.abc import Iterable, Iterator

from datauploader.contracts.batching import split
from datauploader.contracts.envelope import natural_id
from datauploader.contracts.files import FileStored, StoredFile
from datauploader.contracts.uploads import Destination


def of_stored(
    upload_id: str, destination: Destination, files: Iterable[StoredFile], *, proof_ms: int | None = None
) -> Iterator[tuple[FileStored, str]]:
    """Yield what says that these versions are on the storage, and its id, which does not depend on `proof_ms`."""

    def stored(some: tuple[StoredFile, ...]) -> FileStored:
        return FileStored(upload_id=upload_id, destination=destination, files=some, proof_ms=proof_ms)

    for fact in split(files, stored):
        yield fact, natural_id(FileStored, upload_id, *(item.file.key for item in fact.files))
