"""Datafiles as VUO is told of them, and what it says that it holds of a dataset, as docs/catalogues/vuo.md assumes."""

import json

from pydantic import BaseModel, ValidationError

from datauploader.plugins.catalogue.inspection import RegisteredContents
from datauploader.plugins.catalogue.port import Datafile, NamedValue
from datauploader_catalog.adapters.vuo.answers import accepted, read_answer, unreadable

_in_json = json.JSONEncoder().encode
"""As `json.dumps`, which takes as long again to choose the encoder."""


class _HeldFile(BaseModel):
    path: str
    location: str
    size: int
    sha256: str
    mtime_ns: int


class _HeldValue(BaseModel):
    datafile: str
    name: str
    value: str | int | float
    units: str


class _Held(BaseModel):
    description: str
    datafiles: tuple[_HeldFile, ...]
    parameters: tuple[_HeldValue, ...]


def write_datafile(datafile: Datafile) -> str:
    """Write a datafile as compact JSON; the encoder would take five times as long for each of thousands."""
    return (
        f'{{"path":{_in_json(datafile.path)},"location":{_in_json(datafile.location)},"size":{datafile.size},'
        f'"sha256":"{datafile.checksum}","mtime_ns":{datafile.mtime_ns}}}'
    )


def read_contents(text: str) -> RegisteredContents:
    """Read the answer of `show_dataset`."""
    answer = accepted(read_answer(text))
    try:
        held = _Held.model_validate_json(answer.rest)
    except ValidationError as error:
        raise unreadable(text, "the JSON of a dataset was expected") from error
    return RegisteredContents(
        held.description,
        tuple(Datafile(one.path, one.location, one.size, one.sha256, one.mtime_ns) for one in held.datafiles),
        tuple((one.datafile, NamedValue(one.name, one.value, one.units)) for one in held.parameters),
    )
