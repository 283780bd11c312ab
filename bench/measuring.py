"""What the benchmarks of uploads share: parties take turns, results are compared byte for byte, figures are printed.

A benchmark is a set of storages. On each, a whole facility is started, and DataUploader and the others bring the same
files there, each in its turn, in as many rounds as are asked for. A turn counts when what is stored then is the source,
byte for byte, read past every service. One JSON object is the last line of the output; the tables before it are for
`bench/RESULTS.md`.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parties import FOLDER, OURS, Party, gather, server_version
from processor import processor_seconds

from datauploader.runtime import logging
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.storages import Kind
from datauploader_testing.servers import MissingProgramError

BLOCK = 1_000_000


@dataclass(frozen=True)
class Turn:
    """What one party took in one round."""

    seconds: float
    bytes: int
    """How many were stored and compared."""
    processor: dict[str, float]
    """The processor seconds of each process meanwhile."""


def read_options(
    work: str,
    about: str | None,
    storages: Sequence[Kind],
    *,
    files: int,
    size: int,
    rounds: int = 5,
    quick: tuple[int, int] = (5, 2000),
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> argparse.Namespace:
    """Read the command line.

    Args:
        work: the name of the benchmark.
        about: its docstring.
        storages: those that it can be run on.
        files: how many there are unless something else is asked for, as are `size` and `rounds`.
        size: bytes of each file.
        rounds: turns of each party.
        quick: number and size of the files of a quick run.
        more: options of this benchmark alone, each with the arguments of `add_argument`.
    """
    parser = argparse.ArgumentParser(prog=f"./dev bench {work}", description=about)
    parser.add_argument("--files", type=int, default=files, help="how many files (%(default)s)")
    parser.add_argument("--size", type=int, default=size, help="bytes of each file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each party (%(default)s)")
    parser.add_argument("--broker", choices=("memory", "rabbitmq"), default="rabbitmq", help="%(default)s")
    parser.add_argument("--quick", action="store_true", help="one round of tiny files on the memory broker")
    if len(storages) > 1:
        only = "only this one; may be repeated"
        parser.add_argument("--storage", action="append", dest="storages", choices=storages, help=only)
    for option, arguments in (more or {}).items():
        parser.add_argument(option, **arguments)
    parser.set_defaults(work=work)
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(files=quick[0], size=quick[1], rounds=1, broker="memory")
    options = parser.parse_args()
    options.storages = getattr(options, "storages", None) or storages
    return options


def compare(options: argparse.Namespace, *, alone: bool = False, keep: bool = True) -> int:
    """Run all rounds on each storage and print the figures; return 1 when no storage could be measured.

    Args:
        options: what `read_options` has read.
        alone: `rclone copy` takes part without the check, too.
        keep: stored files stay until the end: ext4 looks long for the place of a new file while many have just been
            removed, which would be counted against whoever comes next. Few large files go after each round.
    """
    logging.configure("bench", level="WARNING")
    storages, missing = {}, []
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        source = Path(folder, "source")
        digest = write(source, options.files, options.size)
        for storage in options.storages:
            try:
                with Facility(broker=options.broker, watched=source, storage=storage) as facility:
                    parties, absent = gather(facility, storage, Path(folder), alone=alone)
                    missing += [f"{storage}: {why}" for why in absent]
                    where = facility.storage / FOLDER
                    turns = take_turns(parties, options.rounds, where, digest, title=storage, keep=keep)
            except MissingProgramError as absence:  # of the storage's own server
                missing.append(f"{storage}: {absence}")
            else:
                storages[storage] = {"server": server_version(storage), "parties": figures(parties, turns)}
    result = {
        "work": options.work,
        "files": options.files,
        "size": options.size,
        "rounds": options.rounds,
        "broker": options.broker,
        "storages": storages,
        "missing": missing,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    for why in missing:
        print(f"left out: {why}")
    for storage, found in storages.items():
        print(f"\n{table(storage, found)}")
    print(f"\n{json.dumps(result)}")
    return 0 if storages else 1


def take_turns(
    parties: Sequence[Party], rounds: int, where: Path, digest: str, *, title: str, keep: bool = True
) -> dict[str, list[Turn]]:
    """Let the parties bring the source, each round beginning with another one; compare what is stored each time."""
    turns: dict[str, list[Turn]] = defaultdict(list)
    for number in range(rounds):
        first = number % len(parties)
        stored = {party: where / f"round-{number + 1}-{place}" for place, party in enumerate(parties, 1)}
        for party in (*parties[first:], *parties[:first]):
            before, began = processor_seconds(), time.monotonic()
            party.bring(stored[party].name)
            seconds = time.monotonic() - began
            used = {name: used - before[name] for name, used in processor_seconds().items()}
            if tree(stored[party]) != digest:
                raise SystemExit(f"{stored[party]} does not hold what {party.name} should have brought there")
            size = sum(path.stat().st_size for path in stored[party].rglob("*") if path.is_file())
            turns[party.name].append(Turn(seconds, size, used))
            print(f"{title}, round {number + 1}: {party.name} {seconds:.2f} s", flush=True)
        if not keep:
            for folder in stored.values():
                shutil.rmtree(folder)
    return turns


def figures(parties: Sequence[Party], turns: Mapping[str, Sequence[Turn]]) -> dict[str, dict[str, Any]]:
    """Put the figures of each party into one object; ratios are ours to theirs, round by round."""
    found = {}
    for party in parties:
        took = [turn.seconds for turn in turns[party.name]]
        ratios = [ours.seconds / theirs for ours, theirs in zip(turns[OURS], took, strict=True)]
        names = sorted({name for turn in turns[party.name] for name in turn.processor})
        used = {name: statistics.median(turn.processor.get(name, 0) for turn in turns[party.name]) for name in names}
        found[party.name] = {
            "version": party.version,
            "settings": party.settings,
            "bytes": statistics.median(turn.bytes for turn in turns[party.name]),
            "median_s": round(statistics.median(took), 2),
            "spread_s": [round(min(took), 2), round(max(took), 2)],
            "seconds": [round(seconds, 2) for seconds in took],
            "ratio": round(statistics.median(ratios), 2),
            "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
            "ratios": [round(ratio, 2) for ratio in ratios],
            "processor_s": {name: round(seconds, 2) for name, seconds in used.items()},
        }
    return found


def table(storage: str, found: Mapping[str, Any]) -> str:
    """Write the figures of one storage as a table of Markdown, with what was compared below it."""
    lines = [
        f"{storage} ({found['server']}):\n",
        f"| Party | Median | Spread | {OURS} to it | Spread | Processor |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found["parties"].items():
        (low, high), (least, most) = one["spread_s"], one["ratio_spread"]
        ratio = "| |" if name == OURS else f"{one['ratio']:.2f} | {least:.2f} to {most:.2f} |"
        busy = ", ".join(
            f"{process} {seconds:.1f} s" for process, seconds in one["processor_s"].items() if seconds > 0.1
        )
        lines.append(f"| {name} | {one['median_s']:.2f} s | {low:.2f} to {high:.2f} s | {ratio} {busy} |")
    lines.append("")
    lines += [f"- {name} {one['version']}: {one['settings']}" for name, one in found["parties"].items()]
    return "\n".join(lines)


def write(folder: Path, files: int, size: int) -> str:
    """Write the files, one hundred to a folder; return a digest of all names and contents."""
    for number in range(files):
        path = folder / name_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for begin in range(0, size, BLOCK):
                file.write(os.urandom(min(BLOCK, size - begin)))
    return tree(folder)


def name_of(number: int) -> str:
    """Name a file, one hundred to a folder and ten folders to the next one."""
    return f"scan{number // 1000:03}/part{number // 100 % 10}/frame{number:06}.bin"


def tree(folder: Path) -> str:
    """Hash every name and content below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + content)
    return digest.hexdigest()
