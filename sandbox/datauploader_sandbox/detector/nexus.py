"""A tomography scan as a NeXus file (NXtomo), written while it is measured: created, grown frame by frame, closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from datauploader_sandbox.detector.plan import Plan, Scan

ROTATION_STEP = 0.5  # degrees
FRAME_TIME = 0.25  # seconds, as the file says; how long the writing takes is the plan's business


class NexusScan:
    """One open NeXus file that grows."""

    def __init__(self, file: Any, plan: Plan, scan: Scan) -> None:
        import numpy as np  # noqa: PLC0415 - only the writers need numpy, and it is slow to import

        self._file, self._plan, self._scan = file, plan, scan
        self._random = np.random.default_rng(scan.seed)
        self._frames = 0
        self._describe()

    def append(self) -> None:
        """Measure one more frame and write it to the disk."""
        rows, columns = self._plan.shape
        frame = self._random.integers(0, 4096, size=(rows, columns), dtype="uint16")
        for name, value in (("data", frame), ("image_key", 0), ("rotation_angle", self._frames * ROTATION_STEP)):
            dataset = self._growing[name]
            dataset.resize(self._frames + 1, axis=0)
            dataset[self._frames] = value
        self._frames += 1
        self._file.flush()

    def finish(self) -> None:
        """Write what is known only at the end."""
        ended = self._scan.started + timedelta(seconds=self._frames * FRAME_TIME)
        self._file["entry"]["end_time"] = ended.isoformat()
        self._file["entry/control/data"][...] = self._frames

    def _describe(self) -> None:
        entry = group(self._file, "entry", "NXentry", default="data")
        entry["title"] = f"Tomography of {self._scan.sample}"
        entry["definition"] = "NXtomo"
        entry["start_time"] = self._scan.started.isoformat()
        entry["entry_identifier"] = self._scan.name
        self._describe_people_and_sample(entry)
        self._describe_instrument(entry)
        self._link_data(entry)

    def _describe_people_and_sample(self, entry: Any) -> None:
        user = group(entry, "user", "NXuser")
        user["name"], user["affiliation"], user["role"] = "Maria Rossi", "CERIC-ERIC", "principal_investigator"
        sample = group(entry, "sample", "NXsample")
        sample["name"] = self._scan.sample
        angle = sample.create_dataset("rotation_angle", (0,), maxshape=(None,), dtype="float64", chunks=(64,))
        angle.attrs["units"] = "degree"
        control = group(entry, "control", "NXmonitor")
        control["data"] = 0
        self._growing = {"rotation_angle": angle}

    def _describe_instrument(self, entry: Any) -> None:
        instrument = group(entry, "instrument", "NXinstrument")
        instrument["name"] = "SYRMEP"
        source = group(instrument, "source", "NXsource")
        source["name"], source["type"], source["probe"] = "Elettra", "Synchrotron X-ray Source", "x-ray"
        detector = group(instrument, "detector", "NXdetector")
        rows, columns = self._plan.shape
        self._growing["data"] = detector.create_dataset(
            "data", (0, rows, columns), maxshape=(None, rows, columns), chunks=(1, rows, columns), dtype="uint16"
        )
        self._growing["image_key"] = detector.create_dataset(
            "image_key", (0,), maxshape=(None,), dtype="int32", chunks=(64,)
        )
        detector["x_pixel_size"], detector["y_pixel_size"] = 9.0, 9.0
        detector["x_pixel_size"].attrs["units"] = detector["y_pixel_size"].attrs["units"] = "um"
        detector["count_time"] = FRAME_TIME

    def _link_data(self, entry: Any) -> None:
        data = group(entry, "data", "NXdata", signal="data", axes=["rotation_angle", ".", "."])
        data["data"] = entry["instrument/detector/data"]
        data["image_key"] = entry["instrument/detector/image_key"]
        data["rotation_angle"] = entry["sample/rotation_angle"]


@contextmanager
def nexus_scan(path: Path, plan: Plan, scan: Scan) -> Iterator[NexusScan]:
    """Have a NeXus file open for a scan, and finish and close it at the end."""
    import h5py  # noqa: PLC0415 - only this writer needs h5py, and it is slow to import

    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        writer = NexusScan(file, plan, scan)
        yield writer
        writer.finish()


def group(parent: Any, name: str, kind: str, **attributes: object) -> Any:
    """Make a group of a NeXus class."""
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    for attribute, value in attributes.items():
        made.attrs[attribute] = value
    return made
