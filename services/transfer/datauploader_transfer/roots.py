"""Where the folders of a station are on this machine: the same path beside the watcher, another one over a mount."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts import Station


class RootMap(BaseModel):
    """One folder of a station and the place where it is mounted here."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    station: str
    """`facility.beamline.station`."""
    from_: str = Field(alias="from")
    """The folder as the station calls it, such as `D:\\data` or `/data`."""
    to: Path
    """The same folder here."""


class Unmapped(Exception):
    """A station's folder is not known on this machine; the message says how to make it known."""


def locate(
    root: bytes, path: bytes, station: Station, here: Station, maps: Sequence[RootMap], roots: Sequence[Path] = ()
) -> Path:
    """Return the local path of a station's file.

    Raises:
        Unmapped: the station is another machine and no map covers its folder, or it is this one and names a folder
            that is below none of `roots`.
    """
    for entry in maps:
        if Station.parse(entry.station) == station and (rest := _below(os.fsdecode(root), entry.from_)) is not None:
            return entry.to.joinpath(*rest, *os.fsdecode(path).split("/"))
    if station != here:
        raise Unmapped(
            f"{os.fsdecode(root)} of {station} is not known on this machine: add it to root_maps in [transfer]"
        )
    if roots and not _allowed(os.path.normpath(os.fsdecode(root)), roots):
        raise Unmapped(f"{os.fsdecode(root)} is below none of the folders in roots of [transfer]: add it there")
    return Path(os.fsdecode(root), *os.fsdecode(path).split("/"))


def _allowed(root: str, roots: Sequence[Path]) -> bool:
    """Tell whether a folder lies below one of the roots; these are asked where they really are only if need be."""
    return any(Path(root).is_relative_to(one) for one in roots) or any(
        Path(root).is_relative_to(os.path.realpath(one)) for one in roots
    )


def _below(root: str, prefix: str) -> list[str] | None:
    """Return the parts of `root` below `prefix`, or None when it lies elsewhere; either kind of slash serves."""
    windows = "\\" in prefix or prefix[1:2] == ":"

    def parts(text: str) -> list[str]:
        split = text.replace("\\", "/").split("/") if windows else text.split("/")
        return [part.lower() if windows else part for part in split if part]

    have, want = parts(root), parts(prefix)
    if have[: len(want)] != want:
        return None
    raw = [part for part in (root.replace("\\", "/") if windows else root).split("/") if part]
    return raw[len(want) :]
