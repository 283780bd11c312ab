"""Draws numbers: an image with robust contrast, a curve as a line; small, and whatever the numbers are."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from datauploader.contracts.pictures import LARGEST_PICTURE

Array = NDArray[Any]

SIDE = 256
"""Pixels of the longer side of an image."""
_DARK, _BRIGHT = 1.0, 99.5
"""Percentiles that become black and white: single hot or dead pixels do not decide."""
_MISSING = (58, 64, 110)
"""The colour of what is no number."""
_CURVE = (360, 216)
_INK, _LINE, _FAINT = (40, 44, 52), (32, 92, 170), (196, 200, 206)
_EDGES = (8, 8, 8, 22)
"""Pixels beside the curve: left, top, right, bottom."""


def draw_image(data: Array) -> bytes:
    """Draw rows and columns of numbers, or of red, green and blue."""
    small = _reduced(data)
    known = np.isfinite(small)
    if small.ndim == 2:  # noqa: PLR2004 - no colours
        grey = _scaled(small, known)
        pixels = np.repeat(grey[..., None], 3, axis=2)
        pixels[~known] = _MISSING
    else:
        pixels = small.astype(np.uint8) if data.dtype == np.uint8 else _scaled(small, known)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = SIDE / max(image.size)
    if factor > 1:  # pixels of the detector are to be seen as such
        whole = max(1, int(factor))
        image = image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    else:
        wide, high = (max(4, round(side * factor)) for side in image.size)
        image = image.resize((wide, high), Image.Resampling.BOX)
    for quality in (80, 50, 20):
        out = io.BytesIO()
        image.save(out, "WEBP", quality=quality, method=4)
        if out.tell() <= LARGEST_PICTURE:
            break
    return out.getvalue()


def draw_curve(values: Array, over: Array | None = None) -> bytes:
    """Draw a curve over its axis, or over the number of each point; a gap where there is no number."""
    y = values.astype(np.float64)
    x = np.arange(len(y), dtype=np.float64) if over is None else over.astype(np.float64)
    shown = np.isfinite(x) & np.isfinite(y)
    scale = 2  # drawn twice as large, and made smaller: smooth lines
    wide, high = (side * scale for side in _CURVE)
    left, top, right, bottom = (edge * scale for edge in _EDGES)
    image = Image.new("RGB", (wide, high), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, wide - right, high - bottom), outline=_FAINT, width=scale)
    if shown.any():
        spans = [(float(np.min(one[shown])), float(np.max(one[shown]))) for one in (x, y)]
        at_x = left + _along(x, spans[0]) * (wide - left - right)
        at_y = high - bottom - _along(y, spans[1]) * (high - top - bottom)
        for line in _lines(at_x, at_y, shown):
            draw.line(line, fill=_LINE, width=scale + 1, joint="curve")
        font = ImageFont.load_default(11 * scale)
        for number, place, anchor in (
            (spans[1][1], (left + 8, top + 6), "lt"), (spans[1][0], (left + 8, high - bottom - 6), "lb"),
            (spans[0][0], (left, high - 4), "lb"), (spans[0][1], (wide - right, high - 4), "rb"),
        ):  # fmt: skip
            draw.text(
                place, f"{number:.4g}", fill=_INK, font=font, anchor=anchor, stroke_width=2 * scale, stroke_fill="white"
            )
    out = io.BytesIO()
    image.resize(_CURVE, Image.Resampling.LANCZOS).quantize(32).save(out, "PNG", optimize=True)
    return out.getvalue()


def _reduced(data: Array) -> Array:
    """Return the means of squares of pixels, so that the longer side has at most twice as many as are drawn."""
    step = math.ceil(max(data.shape[:2]) / (2 * SIDE))
    if data.nbytes > 64 * 1024**2:  # a file that is only mapped: of its pixels some
        data, step = data[::step, ::step], 1
    rows, columns = (max(1, side // step) for side in data.shape[:2])
    cut = data[: rows * step, : columns * step]
    high, wide = (max(1, size // many) for size, many in zip(cut.shape[:2], (rows, columns), strict=True))
    squares = cut.reshape(rows, high, columns, wide, *cut.shape[2:])
    if data.dtype.kind != "f":
        return np.asarray(squares.mean(axis=(1, 3), dtype=np.float32))
    known = np.isfinite(squares)
    with np.errstate(all="ignore"):
        total = np.where(known, squares, 0).sum(axis=(1, 3), dtype=np.float64)
        return np.asarray(total / known.sum(axis=(1, 3)))  # of nothing: no number


def _scaled(small: Array, known: Array) -> NDArray[np.uint8]:
    if not known.any():
        return np.zeros(small.shape, np.uint8)
    numbers = small[known].astype(np.float64)
    dark, bright = np.percentile(numbers, [_DARK, _BRIGHT])
    if bright <= dark:
        dark, bright = numbers.min(), numbers.max()
    if bright <= dark:
        return np.full(small.shape, 128, np.uint8)
    filled = np.where(known, small, dark).astype(np.float64)
    return np.asarray((np.clip(_along(filled, (dark, bright)), 0, 1) * 255).astype(np.uint8))


def _along(numbers: Array, span: tuple[float, float]) -> Array:
    """Return where numbers lie in a span, from 0 to 1."""
    low, high = span
    width = high / 2 - low / 2  # half of it, which is finite
    return np.asarray((numbers / 2 - low / 2) / width) if width > 0 else np.full(numbers.shape, 0.5)


def _lines(x: Array, y: Array, shown: Array) -> list[list[tuple[float, float]]]:
    """Return the lines between gaps; of very many points the lowest and the highest of each column of pixels."""
    lines: list[list[tuple[float, float]]] = []
    many = len(x) > 4 * _CURVE[0]
    for part in np.split(np.arange(len(x)), np.flatnonzero(np.diff(shown)) + 1):
        if not shown[part[0]]:
            continue
        points = [(float(a), float(b)) for a, b in zip(x[part], y[part], strict=True)]
        if many:
            columns: dict[int, list[tuple[float, float]]] = {}
            for point in points:
                columns.setdefault(round(point[0]), []).append(point)
            points = [
                ends for column in columns.values() for ends in (min(column, key=_height), max(column, key=_height))
            ]
        lines.append(points if len(points) > 1 else points * 2)
    return lines


def _height(point: tuple[float, float]) -> float:
    return point[1]
