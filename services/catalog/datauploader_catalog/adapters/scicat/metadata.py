"""Puts parameters into a dataset's scientific metadata, which many write, and leaves the others' as they were.

SciCat knows no metadata of single files: they stand below `datafiles`, by path. It percent-encodes the keys itself,
but takes one that looks encoded for encoded; such names are sent encoded. /api/v3 answers with names, /api/v4 with keys
as they are stored, or with names as well in later versions.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from datauploader.plugins.catalogue.errors import ValueRefused
from datauploader.plugins.catalogue.port import NamedValue
from datauploader_catalog.settings import ScicatSettings

FILES = "datafiles"
"""The key below which the metadata of files stand."""
_EXACT = 2**53
"""Beyond it, JavaScript does not know every whole number."""
_OF_MONGODB = {"language"}
"""By a text index as SciCat has it, MongoDB takes this for the language of a text, and fails where it is none."""
_STORED = re.compile(r"[A-Za-z0-9_!~*'()%-]*")
"""How keys look that are stored; an answer in which all look so is taken for one with keys."""
_LOST = {"__proto__"}
"""Names that JavaScript loses."""


class NoRoom(ValueRefused):
    """The metadata of a dataset's files have filled what is theirs."""


def merged(
    held: Mapping[str, Any],
    parameters: Sequence[NamedValue],
    datafile: str | None,
    api: str,
    settings: ScicatSettings,
) -> dict[str, Any] | None:
    """Return metadata in which these parameters stand, None where they do already.

    Raises:
        ValueRefused: SciCat cannot hold one of the values, or is not to hold so many.
    """
    held = _sendable(held, api)
    wanted = {parameter.name: _entry(parameter) for parameter in parameters}
    for name in (*wanted, datafile or "-"):
        if name in _LOST or (name == FILES and datafile is None):
            raise ValueRefused(f"SciCat cannot hold metadata of the name {name!r}; use another name.")
    if datafile is None:
        result = _with(held, wanted)
    else:
        found = _get(held, FILES)
        files = found if isinstance(found, dict) else {}
        one = _get(files, datafile)
        result = _with(held, {FILES: _with(files, {datafile: _with(one if isinstance(one, dict) else {}, wanted)})})
    if result == held:
        return None
    if datafile is not None and (size := _size(result[FILES])) > settings.file_metadata_bytes:
        raise NoRoom(
            f"SciCat has no place for metadata of single files; with these, they would take {size} bytes of the "
            f"dataset's, and {settings.file_metadata_bytes} are theirs "
            "(DATAUPLOADER_CATALOG_SCICAT__FILE_METADATA_BYTES)."
        )
    if (size := _size(result)) > settings.metadata_bytes:
        raise ValueRefused(
            f"The scientific metadata of the dataset and its files would have {size} bytes; SciCat is given no more "
            f"than {settings.metadata_bytes} (DATAUPLOADER_CATALOG_SCICAT__METADATA_BYTES)."
        )
    return result


def values_of(held: Mapping[str, Any], api: str) -> Iterator[tuple[str, NamedValue]]:
    """Yield each value that was put in, with the path of its datafile or ""; others' entries may have another form."""
    for name, value in (held if _are_names(held, api) else _unquoted(held)).items():
        if name != FILES:
            yield from _named("", name, value)
            continue
        for path, some in value.items():
            for one, inner in some.items():
                yield from _named(path, one, inner)


def key(name: str) -> str:
    """Write a name as a key that SciCat gives back as this name, and MongoDB does not take for something else."""
    if name in _OF_MONGODB:
        return f"%{ord(name[0]):02X}{name[1:]}"
    return quote(name, safe="!'()*").replace(".", "%2E") if unquote(name) != name else name


def _with(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which what is wanted stands; what is held with the same values stays as it is."""
    spelt = {unquote(one): one for one in held}
    result = dict(held)
    for name, value in wanted.items():
        known = spelt.get(name)
        if known is None or not _same(held[known], value):
            if known is not None:
                del result[known]
            result[key(name)] = value
    return result


def _sendable(held: Mapping[str, Any], api: str) -> dict[str, Any]:
    """Write what was answered so that SciCat, given it back, holds what it held."""
    return _spelt(held) if _are_names(held, api) else dict(held)


def _are_names(held: Mapping[str, Any], api: str) -> bool:
    return api == "v3" or not all(_STORED.fullmatch(one) for one in _keys(held))


def _unquoted(held: Mapping[str, Any]) -> dict[str, Any]:
    return {unquote(name): _unquoted(value) if isinstance(value, dict) else value for name, value in held.items()}


def _named(path: str, name: str, entry: Any) -> Iterator[tuple[str, NamedValue]]:
    if isinstance(entry, dict) and isinstance(entry.get("value"), (str, int, float)):
        yield path, NamedValue(name, entry["value"], str(entry.get("unit") or ""))


def _keys(held: Mapping[str, Any]) -> Iterator[str]:
    for name, value in held.items():
        yield name
        if isinstance(value, dict):
            yield from _keys(value)


def _spelt(held: Mapping[str, Any]) -> dict[str, Any]:
    return {key(name): _spelt(value) if isinstance(value, dict) else value for name, value in held.items()}


def _get(held: Mapping[str, Any], name: str) -> Any:
    return next((value for one, value in held.items() if unquote(one) == name), None)


def _same(held: Any, wanted: Mapping[str, Any]) -> bool:
    """Tell whether an entry is held already; SciCat adds the same in SI units to it."""
    if isinstance(held, dict) and wanted.keys() == {"value", "unit"}:
        return bool((held.get("value"), held.get("unit")) == (wanted["value"], wanted["unit"]))
    return bool(held == wanted)


def _size(metadata: Mapping[str, Any]) -> int:
    return len(json.dumps(metadata, ensure_ascii=False).encode())


def _entry(parameter: NamedValue) -> dict[str, Any]:
    value = parameter.value
    if isinstance(value, int) and abs(value) > _EXACT:
        raise ValueRefused(f"SciCat does not know a whole number such as {parameter.name} = {value}; give it as text.")
    return {"value": value, "unit": parameter.units}
