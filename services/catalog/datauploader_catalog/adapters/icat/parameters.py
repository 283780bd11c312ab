"""Parameters: each has a type of ICAT's, which is found by name and units, or made where the account may do so."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from datauploader.plugins.catalogue.ensure import ensure
from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogueForbids,
    CatalogueRefused,
    NotYetThere,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import NamedValue
from datauploader_catalog.adapters.icat import dates
from datauploader_catalog.adapters.icat.investigations import IcatInvestigations
from datauploader_catalog.adapters.icat.queries import entity, filled, reference
from datauploader_catalog.adapters.icat.refusals import AlreadyExists, NoSuchObject
from datauploader_catalog.adapters.icat.session import Document, IcatSession
from datauploader_catalog.settings import IcatSettings

_LARGEST_EXACT = 2**53
_DATASET = "SELECT o FROM Dataset o WHERE o.id = {id} INCLUDE o.parameters.type"
_DATAFILE = "SELECT o FROM Datafile o WHERE o.dataset.id = {dataset} AND o.name = {name} INCLUDE o.parameters.type"
_TYPE = "SELECT t FROM ParameterType t WHERE t.name = {name} AND t.units = {units} AND t.facility.name = {facility}"


class _Type(Document):
    id: int
    name: str
    units: str
    value_type: str = ""


class _HeldParameter(Document):
    id: int
    type: _Type


class _Owner(Document):
    id: int
    parameters: tuple[_HeldParameter, ...] = ()


_OWNERS = TypeAdapter(list[dict[str, _Owner]])
_TYPES = TypeAdapter(list[dict[str, _Type]])


class Parameters:
    """Sets parameters; may be used from any number of threads."""

    def __init__(self, settings: IcatSettings, session: IcatSession, investigations: IcatInvestigations) -> None:
        self._settings, self._session = settings, session
        self._investigations = investigations
        self._types: dict[tuple[str, str], _Type] = {}
        """By name and units; ICAT's types hardly ever change."""

    def attach(self, dataset_id: str, parameters: Sequence[NamedValue], datafile: str | None) -> None:
        """Set parameters of a dataset or of one of its datafiles, all or none."""
        try:
            self._attach(dataset_id, parameters, datafile)
        except NoSuchObject:  # a type was removed since it was asked for
            self._types.clear()
            self._attach(dataset_id, parameters, datafile)

    def _attach(self, dataset_id: str, parameters: Sequence[NamedValue], datafile: str | None) -> None:
        kind = "Dataset" if datafile is None else "Datafile"
        owner = self._owner(dataset_id, datafile)
        rows: dict[int, dict[str, Any]] = {}
        for one in parameters:
            chosen = self._type(one, kind)
            held = _held(owner.parameters, chosen)
            row: dict[str, Any] = {"id": held.id} if held else {kind.lower(): reference(owner.id)}
            if held is None or held.type.id != chosen.id:
                row["type"] = reference(chosen.id)
            rows[chosen.id] = row | _value(one, chosen)
        try:
            self._session.write([entity(f"{kind}Parameter", row) for row in rows.values()])
        except AlreadyExists as error:
            raise NotYetThere(f"Somebody else sets the same parameters ({error.words}); it is tried again.") from error

    def _owner(self, dataset_id: str, datafile: str | None) -> _Owner:
        dataset = int(dataset_id)
        query = filled(_DATASET, id=dataset) if datafile is None else filled(_DATAFILE, dataset=dataset, name=datafile)
        owner = next((one for row in self._session.search(query, _OWNERS) for one in row.values()), None)
        if owner is not None:
            return owner
        if datafile is None:
            raise CatalogueRefused(f"ICAT has no dataset {dataset_id}; it may have been removed there.")
        raise NotYetThere(f"ICAT has no datafile {datafile!r} in dataset {dataset_id} yet; it is tried again.")

    def _type(self, one: NamedValue, kind: str) -> _Type:
        """Return the type for a parameter of this name and these units."""
        key = one.name, one.units or self._settings.no_units
        if key not in self._types:
            self._types[key] = ensure(lambda: self._find_type(*key), lambda: self._create_type(*key, one, kind))
        return self._types[key]

    def _find_type(self, name: str, units: str) -> _Type | None:
        query = filled(_TYPE, name=name, units=units, facility=self._settings.facility)
        found = [one for row in self._session.search(query, _TYPES) for one in row.values()]
        return next((one for one in found if (one.name, one.units) == (name, units)), found[0] if found else None)

    def _create_type(self, name: str, units: str, one: NamedValue, kind: str) -> _Type | None:
        values = {
            "name": name,
            "units": units,
            "valueType": "STRING" if isinstance(one.value, str) else "NUMERIC",
            "facility": reference(self._investigations.facility_id()),
            "applicableToDataset": True,
            "applicableToDatafile": True,
        }
        try:
            self._session.write([entity("ParameterType", values)])
        except AlreadyExists:
            return None
        except CatalogueForbids as error:
            raise ValueRefused(
                f"ICAT has no type for the parameter {name!r} with units {units!r}, and does not let this service make "
                f"it. Ask its operators for one that is applicable to a {kind}.",
                words=error.words,
            ) from error
        made = self._find_type(name, units)
        if made is None:
            raise BadAnswer(
                f"ICAT does not show the type of the parameter {name!r} that it has just made; see its rules."
            )
        return made


def _held(parameters: Sequence[_HeldParameter], chosen: _Type) -> _HeldParameter | None:
    """Return the parameter that takes the new value: the one of this type, or of this name in other units."""
    same = [one for one in parameters if one.type.name == chosen.name]
    return next((one for one in same if one.type.id == chosen.id), same[0] if same else None)


def _value(one: NamedValue, chosen: _Type) -> dict[str, Any]:
    """Return the value in the field that ICAT's type asks for."""
    value = one.value
    match chosen.value_type:
        case "STRING":
            return {"stringValue": str(value)}
        case "NUMERIC" if not isinstance(value, str):
            if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
                raise ValueRefused(
                    f"Parameter {one.name!r} is {value}, which ICAT cannot hold exactly; give it as text."
                )
            return {"numericValue": float(value)}
        case "DATE_AND_TIME" if isinstance(value, str):
            try:
                return {"dateTimeValue": dates.of_text(value)}
            except ValueError:
                pass
    raise ValueRefused(
        f"Parameter {one.name!r} is {value!r}, but ICAT's type for it in {chosen.units!r} is {chosen.value_type}."
    )
