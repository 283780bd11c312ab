"""What a check asks of ICAT beside the port: what a dataset holds, its removal, and ICAT's own traps."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter

from datauploader.plugins.catalogue.errors import CatalogueForbids, CatalogueRefused
from datauploader.plugins.catalogue.inspection import SCRATCH, Finding, Mark, RegisteredContents
from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset
from datauploader_catalog.adapters.icat import dates
from datauploader_catalog.adapters.icat.investigations import IcatInvestigations
from datauploader_catalog.adapters.icat.queries import entity, filled, reference
from datauploader_catalog.adapters.icat.refusals import TooMany
from datauploader_catalog.adapters.icat.session import Document, IcatSession, read
from datauploader_catalog.adapters.icat.wire import IcatWire
from datauploader_catalog.settings import IcatSettings

OLDEST, FEWEST = 6, 1000
"""The lowest version, and the lowest `maxEntities`, by which the adapter was written."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DESCRIPTION = "SELECT ds.description FROM Dataset ds WHERE ds.id = {id}"
_DATAFILES = (
    "SELECT df.id, df.name, df.location, df.fileSize, df.checksum, df.datafileModTime FROM Datafile df "
    "WHERE df.dataset.id = {id} AND df.id > {last} ORDER BY df.id LIMIT 0, {page}"
)
_PARAMETERS = (
    "SELECT p FROM DatasetParameter p WHERE p.dataset.id = {id} INCLUDE p.type",
    "SELECT p FROM DatafileParameter p WHERE p.datafile.dataset.id = {id} INCLUDE p.type, p.datafile",
)


class _ParameterKind(Document):
    id: int
    name: str
    units: str


class _OwningDatafile(Document):
    name: str


class _ShownParameter(Document):
    type: _ParameterKind
    datafile: _OwningDatafile | None = None
    string_value: str | None = None
    numeric_value: float | None = None
    date_time_value: str | None = None

    @property
    def value(self) -> str | float:
        """What is held, of whatever type."""
        if self.numeric_value is not None:
            return self.numeric_value
        return self.string_value or self.date_time_value or ""


class _Version(Document):
    version: str


class _Properties(Document):
    max_entities: int


_TEXTS = TypeAdapter(list[str | None])
_ROWS = TypeAdapter(list[tuple[int, str, str | None, int | None, str | None, str | None]])
_SHOWN = TypeAdapter(list[dict[str, _ShownParameter]])


class IcatInspection:
    """Looks closer at an ICAT than uploads need."""

    def __init__(
        self, settings: IcatSettings, wire: IcatWire, session: IcatSession, investigations: IcatInvestigations
    ) -> None:
        self._settings, self._wire, self._session, self._investigations = settings, wire, session, investigations

    def contents(self, dataset_id: int) -> RegisteredContents:
        """Read a dataset with its datafiles and parameters."""
        described = self._session.search(filled(_DESCRIPTION, id=dataset_id), _TEXTS)
        shown = [
            (one.datafile.name if one.datafile else "", NamedValue(one.type.name, one.value, self._units(one.type)))
            for one in self._parameters(dataset_id)
        ]
        return RegisteredContents((described or [""])[0] or "", tuple(self._datafiles(dataset_id)), tuple(shown))

    def remove(self, dataset_id: int) -> str:
        """Remove a dataset with all that ICAT removes with it, and the types that were made for its parameters."""
        types = {one.type.id: one.type.name for one in self._parameters(dataset_id)}
        ours = {number: name for number, name in types.items() if name.startswith(SCRATCH)}
        self._session.remove([entity("Dataset", reference(dataset_id))])
        try:
            if ours:
                self._session.remove([entity("ParameterType", reference(number)) for number in ours])
        except CatalogueForbids:
            return f"parameter types {', '.join(sorted(ours.values()))}"
        return ""

    def traps(self) -> Iterator[Finding]:
        """Look for what ICAT lets its operators choose."""
        version = read(TypeAdapter(_Version), self._wire.read("version")).version
        is_new = version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= OLDEST
        yield Finding(
            f"This is ICAT {OLDEST} or newer.", Mark.HOLDS if is_new else Mark.FAILS, f"version {version}",
            "" if is_new else "Nobody knows: the service speaks to it as to ICAT 6. Ask for a newer one.",
        )  # fmt: skip
        most = read(TypeAdapter(_Properties), self._wire.read("properties")).max_entities
        yield Finding(
            f"ICAT gives {FEWEST:,} entities or more at once.", Mark.HOLDS if most >= FEWEST else Mark.FAILS,
            f"maxEntities is {most}",
            "" if most >= FEWEST else "What is refused as too much is asked for in halves, which takes longer.",
        )  # fmt: skip
        duty = "ICAT has the type of datasets that the service makes."
        try:
            self._investigations.dataset_type(NewDataset("0", SCRATCH).type)
        except CatalogueRefused as error:
            yield Finding(duty, Mark.FAILS, str(error), "Every upload is refused with that sentence.")
        else:
            yield Finding(duty, Mark.HOLDS)

    def _parameters(self, dataset_id: int) -> list[_ShownParameter]:
        queries = (filled(query, id=dataset_id) for query in _PARAMETERS)
        return [one for query in queries for row in self._session.search(query, _SHOWN) for one in row.values()]

    def _datafiles(self, dataset_id: int) -> Iterator[Datafile]:
        last, page = 0, FEWEST
        while True:
            try:
                rows = self._session.search(filled(_DATAFILES, id=dataset_id, last=last, page=page), _ROWS)
            except TooMany:
                if page == 1:
                    raise
                page //= 2
                continue
            for last, name, location, size, checksum, moment in rows:  # noqa: B007 - the last one is needed below
                known = dates.read_moment(moment) - _EPOCH if moment else timedelta()
                nanoseconds = known // timedelta(microseconds=1) * 1000
                yield Datafile(name, location or "", size or 0, checksum or "", nanoseconds)
            if len(rows) < page:
                return

    def _units(self, kind: _ParameterKind) -> str:
        return "" if kind.units == self._settings.no_units else kind.units
