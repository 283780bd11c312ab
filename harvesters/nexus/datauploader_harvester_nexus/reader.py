"""Reads what a NeXus file says about itself, and says what it has left alone of it.

Fields and classes: NeXus manual, base classes NXentry, NXinstrument, NXsample, NXuser
(https://manual.nexusformat.org/classes/base_classes/).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import h5py

from datauploader.contracts import Parameter
from datauploader.plugins.file_reader import passes
from datauploader.plugins.file_reader.parameter_validator import LONGEST_TEXT

MOST_VALUES = 1000
"""Values of one array; longer ones are left alone."""
_LONGEST = LONGEST_TEXT + 1
"""Characters of one text: one more than are kept, so that it is said that it was shortened."""
MOST_ENTRIES = 20
MOST_GROUPS = 20
"""Groups of one class in an entry."""
MOST_LOOKS = 2000
"""Members of groups that are looked at in one file."""
MOST_LINKS = 8
"""Soft links on the way to one member."""
LARGEST = 64 * 1024
"""Bytes that a value, or the chunk that holds it, may have: deflate makes at most a thousand times as many of them."""
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
_BEAMS = ("NXmonochromator", "NXbeam")
MOST_SAID = 10
"""Things left alone in one file that are said by name."""
_DAMAGE = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""How h5py says that a part of a file is damaged."""

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
BEAM = {"energy": ("energy", "incident_energy"), "wavelength": ("wavelength", "incident_wavelength")}
"""What is told of the beam, by its names in NXmonochromator, NXbeam and older files."""


def read(path: Path) -> Iterator[Parameter]:
    """Yield title, times, definition, beam, instrument, samples and users of every entry.

    Parameters are called `title` or, where a file has several entries, `<entry>/title`.

    Raises:
        OSError: the file is no HDF5 or cannot be read.
        ValueError: something was left alone; comes last, after all that was read.
    """
    with h5py.File(path, "r", locking=False) as file:
        one = _Look()
        found = ((name, group) for name, group, kind in _groups(file, one) if kind == "NXentry")
        entries = list(islice(found, MOST_ENTRIES))
        if next(found, None):
            one.leave("entries", f"only the first {MOST_ENTRIES} are read")
        said: set[str] = set()
        for name, entry in entries:
            prefix = f"{name}/" if len(entries) > 1 else ""
            for parameter in _entry(entry, prefix, one):
                if parameter.name not in said:
                    said.add(parameter.name)
                    yield parameter
    if problem := one.problem():
        raise ValueError(problem)


@dataclass(slots=True)
class _Look:
    """How much of one file may still be looked at, and what was left alone of it."""

    looks: Iterator[int] = field(default_factory=lambda: iter(range(MOST_LOOKS)))
    left: dict[str, str] = field(default_factory=dict)

    def leave(self, label: str, why: str) -> None:
        """Note what is not told, and why."""
        self.left.setdefault(label, why)

    def problem(self) -> str:
        """Say what was left alone, "" for nothing."""
        if next(self.looks, None) is None:
            self.leave("groups", f"only {MOST_LOOKS} members of groups are looked at in one file")
        said = [f"{label}: {why}" for label, why in islice(self.left.items(), MOST_SAID)]
        if more := len(self.left) - len(said):
            said.append(f"and {more} more")
        return "; ".join(said)


def _entry(entry: h5py.Group, prefix: str, one: _Look) -> Iterator[Parameter]:
    for wanted in FIELDS:
        yield from _parameter(entry, wanted, prefix + wanted, one)
    inner = list(_groups(entry, one))
    yield from _beam(inner, prefix, one)
    for kind, word in NAMED.items():
        of_kind = ((name, group) for name, group, its in inner if its == kind)
        for number, (name, group) in enumerate(islice(of_kind, MOST_GROUPS)):
            label = prefix + (word if number == 0 else f"{word}_{number + 1}")
            found = list(_parameter(group, "name", label, one))
            if not found and kind == "NXinstrument":
                found = [Parameter(name=label, value=_attribute(group, "short_name") or name)]
            yield from found
        if next(of_kind, None):
            one.leave(f"{prefix}{word}", f"only the first {MOST_GROUPS} are read")


def _beam(inner: list[tuple[str, h5py.Group, str | None]], prefix: str, one: _Look) -> Iterator[Parameter]:
    """Yield energy and wavelength of the beam, of the first place that has them: definitions differ in it."""
    places: list[h5py.Group] = []
    for wanted in ("NXinstrument", "NXsample"):
        for _, group, kind in [member for member in inner if member[2] == wanted][:MOST_GROUPS]:
            within = list(_groups(group, one))
            places += [member for name, member, its in within if its in _BEAMS or name == "monochromator"]
            places += [group] if kind == "NXsample" else []
    places += [group for _, group, kind in inner if kind in (*_BEAMS, "NXmonitor")]
    for label, names in BEAM.items():
        found = (
            parameter
            for place in places
            for name in names
            if not isinstance(_member(place, name), h5py.Group | None)
            for parameter in _parameter(place, name, prefix + label, one)
        )
        yield from islice(found, 1)


