"""What there is to see in an HDF5 file: the middle frame of a stack, or a curve; of each no more than a slice is read.

What a NeXus file plots by default comes first: the signals of its NXdata (NeXus manual, NXdata).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from datauploader.plugins.file_reader import passes
from datauploader.plugins.harvester import QuickLook
from datauploader_harvester_thumbnails.drawing import Array, draw_curve, draw_image

MOST_LOOKS = 2000
"""Members of groups that are looked at in one file."""
DEEPEST = 12
"""Groups within groups."""
MOST_IMAGES, MOST_CURVES = 2, 2
SMALLEST = 8
"""Rows, columns or points that are worth a picture."""
LARGEST_FRAME = 32 * 1024**2
"""Bytes of a frame that is read as a whole; of a larger one some rows."""
LARGEST_CHUNK = 64 * 1024**2
"""Bytes of a chunk, which unfolds as a whole."""
MOST_UNFOLDED = 512 * 1024**2
"""Bytes that all chunks together unfold to that a frame touches."""
MOST_POINTS = 1_000_000
_DAMAGE = (KeyError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Found:
    """A dataset that could be shown."""

    dataset: h5py.Dataset
    signal: bool
    """Its group says that it is what to plot."""
    axis: h5py.Dataset | None = None

    @property
    def rank(self) -> tuple[bool, int]:
        """What is said to be plotted first, then what is largest."""
        return not self.signal, -self.dataset.size


def datasets(path: Path) -> Iterator[QuickLook]:
    """Yield pictures of up to two stacks or images, and up to two curves.

    Raises:
        OSError: it cannot be read.
        ValueError: something was left alone; comes last.
    """
    left: list[str] = []
    with h5py.File(path, "r", locking=False) as file:
        looks = iter(range(MOST_LOOKS))
        found = list(_walk(file, looks, 0))
        images = sorted((one for one in found if _is_image(one.dataset)), key=lambda one: one.rank)
        curves = sorted((one for one in found if one.dataset.ndim == 1), key=lambda one: one.rank)
        if images or any(one.signal for one in curves):
            curves = [one for one in curves if one.signal]
        for one in (*images[:MOST_IMAGES], *curves[:MOST_CURVES]):
            name = one.dataset.name.lstrip("/")
            try:
                yield _image(one.dataset, name) if _is_image(one.dataset) else _curve(one, name)
            except _DAMAGE as error:
                if passes(error):
                    raise
                left.append(f"{name}: {error}")
    if left:
        raise ValueError("; ".join(left))


def _walk(group: h5py.Group, looks: Iterator[int], depth: int) -> Iterator[_Found]:
    """Yield datasets of numbers; no link is followed, because its author can have written any path into it."""
    signal, axis = _plotted(group)
    for name, _ in zip(group, looks, strict=False):
        try:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            member = group[name]
            if isinstance(member, h5py.Dataset) and _is_shown(member):
                yield _Found(member, name == signal or "signal" in member.attrs, axis if name == signal else None)
            elif isinstance(member, h5py.Group) and depth < DEEPEST:
                yield from _walk(member, looks, depth + 1)
        except _DAMAGE as error:
            if passes(error):
                raise


def _plotted(group: h5py.Group) -> tuple[str, h5py.Dataset | None]:
    """Return which member a group plots, and over which other."""
    try:
        signal, axes = group.attrs.get("signal", ""), group.attrs.get("axes", "")
        axis = axes if isinstance(axes, str) else str(axes[0]) if len(axes) == 1 else ""
        there = axis and isinstance(group.get(axis, getlink=True), h5py.HardLink)
        found = group[axis] if there else None
        shown = isinstance(found, h5py.Dataset) and found.ndim == 1 and _is_shown(found)
        return signal if isinstance(signal, str) else "", found if shown else None
    except _DAMAGE as error:
        if passes(error):
            raise
        return "", None


def _is_shown(dataset: h5py.Dataset) -> bool:
    if dataset.dtype.kind not in "iuf" or not dataset.size or dataset.external or dataset.is_virtual:
        return False
    return _is_image(dataset) or (dataset.ndim == 1 and dataset.shape[0] >= SMALLEST)


def _is_image(dataset: h5py.Dataset) -> bool:
    return bool(dataset.ndim >= 2 and min(dataset.shape[-2:]) >= SMALLEST)  # noqa: PLR2004 - rows and columns


def _image(dataset: h5py.Dataset, name: str) -> QuickLook:
    _check_chunks(dataset)
    middle = tuple(length // 2 for length in dataset.shape[:-2])
    rows, columns = dataset.shape[-2:]
    step = max(1, math.isqrt(rows * columns * dataset.dtype.itemsize // LARGEST_FRAME) + 1)
    whole = rows * columns * dataset.dtype.itemsize <= LARGEST_FRAME
    frame: Array = dataset[middle] if whole else dataset[(*middle, slice(None, None, step), slice(None, None, step))]
    frames = math.prod(dataset.shape[:-2])
    number = int(np.ravel_multi_index(middle, dataset.shape[:-2])) + 1 if middle else 1
    return QuickLook(draw_image(frame), f"{name}, frame {number} of {frames}" if frames > 1 else name)


def _curve(one: _Found, name: str) -> QuickLook:
    _check_chunks(one.dataset)
    step = -(-one.dataset.shape[0] // MOST_POINTS)
    values: Array = one.dataset[::step] if step > 1 else one.dataset[()]
    over = None
    if one.axis is not None and one.axis.shape == one.dataset.shape:
        _check_chunks(one.axis)
        over = one.axis[::step] if step > 1 else one.axis[()]
        name += f" over {one.axis.name.rpartition('/')[2]}"
    return QuickLook(draw_curve(values, over), name)


def _check_chunks(dataset: h5py.Dataset) -> None:
    """Refuse what unfolds to far more than is shown.

    Raises:
        ValueError: it does.
    """
    if dataset.chunks is None:
        return
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    touched = math.prod(-(-size // part) for size, part in zip(dataset.shape[-2:], dataset.chunks[-2:], strict=True))
    if chunk > LARGEST_CHUNK or touched * chunk > MOST_UNFOLDED:
        raise ValueError(f"reading one frame would unfold {touched} chunks of {chunk // 1024} KiB")
