"""The detector itself: a thread that follows a plan and can be stopped between two frames."""

import threading
from itertools import count
from pathlib import Path
from typing import Self

import structlog

from datauploader_sandbox.detector.burst import write_burst
from datauploader_sandbox.detector.hostile import write_hostile
from datauploader_sandbox.detector.images import FrameSeries
from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.detector.logs import RotatingLog, ScanLog
from datauploader_sandbox.detector.nexus import nexus_scan
from datauploader_sandbox.detector.plan import Plan, Scan, scan_of

log = structlog.get_logger(__name__)


class Detector:
    """Write into a folder as a beamline's acquisition does: here and now (`run`), or in a thread (`start`)."""

    def __init__(self, folder: Path, ledger: Path, plan: Plan) -> None:
        if ledger.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"the ledger {ledger} must lie outside the watched folder {folder}")
        self._folder, self._plan, self._ledger_path = folder, plan, ledger
        self._stopping = threading.Event()
        self._log = RotatingLog(folder / "acquisition.log")
        self._thread = threading.Thread(target=self._run_in_thread, name="detector", daemon=True)
        self._failure: Exception | None = None

    def run(self) -> None:
        """Follow the plan to its end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with Ledger(self._ledger_path, self._folder) as ledger:
            self._write(ledger)
            log.info("detector_finished", files=ledger.files, bytes=ledger.bytes)

    def start(self) -> None:
        """Begin to follow the plan in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present frame; open files are closed as always."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, but no longer than so many seconds."""
        self._thread.join(timeout)

    def finish(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, and raise what went wrong in it."""
        self.join(timeout)
        if self.writing:
            raise TimeoutError(f"the detector is still writing into {self._folder} after {timeout} s")
        if self._failure is not None:
            raise self._failure

    @property
    def writing(self) -> bool:
        """Say whether the thread is still at work."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.finish()

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except Exception as failure:  # noqa: BLE001 - a thread hands its failure to the one who waits for it
            self._failure = failure

    def _write(self, ledger: Ledger) -> None:
        if self._plan.mode == "burst":
            write_burst(self._folder, self._plan, ledger, self._stopping.is_set)
        elif self._plan.mode == "hostile":
            write_hostile(self._folder, self._plan, ledger)
        else:
            self._write_scans(ledger)

    def _write_scans(self, ledger: Ledger) -> None:
        limit = self._plan.total_bytes
        for number in count(1):
            enough = limit is not None and ledger.bytes >= limit
            if enough or self._stopping.is_set() or (self._plan.scans and number > self._plan.scans):
                return
            self._write_scan(scan_of(self._plan, number), ledger)

    def _write_scan(self, scan: Scan, ledger: Ledger) -> None:
        folder = self._folder / scan.folder
        (folder / "frames").mkdir(parents=True)
        nexus, series = folder / f"{scan.name}.nxs", FrameSeries(folder / "frames", self._plan, scan)
        with ScanLog(folder / "λ scan log.txt") as scan_log:
            with nexus_scan(nexus, self._plan, scan) as file:
                for frame in range(1, self._plan.frames + 1):
                    file.append()
                    scan_log.line(f"{scan.name} frame {frame} of {self._plan.frames}")
                    ledger.wrote(series.write_frame(frame))
                    ledger.wrote(series.write_preview())
                    self._rest(ledger, nexus, scan_log.path)
                    if self._stopping.is_set():
                        break
            ledger.wrote(nexus)
        ledger.wrote(scan_log.path)
        for changed in self._log.line(f"{scan.started.isoformat()} {scan.name} of {scan.sample} is written"):
            ledger.wrote(changed)

    def _rest(self, ledger: Ledger, *growing: Path) -> None:
        if self._plan.resting_states:
            for path in growing:
                ledger.wrote(path, resting=True)
        self._stopping.wait(self._plan.seconds_per_frame)
