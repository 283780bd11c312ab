"""Reads what a NeXus file says about itself, and forgives it everything that real files do.

Fields and classes: NeXus manual, base classes NXentry, NXinstrument, NXsample, NXuser
(https://manual.nexusformat.org/classes/base_classes/).
"""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import h5py

from datauploader.contracts import Parameter

LONGEST = 1000
"""Characters of one value; longer ones are cut."""
MOST_ENTRIES = 20
LARGEST = 1024 * 1024
"""Bytes that a value, or the chunk that holds it, may have when it is read."""

FIELDS = (
    "title",
    "definition",
    "start_time",
    "end_time",
    "experiment_identifier",
    "entry_identifier",
    "run_number",
    "duration",
)
NAMED = {"NXinstrument": "instrument", "NXsample": "sample", "NXuser": "user"}


def read(path: Path) -> Iterator[Parameter]:
    """Return title, times, definition, instrument, samples and users of every entry.

    Parameters are called `title` or, where a file has several entries, `<entry>/title`.

    Raises:
        OSError: the file is no HDF5 or cannot be read.
    """
    with h5py.File(path, "r") as file:
        entries = list(islice(_groups(file, "NXentry"), MOST_ENTRIES))
        found: dict[str, Parameter] = {}
        for name, entry in entries:
            prefix = f"{name}/" if len(entries) > 1 else ""
            for parameter in _entry(entry, prefix):
                found.setdefault(parameter.name, parameter)
        yield from found.values()


def _entry(entry: h5py.Group, prefix: str) -> Iterator[Parameter]:
    for field in FIELDS:
        yield from _parameter(entry, field, prefix + field)
    for kind, word in NAMED.items():
        for number, (name, group) in enumerate(_groups(entry, kind)):
            label = prefix + (word if number == 0 else f"{word}_{number + 1}")
            found = list(_parameter(group, "name", label))
            if not found and kind == "NXinstrument":
                found = [Parameter(name=label, value=name)]
            yield from found


def _groups(parent: h5py.Group, kind: str) -> Iterator[tuple[str, h5py.Group]]:
    """Yield the subgroups of one NX_class; links that lead nowhere are passed over."""
    for name in parent:
        member = _member(parent, name)
        if isinstance(member, h5py.Group) and _text(member.attrs.get("NX_class")) == kind:
            yield name, member


def _member(parent: h5py.Group, name: str) -> object:
    """Open a member; None for a link to nowhere or into another file, or a damaged object.

    A file comes from its author, who may have written the name of any other file into it: what that one says would
    become known to everybody who sees the dataset.
    """
    try:
        found = parent.get(name)
        is_ours = found is None or found.file.id == parent.file.id
    except (KeyError, OSError, RuntimeError, ValueError):
        return None
    return found if is_ours else None


def _parameter(group: h5py.Group, field: str, label: str) -> Iterator[Parameter]:
    dataset = _member(group, field)
    if not isinstance(dataset, h5py.Dataset) or not _is_small(dataset) or not _is_inside(dataset):
        return
    try:
        value, units = _value(dataset[()]), _text(dataset.attrs.get("units"))
    except (OSError, RuntimeError, ValueError, TypeError):
        return
    if value not in ("", None):
        yield Parameter(name=label, value=value, units=(units or "")[:60])


def _is_inside(dataset: h5py.Dataset) -> bool:
    """Tell whether the values lie in this file, not in raw or HDF5 files that it names."""
    return not dataset.external and not dataset.is_virtual


def _is_small(dataset: h5py.Dataset) -> bool:
    """Tell whether reading it needs little memory: a compressed chunk unfolds as a whole."""
    if dataset.size is None or dataset.size > LONGEST:
        return False
    elements = max(dataset.size, math.prod(dataset.chunks or ()))
    return bool(elements * dataset.dtype.itemsize <= LARGEST)


def _value(raw: object) -> str | int | float | bool | None:
    """Return a scalar: of an array the only element, or all of them as text."""
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    while isinstance(raw, list | tuple) and len(raw) == 1:
        raw = raw[0]
    if isinstance(raw, bool | int):
        return raw
    if isinstance(raw, float):
        return raw if raw - raw == 0 else None  # neither infinite nor NaN travels in JSON
    return _text(raw)


def _text(raw: object) -> str | None:
    if raw is None:
        return None
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    if isinstance(raw, list | tuple):
        return ", ".join(filter(None, (_text(item) for item in raw)))[:LONGEST] or None
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8", "replace")
    text = "".join(char if char.isprintable() else " " for char in str(raw)).strip()
    return text[:LONGEST] or None
