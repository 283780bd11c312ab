"""Chooses what there is to see in a file: by its first bytes, whatever its name."""

from collections.abc import Iterator
from pathlib import Path

from datauploader.plugins.harvester import QuickLook

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read(path: Path) -> Iterator[QuickLook]:
    """Yield pictures of a TIFF or HDF5 file; of anything else nothing, since no picture is missing there.

    Raises:
        OSError: the storage is the trouble, or the file is damaged.
        ValueError: something was left alone; comes last, after all that was drawn.
    """
    with path.open("rb") as file:
        begin = file.read(8)
    # each library takes a while to be loaded, and memory
    if begin[:4] in _TIFF:
        from datauploader_harvester_thumbnails.tiff import pages  # noqa: PLC0415

        yield from pages(path)
    elif begin == _HDF5:
        from datauploader_harvester_thumbnails.hdf5 import datasets  # noqa: PLC0415

        yield from datasets(path)
