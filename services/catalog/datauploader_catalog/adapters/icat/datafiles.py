"""Datafiles: arrays of them, each one transaction, and what is done when one of an array is there already.

A name is unique in its dataset, and icat.server writes an array wholly or not at all. So nothing can be doubled; the
work is to find out what is there, when an array was refused or its answer got lost, and to send the rest.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from pydantic import TypeAdapter

from datauploader.plugins.catalogue.batches import batches
from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogueRefused,
    CatalogueUnavailable,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import Datafile, Dataset
from datauploader_catalog.adapters.icat import dates
from datauploader_catalog.adapters.icat.queries import entity, filled, halves, in_lists, reference
from datauploader_catalog.adapters.icat.refusals import AlreadyExists, TooMany
from datauploader_catalog.adapters.icat.session import IcatSession
from datauploader_catalog.settings import IcatSettings

LONGEST_NAME = 255
"""Characters of a name, counted as Java does; a longer one is nowhere."""
ROUNDS = 3
"""How often an array is put together anew, because others wrote to the dataset meanwhile."""
_NAMES = 400
_FIND = (
    "SELECT df.id, df.name, df.location, df.fileSize, df.checksum, df.datafileModTime FROM Datafile df "
    "WHERE df.dataset.id = {dataset} AND df.name IN {names}"
)
_FIND_ONE = _FIND.replace("IN {names}", "= {names}")


class _HeldDatafile(NamedTuple):
    """A datafile as ICAT holds it."""

    id: int
    name: str
    location: str | None
    size: int | None
    checksum: str | None
    modified: str | None


_ROWS = TypeAdapter(list[_HeldDatafile])


class IcatDatafiles:
    """Registers datafiles; may be used from any number of threads."""

    def __init__(self, settings: IcatSettings, session: IcatSession) -> None:
        self._settings, self._session = settings, session
        self._unsure: set[str] = set()
        """Datasets to which something was sent that was not answered."""

    def register(self, dataset: Dataset, datafiles: Sequence[Datafile]) -> None:
        """Create datafiles, and give those that are there their new values."""
        latest = list({one.path: one for one in datafiles}.values())
        remaining = iter(latest)
        limits = self._settings
        rows = (_created(dataset.id, one) for one in latest)
        for batch in batches(rows, most=limits.batch_files, most_bytes=limits.batch_bytes):
            some = list(islice(remaining, len(batch)))
            if dataset.complete or dataset.id in self._unsure:
                self._sort_out(dataset, some)
                continue
            try:
                self._send(dataset.id, batch)
            except AlreadyExists:
                self._sort_out(dataset, some)
        self._unsure.discard(dataset.id)

    def _sort_out(self, dataset: Dataset, some: Sequence[Datafile]) -> None:
        """Look what is there, and send what is missing or has changed."""
        for _ in range(ROUNDS):
            held = self.find(dataset.id, [one.path for one in some])
            sent = [one for one in some if _differs(one, held.get(one.path))]
            if not sent:
                return
            if dataset.complete:
                self._require_same_bytes(dataset, sent, held)
                return
            rows = [_updated(held[one.path].id, one) if one.path in held else _created(dataset.id, one) for one in sent]
            try:
                self._send(dataset.id, rows)
            except AlreadyExists as error:
                twin = sent[error.offset] if 0 <= error.offset < len(sent) else None
                if twin and twin.path not in self.find(dataset.id, [twin.path]):
                    raise ValueRefused(
                        f"ICAT takes {twin.path!r} for another datafile of this dataset, because its database does "
                        f"not tell them apart: {error.words!r}.",
                        words=error.words,
                    ) from error
            else:
                return
        raise CatalogueUnavailable(f"Others write the same datafiles to dataset {dataset.id}; it is tried again.")

    def find(self, dataset_id: str, names: Sequence[str]) -> dict[str, _HeldDatafile]:
        """Return those of these datafiles that are there, by their exact names."""
        found: dict[str, _HeldDatafile] = {}
        for some in in_lists((name for name in names if _may_be_there(name)), _NAMES):
            alone = len(some) == 1
            query = filled(_FIND_ONE if alone else _FIND, dataset=int(dataset_id), names=some[0] if alone else some)
            try:
                found |= {one.name: one for one in self._session.search(query, _ROWS)}
            except TooMany:
                if alone:
                    raise
                for half in halves(some):
                    found |= self.find(dataset_id, half)
        return found

    def _send(self, dataset_id: str, rows: Sequence[str]) -> None:
        """Write an array; where its fate is not known, remember to look before anything else is sent."""
        try:
            self._session.write(rows)
        except (CatalogueUnavailable, BadAnswer):
            self._unsure.add(dataset_id)
            raise

    @staticmethod
    def _require_same_bytes(dataset: Dataset, sent: Sequence[Datafile], held: dict[str, _HeldDatafile]) -> None:
        for one in sent:
            known = held.get(one.path)
            if known is None or (known.checksum, known.size) != (one.checksum, one.size):
                raise CatalogueRefused(
                    f"Dataset {dataset.id} is complete, and {one.path!r} is not in it as it is now; put new files into "
                    "another dataset."
                )


def _may_be_there(name: str) -> bool:
    return len(name.encode("utf-16-le")) // 2 <= LONGEST_NAME


def _differs(wanted: Datafile, held: _HeldDatafile | None) -> bool:
    """Tell whether something is to be written; some databases keep moments to the second only."""
    if held is None or (held.checksum, held.size, held.location) != (wanted.checksum, wanted.size, wanted.location):
        return True
    moment = dates.read_moment(dates.of_nanoseconds(wanted.mtime_ns)).replace(microsecond=0)
    return held.modified is None or dates.read_moment(held.modified).replace(microsecond=0) != moment


def _values(one: Datafile) -> dict[str, object]:
    return {
        "location": one.location,
        "fileSize": one.size,
        "checksum": one.checksum,
        "datafileModTime": dates.of_nanoseconds(one.mtime_ns),
    }


def _created(dataset_id: str, one: Datafile) -> str:
    return entity("Datafile", {"name": one.path, "dataset": reference(dataset_id), **_values(one)})


def _updated(datafile_id: int, one: Datafile) -> str:
    return entity("Datafile", {"id": datafile_id, **_values(one)})
