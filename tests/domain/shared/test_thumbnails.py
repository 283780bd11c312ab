"""The harvester of thumbnails: something to see of each kind of file, from a slice of it, whatever the numbers are."""

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from datauploader.contracts import Picture
from datauploader.plugins.harvester import QuickLook
from datauploader_harvester_thumbnails.reader import read


def drawn(path: Path) -> list[tuple[str, Image.Image]]:
    """Read a file, and open its pictures as somebody else would."""
    found = [(one.title, one.data) for one in read(path)]
    for title, data in found:
        assert Picture.of(data, title).title == title
    return [(title, Image.open(io.BytesIO(data)).convert("RGB")) for title, data in found]


def ramp(dtype: Any = np.float64, rows: int = 300, columns: int = 400) -> Any:
    """Make an image that grows brighter from left to right."""
    return np.tile(np.linspace(0, 200, columns), (rows, 1)).astype(dtype)


def brightness(image: Image.Image) -> tuple[int, int]:
    """Return how bright the left and the right of an image are."""
    values = np.asarray(image.convert("L"), dtype=int)
    return int(values[5:-5, 3].mean()), int(values[5:-5, -4].mean())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.float32, np.float64])
def test_a_tiff_of_any_depth_is_drawn_with_its_contrast(tmp_path: Path, dtype: Any) -> None:
    """One hot pixel and a few that are no number leave the rest to be seen."""
    data = ramp(dtype)
    data[0, 0] = 255 if dtype == np.uint8 else 30_000
    if np.issubdtype(dtype, np.floating):
        data[100:110, 100:110] = np.nan
        data[0, 1] = np.inf
    tifffile.imwrite(tmp_path / "a.tif", data)
    ((title, image),) = drawn(tmp_path / "a.tif")
    assert (title, image.size) == ("", (256, 192))
    left, right = brightness(image)
    assert left < 40
    assert right > 200


def test_of_many_pages_the_middle_one_is_drawn(tmp_path: Path) -> None:
    """And said to be so; white may be zero."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in range(5):
            file.write(ramp() if page == 2 else np.zeros((8, 8)), photometric="minisblack")
    ((title, image),) = drawn(tmp_path / "a.tif")
    assert (title, image.size) == ("page 3 of 5", (256, 192))
    tifffile.imwrite(tmp_path / "b.tif", ramp(np.uint8), photometric="miniswhite")
    left, right = brightness(drawn(tmp_path / "b.tif")[0][1])
    assert left > right


def test_colours_and_large_and_tiny_pages_are_drawn(tmp_path: Path) -> None:
    """Colours stay; a page that is not compressed is read here and there, a small one is made larger."""
    colours = np.zeros((60, 80, 3), np.uint8)
    colours[..., 0] = 250
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    red, green, _ = drawn(tmp_path / "a.tif")[0][1].getpixel((100, 100))  # type: ignore[misc] # of RGB
    assert red > 200
    assert green < 50
    tifffile.imwrite(tmp_path / "b.tif", ramp(np.uint16, 5200, 5200))
    assert drawn(tmp_path / "b.tif")[0][1].size == (256, 256)
    tifffile.imwrite(tmp_path / "c.tif", ramp(np.uint16, 2, 16))
    assert drawn(tmp_path / "c.tif")[0][1].size == (256, 32)


def test_of_a_stack_a_slice_is_read_and_of_a_nexus_file_what_it_plots(tmp_path: Path) -> None:
    """The middle frame; a larger dataset beside it is not what its author shows."""
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        entry = file.create_group("entry")
        entry["other"] = np.zeros((40, 64, 64))
        data = entry.create_group("data")
        data.attrs["signal"] = "frames"
        stack = data.create_dataset("frames", (25, 300, 400), chunks=(1, 300, 400), compression="gzip", dtype="u2")
        stack[12] = ramp(np.uint16)
        file["link"] = h5py.ExternalLink("other.h5", "/frames")
    (first, image), (second, _) = drawn(tmp_path / "a.nxs")
    assert (first, second) == ("entry/data/frames, frame 13 of 25", "entry/other, frame 21 of 40")
    left, right = brightness(image)
    assert left < 40
    assert right > 200


@pytest.mark.parametrize("many", [50, 5000])
def test_a_curve_is_drawn_over_its_axis(tmp_path: Path, many: int) -> None:
    """With a gap where there is no number; a file of images shows no curve that nobody plots."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["default"] = "scan"
        scan = file.create_group("scan")
        scan.attrs["signal"], scan.attrs["axes"] = "counts", ["energy"]
        scan["energy"] = np.linspace(7000, 7200, many)
        counts = np.sin(np.linspace(0, 9, many))
        counts[many // 3 : many // 2] = np.nan
        scan["counts"] = counts
        scan["monitor"] = np.ones(many)
    ((title, image),) = drawn(tmp_path / "a.h5")
    assert (title, image.size) == ("scan/counts over energy", (360, 216))
    blue = (np.asarray(image, dtype=int)[10:190, 10:350, 2] - np.asarray(image, dtype=int)[10:190, 10:350, 0]) > 60
    inked = blue.any(axis=0)
    assert inked[:90].mean() > 0.8
    assert not inked[120:165].any()


@pytest.mark.parametrize(
    "values", [[np.nan] * 9, [1.0] * 9, [1e308, -1e308] * 5, [0.0] * 8 + [np.inf]], ids=["nan", "flat", "huge", "inf"]
)
def test_numbers_that_leave_nothing_to_scale_are_drawn_all_the_same(tmp_path: Path, values: list[float]) -> None:
    """As a curve and as an image."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["curve"] = values
    tifffile.imwrite(tmp_path / "a.tif", np.array([values] * 9))
    assert len(drawn(tmp_path / "a.h5")) == len(drawn(tmp_path / "a.tif")) == 1


def test_what_unfolds_too_much_or_is_damaged_is_said_and_the_rest_is_drawn(tmp_path: Path) -> None:
    """A bomb costs nothing; what is neither TIFF nor HDF5 lacks no picture."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("bomb", (4000, 200, 200), chunks=(4000, 200, 200), compression="gzip", dtype="u1")
        file["small"] = ramp()
    found: list[QuickLook] = []
    with pytest.raises(ValueError, match="bomb: reading one frame would unfold 1 chunks of 156250 KiB"):
        found.extend(read(tmp_path / "a.h5"))
    (tmp_path / "b.h5").write_bytes(b"\x0e\x03\x13\x01 HDF4")
    assert list(read(tmp_path / "b.h5")) == []
    whole = tmp_path / "c.tif"
    tifffile.imwrite(whole, ramp())
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match="failed to read"):
        list(read(whole))
