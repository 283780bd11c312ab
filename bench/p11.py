"""P11: growth: an upload of ten, a hundred, a thousand times as many files takes as long for each of them.

All are in one facility, one after the other, and the smallest comes once more at the end, on the state that the others
have left. Counted are seconds and processor seconds for each file, the most memory and open files of each process
during each upload, and the size of the state of each service, RabbitMQ and Redis: when the dataset was complete, the
greatest before that, and in the end, when all services are stopped. `--flat` has all files of an upload in one folder.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import finish, options_of, processor_since, read, tree, write
from parties import FOLDER, arrangement, proved
from processor import forget_peaks, open_files, peak_memory, processor_seconds

from datauploader.runtime import logging
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run

LOOK_S = 1.0
"""How often open files and sizes are looked at during an upload."""
PROCESSES = {"harvester-nexus": "nexus-harvester", "rabbitmq": "RabbitMQ", "redis": "Redis"}
"""Whose a state is that has another name than its process."""


def main() -> int:
    """Run all sizes and print the figures."""
    parser = options_of(
        "p11",
        __doc__,
        rounds=0,
        least=(1000, "files of the smallest upload; each further one has ten times as many"),
        up_to=(100_000, "most files of one upload"),
        size=(2000, "bytes of each file"),
    )
    parser.add_argument("--flat", action="store_true", help="all files of an upload in one folder")
    options = read(parser, least=2, up_to=20)
    logging.configure("bench", level="WARNING")
    sizes = [options.least]
    while sizes[-1] * 10 <= options.up_to:
        sizes.append(sizes[-1] * 10)
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        source = Path(folder, "source")
        source.mkdir()
        with Facility(broker=options.broker, watched=source) as facility:
            run = Run(facility, Path(folder, "no ledger"))
            steps = []
            for number, files in enumerate((*sizes, options.least), 1):
                steps.append(step(run, f"step-{number}", files, options))
                print(f"{files} files: {steps[-1]}", flush=True)
            settings = arrangement(facility)
            if options.broker == "rabbitmq":
                facility.processes.stop()
            stopped = state_sizes(facility)
    print(table(steps, stopped))
    print("\nOf each process: processor for each file, most memory, most open files, state.")
    print(f"{settings}.")
    finish(options, steps=steps, stopped_mb=stopped, settings=settings)
    return 0


def step(run: Run, name: str, files: int, options: argparse.Namespace) -> dict[str, Any]:
    """Upload so many files, and compare what is stored; return what it took."""
    folder = run.facility.watched / name
    digest = write(folder, files, options.size, flat=options.flat)
    forget_peaks()
    with greatest(run.facility) as most:
        before, began = processor_seconds(), time.monotonic()
        proved(run, run.request(name, "batch", path=str(folder.resolve())), files)
        seconds, used = time.monotonic() - began, processor_since(before)
    memory, complete = peak_memory(), state_sizes(run.facility)
    if tree(run.facility.storage / FOLDER / name) != digest:
        raise SystemExit(f"what is stored of {name} is not what was uploaded")
    return {
        "files": files,
        "seconds": round(seconds, 2),
        "ms_per_file": round(seconds / files * 1000, 3),
        "processor_ms_per_file": {name: round(value / files * 1000, 3) for name, value in used.items()},
        "memory_mb": {name: round(value) for name, value in memory.items()},
        "open_files": dict(most["open files"]),
        "state_greatest_mb": dict(most["state"]),
        "state_complete_mb": complete,
    }


@contextmanager
def greatest(facility: Facility) -> Iterator[dict[str, dict[str, float]]]:
    """Look again and again at open files and sizes while the block runs; yield the greatest of each."""
    most: dict[str, dict[str, float]] = {"open files": defaultdict(float), "state": defaultdict(float)}
    ended = threading.Event()

    def look() -> None:
        last = False
        while not last:
            last = ended.wait(LOOK_S)
            for kind, found in (("open files", open_files()), ("state", state_sizes(facility))):
                for name, value in found.items():
                    most[kind][name] = max(most[kind][name], value)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield most
    finally:
        ended.set()
        looker.join()


def state_sizes(facility: Facility) -> dict[str, float]:
    """Return the MB of the state file of each service, its log included, and of what RabbitMQ and Redis keep."""
    found: dict[str, float] = defaultdict(float)
    for path in (facility.folder / "state").glob("*.sqlite*"):
        found[path.name.partition(".")[0]] += size_of(path)
    for server in facility.servers.values():
        found[server.name] = sum(size_of(path) for path in server.directory.rglob("*"))
    return {PROCESSES.get(name, name): round(size / 1e6, 1) for name, size in found.items()}


def size_of(path: Path) -> int:
    """Return the bytes that a file takes on the disk; 0 where it is gone."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def table(steps: list[dict[str, Any]], stopped: Mapping[str, float]) -> str:
    """Write the figures as a table of Markdown: a column for each upload, a row for each process."""
    rows = {
        "files": [f"{one['files']:,}" for one in steps],
        "all": [f"{one['seconds']} s, **{one['ms_per_file']}** ms for each file" for one in steps],
    }
    for name in sorted({*steps[0]["memory_mb"], *steps[0]["state_complete_mb"]}):
        rows[name] = [of_process(one, name) for one in steps]
        if name in stopped:
            rows[name][-1] += f"; {stopped[name]} MB in the end"
    lines = [f"| {title} | {' | '.join(values)} |" for title, values in rows.items()]
    lines.insert(1, "|---" * (len(steps) + 1) + "|")
    return "\n".join(["", *lines])


def of_process(one: Mapping[str, Any], name: str) -> str:
    """Write what a process took for an upload."""
    words = []
    if name in one["memory_mb"]:
        words.append(f"{one['processor_ms_per_file'].get(name, 0)} ms, {one['memory_mb'][name]} MB")
    if name in one["open_files"]:
        words.append(f"{one['open_files'][name]:.0f} open files")
    if name in one["state_complete_mb"]:
        words.append(f"state {one['state_complete_mb'][name]} MB (at most {one['state_greatest_mb'][name]})")
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
