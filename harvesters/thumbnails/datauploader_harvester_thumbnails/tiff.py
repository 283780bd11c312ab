"""The middle page of a TIFF, of 8 to 64 bits, whole numbers or not, grey or in colours."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from datauploader.plugins.harvester import QuickLook
from datauploader_harvester_thumbnails.drawing import Array, draw_image

LARGEST = 48 * 1024**2
"""Bytes of a page that is read as a whole; of a larger one some rows and columns, where it is not compressed."""
_COLOURS = (3, 4)


def pages(path: Path) -> Iterator[QuickLook]:
    """Yield a picture of the middle page.

    Raises:
        OSError: the storage is the trouble.
        ValueError: it is damaged, or too large.
    """
    try:
        with tifffile.TiffFile(path) as file:
            number = len(file.pages)
            page = file.pages[number // 2]
            assert isinstance(page, tifffile.TiffPage)
            data = _pixels(page, path, number // 2)
            if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                data = data.max() - data
    except (tifffile.TiffFileError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"it is a damaged TIFF: {error}") from error
    yield QuickLook(draw_image(data), f"page {number // 2 + 1} of {number}" if number > 1 else "")


def _pixels(page: tifffile.TiffPage, path: Path, number: int) -> Array:
    size = int(np.prod(page.shape)) * (page.dtype.itemsize if page.dtype else 0)
    if size <= LARGEST:
        return _image(page.asarray(), page.axes)
    if not page.is_memmappable:
        raise ValueError(
            f"its page has {size // 1024**2} MiB and is compressed, of which at most {LARGEST // 1024**2} are read"
        )
    return _image(tifffile.memmap(path, page=number, mode="r"), page.axes)


def _image(data: Array, axes: str) -> Array:
    """Bring rows and columns to the front, then colours; of all else the first."""
    for axis in reversed(range(len(axes))):
        if axes[axis] not in "YXS":
            data = data.take(0, axis)
    left = [axis for axis in axes if axis in "YXS"]
    if "S" in left:
        data = np.moveaxis(data, left.index("S"), -1)
        return data[..., :3] if data.shape[-1] in _COLOURS else data[..., 0]
    return data
