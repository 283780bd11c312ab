"""The part of ICAT's schema that uploads touch, from org.icatproject.core.entity of icat.server 6.2."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "long", "double", "bool", "date", "value-type"]
VALUE_TYPES = ("DATE_AND_TIME", "NUMERIC", "STRING")
DEFAULT_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field that holds a value; the length of a text is counted in UTF-16 units, as Java does."""

    kind: Kind
    required: bool = False
    length: int = DEFAULT_LENGTH


@dataclass(frozen=True, slots=True)
class One:
    """A field that refers to one row of another entity; `many` is that one's field with all that refer to it."""

    target: str
    required: bool
    many: str


@dataclass(slots=True)
class Entity:
    """A table of ICAT's."""

    name: str
    attributes: dict[str, Attribute]
    ones: dict[str, One]
    key: tuple[str, ...]
    """The fields that are unique together."""
    manys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By field: the entity that refers to this one, and in which field."""


def _read_attribute(text: str) -> tuple[str, Attribute]:
    """Read `name`, `name!`, `name:511` or `name:date!`; an exclamation mark is for what may not be null."""
    required, text = text.endswith("!"), text.removesuffix("!")
    name, _, kind = text.partition(":")
    if kind.isdigit():
        return name, Attribute("text", required, int(kind))
    kinds: dict[str, Kind] = {"": "text", "long": "long", "double": "double", "bool": "bool", "date": "date"}
    return name, Attribute(kinds.get(kind, "value-type"), required)


def _read_one(text: str) -> tuple[str, One]:
    """Read `investigation:Investigation!/datasets`."""
    text, _, many = text.partition("/")
    required, text = text.endswith("!"), text.removesuffix("!")
    name, _, target = text.partition(":")
    return name, One(target, required, many)


_PARAMETER = "stringValue:4000 numericValue:double dateTimeValue:date rangeTop:double rangeBottom:double error:double"
_TABLE = f"""
Facility                | name! fullName description:1023 url                                             | | name
User                    | name! fullName givenName familyName affiliation email orcidId                    | | name
Instrument              | name! fullName description:4000 pid url                       | facility:Facility!/instruments | facility name
InstrumentScientist     | | user:User!/instrumentScientists instrument:Instrument!/instrumentScientists      | user instrument
InvestigationType       | name! description                                     | facility:Facility!/investigationTypes | name facility
Investigation           | name! visitId! title! summary:4000 doi startDate:date endDate:date releaseDate:date fileSize:long fileCount:long | facility:Facility!/investigations type:InvestigationType!/investigations | facility name visitId
InvestigationUser       | role! | user:User!/investigationUsers investigation:Investigation!/investigationUsers    | user investigation role
InvestigationInstrument | | investigation:Investigation!/investigationInstruments instrument:Instrument!/investigationInstruments | investigation instrument
DatasetType             | name! description                                           | facility:Facility!/datasetTypes | facility name
Dataset                 | name! complete:bool! description doi location:511 startDate:date endDate:date fileSize:long fileCount:long | investigation:Investigation!/datasets type:DatasetType!/datasets | investigation name
Datafile                | name! location:511 checksum description doi fileSize:long datafileCreateTime:date datafileModTime:date | dataset:Dataset!/datafiles | dataset name
ParameterType           | name! units! valueType:value-type! description pid unitsFullName enforced:bool! verified:bool! applicableToDatafile:bool! applicableToDataset:bool! applicableToInvestigation:bool! applicableToSample:bool! applicableToDataCollection:bool! minimumNumericValue:double maximumNumericValue:double | facility:Facility!/parameterTypes | facility name units
DatasetParameter        | {_PARAMETER} | dataset:Dataset!/parameters type:ParameterType!/datasetParameters                      | dataset type
DatafileParameter       | {_PARAMETER} | datafile:Datafile!/parameters type:ParameterType!/datafileParameters                   | datafile type
"""  # noqa: E501 - a table


def _read_schema() -> dict[str, Entity]:
    entities = {}
    for line in _TABLE.strip().splitlines():
        name, attributes, ones, key = (cell.split() for cell in line.split("|"))
        entities[name[0]] = Entity(
            name[0], dict(map(_read_attribute, attributes)), dict(map(_read_one, ones)), tuple(key)
        )
    for entity in entities.values():
        for field_name, one in entity.ones.items():
            entities[one.target].manys[one.many] = (entity.name, field_name)
    return entities


SCHEMA = _read_schema()