def _groups(parent: h5py.Group, one: _Look) -> Iterator[tuple[str, h5py.Group, str | None]]:
    """Yield the subgroups, and their NX_class, while looks are left; links that lead nowhere are passed over."""
    for name, _ in zip(parent, one.looks, strict=False):
        member = _member(parent, name)
        if isinstance(member, h5py.Group):
            yield name, member, _attribute(member, "NX_class")


def _member(parent: h5py.Group, name: str, links: int = MOST_LINKS) -> object:
    """Open a member; None for a link to nowhere or into another file, or a damaged object.

    A file comes from its author, who may have written the name of any other file into it: what that one says would
    become known to everybody who sees the dataset, and a pipe would never open. So a soft link is followed name by
    name, and a link into another file is not even opened.
    """
    try:
        link = parent.get(name, getlink=True)
        if isinstance(link, h5py.HardLink):
            return parent[name]
        if not isinstance(link, h5py.SoftLink) or links == 0:
            return None
        found: object = parent.file if link.path.startswith("/") else parent
        for part in link.path.split("/")[: 10 * MOST_LINKS]:
            if part not in ("", "."):
                found = _member(found, part, links - 1) if isinstance(found, h5py.Group) else None
    except _DAMAGE as error:
        _forgive(error)
        return None
    return found


def _parameter(group: h5py.Group, wanted: str, label: str, one: _Look) -> Iterator[Parameter]:
    try:
        if group.get(wanted, getlink=True) is None:
            return
        dataset = _member(group, wanted)
        why = _why_not(dataset)
        if why or not isinstance(dataset, h5py.Dataset):
            one.leave(label, why)
            return
        value, units = _value(dataset[()]), _attribute(dataset, "units")
        if units is None and "units" in dataset.attrs:
            one.leave(f"units of {label}", "they are no short text")
    except _DAMAGE as error:
        _forgive(error)
        one.leave(label, "it is damaged")
        return
    if isinstance(value, float) and value - value != 0:
        one.leave(label, f"its value is {value}, which is not a number")  # neither infinite nor NaN travels in JSON
    elif value is not None:
        yield Parameter(name=label[-200:], value=value, units=(units or "")[:60])


def _why_not(member: object) -> str:
    """Say why a member is not read as a value, "" where it is."""
    if member is None:
        return "it is a link to nowhere or into another file"
    if not isinstance(member, h5py.Dataset):
        return "it is a group, not a value"
    if member.external or member.is_virtual:  # in raw or HDF5 files that it names
        return "its value is in another file"
    return "" if _is_small(member) else f"it takes more than {LARGEST // 1024} KiB to read, or is not text or a number"


def _forgive(error: Exception) -> None:
    """Go on behind what is damaged; where the storage is the trouble, the whole file is to be read later."""
    if passes(error):
        raise error


def _is_small(dataset: h5py.Dataset) -> bool:
    """Tell whether reading it needs little memory, whatever the file says of its shape.

    Texts of any length lie elsewhere in the file, as often as they are named: of these one is read, not many. A
    compressed chunk unfolds as a whole, to a thousand times what is stored of it, and that again with each filter.
    """
    if dataset.size is None:  # an empty one
        return True
    if dataset.size > MOST_VALUES:
        return False
    if dataset.dtype.hasobject and not (h5py.check_string_dtype(dataset.dtype) and dataset.size == 1):
        return False
    if dataset.size * dataset.dtype.itemsize > LARGEST or dataset.id.get_storage_size() > LARGEST:
        return False
    return dataset.chunks is None or _unfolds_little(dataset)


def _unfolds_little(dataset: h5py.Dataset) -> bool:
    chunk = dataset.dtype.itemsize
    for length in dataset.chunks:
        chunk *= length
    made = dataset.id.get_create_plist()
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    return chunk <= LARGEST and set(filters) <= set(_FILTERS) and len(filters) == len(set(filters))


def _attribute(of: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """Return one text, of which the size is looked at first."""
    try:
        found = of.attrs.get_id(name)
        if found.get_storage_size() > LARGEST or found.shape not in ((), (1,)):
            return None
        return _text(of.attrs[name])
    except _DAMAGE as error:
        _forgive(error)
        return None


def _value(raw: object) -> str | int | float | bool | None:
    """Return a scalar: of an array the only element, or all of them as text."""
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    while isinstance(raw, list | tuple) and len(raw) == 1:
        raw = raw[0]
    return raw if isinstance(raw, bool | int | float) else _text(raw)


def _text(raw: object) -> str | None:
    if raw is None or isinstance(raw, h5py.Empty):
        return None
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    if isinstance(raw, list | tuple):
        return ", ".join(filter(None, (_text(item) for item in raw)))[:_LONGEST] or None
    if isinstance(raw, bytes):
        raw = raw[: 4 * _LONGEST].decode("utf-8", "replace")
    text = "".join(char if char.isprintable() else " " for char in str(raw)[:_LONGEST]).strip()
    return text or None
