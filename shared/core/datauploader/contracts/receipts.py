"""The receipts of file versions, as many events as they need, each with an id that the same versions always give."""

from collections.abc import Iterable, Iterator, Sequence

from datauploader.contracts.batching import split
from datauploader.contracts.envelope import natural_id
from datauploader.contracts.files import CataloguedFile, FileCatalogued, FileStored, StoredFile
from datauploader.contracts.uploads import Destination


def of_stored(
    upload_id: str, destination: Destination, files: Iterable[StoredFile], *, proof_ms: int | None = None
) -> Iterator[tuple[FileStored, str]]:
    """Yield what says that these versions are on the storage, and its id, which does not depend on `proof_ms`."""

    def stored(some: tuple[StoredFile, ...]) -> FileStored:
        return FileStored(upload_id=upload_id, destination=destination, files=some, proof_ms=proof_ms)

    for fact in split(files, stored):
        yield fact, _identity(fact)


def of_catalogued(upload_id: str, dataset_id: str, files: Sequence[StoredFile]) -> Iterator[tuple[FileCatalogued, str]]:
    """Yield what says that these versions are datafiles of their dataset, and its id."""
    known = [CataloguedFile(file=one.file, state=one.state) for one in files]
    for fact in split(known, lambda some: FileCatalogued(upload_id=upload_id, dataset_id=dataset_id, files=some)):
        yield fact, _identity(fact)


def _identity(fact: FileStored | FileCatalogued) -> str:
    return natural_id(type(fact), fact.upload_id, *(item.file.key for item in fact.files))
