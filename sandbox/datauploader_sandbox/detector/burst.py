"""Many small files in new nested folders, as fast as the disk takes them: what breaks watchers."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.detector.plan import Plan

FILES_PER_FOLDER = 50


def write_burst(root: Path, plan: Plan, ledger: Ledger, stopped: Callable[[], bool]) -> None:
    """Write the files; each folder is made just before the first file goes into it."""
    pool = random.Random(plan.seed).randbytes(plan.file_size + 4096)
    folder = root
    for number in range(plan.files):
        if stopped():
            return
        if number % FILES_PER_FOLDER == 0:
            group = number // FILES_PER_FOLDER
            folder = root / "burst" / f"{group // 100:02d}" / f"{group:04d}" / "frames"
            folder.mkdir(parents=True)
        content = content_of(pool, number, plan.file_size)
        path = folder / f"image_{number:06d}.cbf"
        path.write_bytes(content)
        ledger.wrote_bytes(path, hashlib.sha256(content).hexdigest(), len(content))


def content_of(pool: bytes, number: int, size: int) -> bytes:
    """Make a file's content: its number, then a stretch of the pool; no two are the same."""
    head = f"{number:08d}\n".encode()
    start = number % 4096
    return (head + pool[start:])[:size]
