"""P1: many small files to local storage, beside `rclone copy` followed by `rclone check --download`.

Both parties give the same guarantee: every stored byte was read back or hashed by the storage and compared
with the source. Ours also goes through RabbitMQ and makes a complete dataset in the user office's double.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run

RCLONE = Path(sys.executable).with_name("rclone")


def main() -> int:
    """Run the rounds and print the ratio; return 1 when a result is not what it should be."""
    parser = argparse.ArgumentParser(prog="./dev bench p1", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--broker", choices=("memory", "rabbitmq"), default="rabbitmq")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        source = Path(folder, "source")
        digest = write(source, options.files, options.size)
        theirs, ours = [], []
        with Facility(broker=options.broker, watched=source) as facility:
            run = Run(facility, Path(folder, "no ledger"))
            for number in range(options.rounds):
                theirs.append(rclone(source, Path(folder, f"copy {number + 1}")))
                ours.append(upload(run, f"round {number + 1}", options.files))
                check(facility.storage, f"round {number + 1}", digest)
                print(f"round {number + 1}: rclone {theirs[-1]:.2f} s, DataUploader {ours[-1]:.2f} s", flush=True)
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    result = {
        "files": options.files,
        "size": options.size,
        "broker": options.broker,
        "rclone_s": round(statistics.median(theirs), 2),
        "datauploader_s": round(statistics.median(ours), 2),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "rclone": subprocess.run([RCLONE, "version"], capture_output=True, text=True, check=True).stdout.split()[1],
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))
    return 0


def write(folder: Path, files: int, size: int) -> str:
    """Write the files, one hundred to a folder; return a digest of all names and contents."""
    for number in range(files):
        path = folder / f"scan{number // 1000:03}" / f"part{number // 100 % 10}" / f"frame{number:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return tree(folder)


def tree(folder: Path) -> str:
    """Hash every name and content below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def rclone(source: Path, target: Path) -> float:
    """Copy and compare with rclone alone; return the seconds.

    The copy stays until the end, as ours does: ext4 looks long for the place of a new file while many have just
    been removed, which would be counted against whoever comes next.
    """
    began = time.monotonic()
    subprocess.run([RCLONE, "copy", "--transfers", "8", source, target], check=True, capture_output=True)
    subprocess.run([RCLONE, "check", "--download", source, target], check=True, capture_output=True)
    return time.monotonic() - began


def upload(run: Run, name: str, files: int) -> float:
    """Upload with DataUploader; return the seconds from the request to the complete dataset."""
    began = time.monotonic()
    status = run.completed(run.request(name, "batch"), within_s=600)
    seconds = time.monotonic() - began
    if not status.counts.verified.files == status.counts.catalogued.files == files:
        raise SystemExit(f"not everything was verified and catalogued: {status.counts}")
    return seconds


def check(storage: Path, name: str, digest: str) -> None:
    """Compare the stored bytes with the source's, past every service."""
    (stored,) = storage.rglob(name)
    if tree(stored) != digest:
        raise SystemExit(f"{stored} does not hold what was uploaded")


if __name__ == "__main__":
    sys.exit(main())
