"""Where the folders of a station are on this machine: the same path beside the watcher, another one over a mount."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts import Station
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard


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


class SourceRoots:
    """The source roots: where files may come from, each where it really was when the service started."""

    def __init__(self, here: Station, maps: Sequence[RootMap], roots: Sequence[Path] = ()) -> None:
        """Take this machine's station, where others' folders are mounted, and which of its own may be read (none: any).

        A place on a drive that hangs counts by its name until the drive has answered.
        """
        self._here, self._maps, self._roots = here, tuple(maps), tuple(roots)
        self._hang_guard = HangGuard()
        self._real: dict[Path, Path] = {}
        for place in (*(entry.to for entry in maps), *roots):
            self._where(place)

    def folder_of(self, root: bytes, station: Station) -> Path:
        """Return where a station's folder is here; no part of the paths below it may be a link.

        Raises:
            Unmapped: the station is another machine and no map covers its folder, or it is this one and names a folder
                that is below none of the roots.
        """
        name = os.fsdecode(root)
        for entry in self._maps:
            if Station.parse(entry.station) == station and (rest := _below(name, entry.from_)) is not None:
                return self._where(entry.to).joinpath(*rest)
        if station != self._here:
            raise Unmapped(f"{name} of {station} is not known on this machine: add it to root_maps in [transfer]")
        if self._roots and not any(
            Path(os.path.normpath(name)).is_relative_to(self._where(one)) for one in self._roots
        ):
            raise Unmapped(f"{name} is below none of the folders in roots of [transfer]: add it there")
        return Path(name)

    def _where(self, place: Path) -> Path:
        if place not in self._real:
            try:
                self._real[place] = Path(
                    self._hang_guard.call_with_deadline(place, lambda: os.path.realpath(place), "where")
                )
            except DriveTimeout:
                return place
        return self._real[place]


def paths_below(folder: Path, paths: Iterable[bytes]) -> list[str]:
    """Return the local paths of files of a station, given by their paths below its folder."""
    start = os.path.join(folder, "")  # noqa: PTH118 - text is cheaper, and there is one for each file
    return [start + os.fsdecode(path).replace("/", os.sep) for path in paths]


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
