"""What a detector run will write: everything that follows from it is the same for the same seed."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Mode = Literal["scan", "burst", "hostile"]

SAMPLES = ("Lysozyme crystal 7", "α-Fe2O3 after annealing", "bone slice", "Ωμέγα alloy", "TiO2_film")  # noqa: RUF001 - Greek as people write it
FIRST_SCAN = datetime(2026, 1, 15, 8, 0, tzinfo=UTC)
SCAN_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Plan:
    """Say how much a detector writes, how fast, and how."""

    mode: Mode = "scan"
    seed: int = 1
    scans: int = 3
    frames: int = 10
    shape: tuple[int, int] = (64, 64)
    seconds_per_frame: float = 0.1
    total_bytes: int | None = None
    """In mode `scan`: begin no further scan after so many bytes."""
    files: int = 1000
    """In mode `burst`: how many files."""
    file_size: int = 20_000
    """In mode `burst`: bytes in each file."""
    resting_states: bool = True
    """Record what a growing file holds between two frames as well: somebody may have called it finished."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan of a plan: what a beamline would call it, and where its randomness comes from."""

    number: int
    sample: str
    started: datetime
    seed: int

    @property
    def name(self) -> str:
        """Name the scan as its folder and files are named."""
        return f"scan_{self.number:04d}"

    @property
    def folder(self) -> str:
        """Name the folder of the scan, relative to the watched one."""
        return f"{self.sample}/{self.name}"


def scan_of(plan: Plan, number: int) -> Scan:
    """Choose the sample and time of a scan (numbers begin at 1)."""
    dice = random.Random(f"{plan.seed}/{number}")
    sample = SAMPLES[(number - 1) % len(SAMPLES)]
    return Scan(number, sample, FIRST_SCAN + number * SCAN_EVERY, dice.getrandbits(32))
