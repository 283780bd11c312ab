"""Frames as TIFF files: each under a temporary name first, then renamed; and a preview that is overwritten."""

from pathlib import Path
from typing import Any

from datauploader_sandbox.detector.plan import Plan, Scan


class FrameSeries:
    """The TIFF files of one scan."""

    def __init__(self, folder: Path, plan: Plan, scan: Scan) -> None:
        import numpy as np  # noqa: PLC0415 - only the writers need numpy, and it is slow to import

        self._folder, self._shape = folder, plan.shape
        self._random = np.random.default_rng(scan.seed + 1)

    def write_frame(self, number: int) -> Path:
        """Write a frame as `.frame_0001.tif.tmp` and rename it to `frame_0001.tif`."""
        final = self._folder / f"frame_{number:04d}.tif"
        temporary = final.with_name(f".{final.name}.tmp")
        write_tiff(temporary, self._image())
        return temporary.replace(final)

    def write_preview(self) -> Path:
        """Overwrite the preview in place, under the name that it always has."""
        path = self._folder.parent / "preview.tif"
        write_tiff(path, self._image()[::2, ::2])
        return path

    def _image(self) -> Any:
        return self._random.integers(0, 65535, size=self._shape, dtype="uint16")


def write_tiff(path: Path, image: Any) -> None:
    """Write one image as a plain TIFF file, with nothing in it that depends on the time."""
    import tifffile  # noqa: PLC0415 - only this writer needs tifffile, and it is slow to import

    tifffile.imwrite(path, image, photometric="minisblack", metadata=None)
