"""What the benchmarks share: options, files, uploads, medians and their spread, and the figures as the last line.

P1 to P4 are sets of storages (`compare`). On each, a whole facility is started, and DataUploader and the others bring
the same files there, each in its turn, in as many rounds as are asked for. A turn counts when what is stored then is
the source, byte for byte, read past every service.
One JSON object is the last line of every output; the tables before it are for `bench/RESULTS.md`.
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

from parties import FOLDER, OURS, Party, gather, our_release, server_version
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


def options_of(
    work: str, about: str | None, *, rounds: int = 5, broker: bool = True, **numbers: tuple[float, str]
) -> argparse.ArgumentParser:
    """Begin the command line of a benchmark; `read` ends it.

    Args:
        work: its name.
        about: what `--help` says of it.
        rounds: how often each party has its turn; 0: it does not work in rounds.
        broker: whether the broker may be chosen.
        numbers: the options that are numbers, each with its default and what it means.
    """
    parser = argparse.ArgumentParser(prog=f"./dev bench {work}", description=about)
    parser.set_defaults(work=work)
    if rounds:
        numbers["rounds"] = (rounds, "turns of each party")
    for name, (default, meaning) in numbers.items():
        flag, kind = f"--{name.replace('_', '-')}", type(default)
        parser.add_argument(flag, type=kind, default=default, help=f"{meaning} (%(default)s)")
    if broker:
        parser.add_argument("--broker", choices=("memory", "rabbitmq"), default="rabbitmq", help="%(default)s")
    parser.add_argument("--quick", action="store_true", help="a small run, one round, whose times say nothing")
    return parser


def read(parser: argparse.ArgumentParser, **quick: Any) -> argparse.Namespace:
    """Read the command line; `quick` holds the options of a quick run, beside one round and the broker in memory."""
    options = parser.parse_args()
    if options.quick:
        usual = {name: value for name, value in (("rounds", 1), ("broker", "memory")) if name in options}
        parser.set_defaults(**usual, **quick)
        options = parser.parse_args()
    return options


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
    numbers = {"files": (files, "how many files"), "size": (size, "bytes of each file")}
    parser = options_of(work, about, rounds=rounds, **numbers)
    if len(storages) > 1:
        only = "only this one; may be repeated"
        parser.add_argument("--storage", action="append", dest="storages", choices=storages, help=only)
    for option, arguments in (more or {}).items():
        parser.add_argument(option, **arguments)
    options = read(parser, files=quick[0], size=quick[1])
    options.storages = getattr(options, "storages", None) or storages
    return options


def finish(options: argparse.Namespace, **found: Any) -> None:
    """Print the figures, with the options and versions, as one JSON object: the last line."""
    here = {"release": our_release(), "python": platform.python_version(), "cores": os.cpu_count()}
    print(f"\n{json.dumps({**vars(options), **here, **found}, default=str)}")


def spread(values: Sequence[float], unit: str = "s") -> dict[str, Any]:
    """Return the median, the least and the greatest, and all of some values."""
    digits = None if min(values) >= 100 else 2
    return {
        "unit": unit,
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "greatest": round(max(values), digits),
        "all": [round(value, digits) for value in values],
    }


def text_of(found: Mapping[str, Any]) -> str:
    """Write a spread for a table: the median, and least and greatest."""
    return f"{found['median']} {found['unit']} | {found['least']} to {found['greatest']}"


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print spreads as a table of Markdown."""
    print("\n| | Median | Spread |\n|---|---|---|")
    for name, one in found.items():
        print(f"| {name} | {text_of(one)} |")


def processor_since(before: Mapping[str, float]) -> dict[str, float]:
    """Return the processor seconds of each process since `processor_seconds` was asked."""
    return {name: round(used - before.get(name, 0), 2) for name, used in processor_seconds().items()}


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
    for why in missing:
        print(f"left out: {why}")
    for storage, found in storages.items():
        print(f"\n{table(storage, found)}")
    finish(options, storages=storages, missing=missing)
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
            used = processor_since(before)
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
        seconds = spread(took)
        ratio = spread([ours.seconds / theirs for ours, theirs in zip(turns[OURS], took, strict=True)], "times")
        names = sorted({name for turn in turns[party.name] for name in turn.processor})
        used = {name: statistics.median(turn.processor.get(name, 0) for turn in turns[party.name]) for name in names}
        found[party.name] = {
            "version": party.version,
            "settings": party.settings,
            "bytes": statistics.median(turn.bytes for turn in turns[party.name]),
            "median_s": seconds["median"],
            "spread_s": [seconds["least"], seconds["greatest"]],
            "seconds": seconds["all"],
            "ratio": ratio["median"],
            "ratio_spread": [ratio["least"], ratio["greatest"]],
            "ratios": ratio["all"],
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
        lines.append(
            f"| {name} | {one['median_s']:.2f} s | {low:.2f} to {high:.2f} s | {ratio} {busy(one['processor_s'])} |"
        )
    lines.append("")
    lines += [f"- {name} {one['version']}: {one['settings']}" for name, one in found["parties"].items()]
    return "\n".join(lines)


def busy(processor: Mapping[str, float]) -> str:
    """Write the processor seconds of those that took more than a tenth."""
    return ", ".join(f"{process} {seconds:.1f} s" for process, seconds in processor.items() if seconds > 0.1)


def write(folder: Path, files: int, size: int, *, flat: bool = False) -> str:
    """Write the files, one hundred to a folder unless `flat`; return a digest of all names and contents."""
    for number in range(files):
        path = folder / name_of(number, flat=flat)
        if number % 100 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for begin in range(0, size, BLOCK):
                file.write(os.urandom(min(BLOCK, size - begin)))
    return tree(folder)


def name_of(number: int, *, flat: bool = False) -> str:
    """Name a file, one hundred to a folder and ten folders to the next one; or all in one folder."""
    return f"frame{number:06}.bin" if flat else f"scan{number // 1000:03}/part{number // 100 % 10}/frame{number:06}.bin"


def tree(folder: Path) -> str:
    """Hash every name and content below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + content)
    return digest.hexdigest()
