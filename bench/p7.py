"""P7: a station that starts again with a million known files, none of which has changed: how soon it is ready.

The parties take turns on the same trees. Ours is timed from the start of the watcher's process until it says that it
has compared everything once (`upload.scanned` with `looking` false) and every folder has its watch; its memory is the
most that the process had resident until then. The others are bare `find -printf`, and `rclone check --size-only` and
`rsync -n` of the tree and a copy of it. All of it is in the kernel's cache. Each result is checked: nobody may find a
difference, and the watcher must announce nothing.

The known state is made by the real watcher, which finds, hashes and announces every file. The other services are played
here, because bringing a million files somewhere is P1's work: what is announced is said to be stored and registered.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w
from measuring import name_of, read_options
from parties import OURS, end, our_release, said

from datauploader.contracts import (
    CataloguedFile,
    DatasetEnsured,
    DatasetSpec,
    Destination,
    Event,
    EventData,
    FileCatalogued,
    FileReady,
    FileStored,
    FileVersion,
    Person,
    Station,
    StationReported,
    StoredFile,
    UploadOpened,
    UploadRequested,
    UploadScanned,
)
from datauploader.contracts.batching import split
from datauploader.messaging import Bus, Delivery, connect
from datauploader.messaging.topology import catalog_queue, gateway_queue, transfer_queue, watcher_queue
from datauploader.runtime import logging
from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader_sandbox.processes import PROGRAM
from datauploader_testing.servers import MissingProgramError, RabbitServer
from datauploader_testing.servers.programs import find_program, find_rclone
from datauploader_testing.waiting import eventually

HERE = Station(facility="bench", beamline="bench", station="bench")
UPLOAD = "benchmark-p7"
DESTINATION = Destination(remote="store", location="bench/p7")
FIND = "find -printf"
TIMES, MOST_MB = 3.0, 200
"""Ours is to be ready within so many times the seconds of `find`, with so much memory."""
KNOWN_S, READY_S = 7200.0, 1800.0
LOOK_S = 0.25


@dataclass(frozen=True)
class Turn:
    """What one party took in one round."""

    seconds: float
    memory_mb: float = 0.0
    """The most that ours had resident."""
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Party:
    """One of those that are compared."""

    version: str
    settings: str
    look: Callable[[], Turn]
    """Look through the tree."""


class Surroundings:
    """Everything around the watcher: who answers for the other services, and what it was heard to say."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.announced = 0
        self.files = 0
        """How many files the watcher has found, without those that it still reads."""
        self.backlog: int | None = None
        """How many of them wait for a receipt, as was said after that."""
        self.looked_at = 0.0
        """When the watcher said last that it has compared everything (seconds since 1970)."""
        for queue in (catalog_queue(), transfer_queue(HERE)):
            bus.consume(queue, lambda _delivery: None)
        bus.consume(gateway_queue(), self._hear, prefetch=100)
        eventually(lambda: bus.health().ok, what="the broker delivers")

    def is_heard(self) -> bool:
        """Tell whether the watcher consumes its queue."""
        (queue,) = self._bus.queues([watcher_queue(HERE).name])
        return queue.there and queue.consumers > 0

    def say(self, data: EventData) -> None:
        """Publish an event as another service would."""
        self._bus.publish(Event(data=data, station=HERE, service="bench")).result(60)

    def _hear(self, delivery: Delivery) -> None:
        match delivery.event.data:
            case UploadOpened():
                self.say(DatasetEnsured(upload_id=UPLOAD, investigation_id="1", dataset_id="1"))
            case FileReady() as ready:
                self.announced += len(ready.files)
                self._store(ready.files)
            case UploadScanned() as scanned:
                self.files, self.backlog = scanned.files - scanned.settling, None
                if not scanned.looking:
                    self.looked_at = delivery.event.time.timestamp()
            case StationReported() as report:
                self.backlog = report.backlog_files

    def _store(self, files: Sequence[FileVersion]) -> None:
        stored = [
            StoredFile(file=one, object=f"bench/p7/{one.path}", state="verified", method="played") for one in files
        ]
        registered = [CataloguedFile(file=one, state="verified") for one in files]
        for event in split(stored, lambda some: FileStored(upload_id=UPLOAD, destination=DESTINATION, files=some)):
            self.say(event)
        for event in split(registered, lambda some: FileCatalogued(upload_id=UPLOAD, dataset_id="1", files=some)):
            self.say(event)


class KnownTree:
    """A tree of files on a station, whose watcher is a process of its own."""

    def __init__(self, folder: Path, source: Path, surroundings: Surroundings, broker: str) -> None:
        self._source, self._surroundings, self._log = source.resolve(), surroundings, folder / "watcher.log"
        folders = list(os.walk(source))
        self._folders, self.files = len(folders), sum(len(files) for _, _, files in folders)
        self._config = folder / "datauploader.toml"
        document = {
            **HERE.model_dump(),
            "broker": broker,
            "state_dir": str(folder / "state"),
            "remotes": {"store": {"type": "local", "base": str(folder)}},
            "watcher": {"roots": [str(self._source)]},
        }
        self._config.write_text(tomli_w.dumps(document), encoding="utf-8")
        self._config.chmod(0o600)

    def learn(self) -> float:
        """Have the watcher find, hash and announce every file, and hear all receipts; return the seconds that took."""
        began = time.monotonic()
        with self._watcher(DATAUPLOADER_WATCHER_REPORT_INTERVAL_S="1"):
            request = UploadRequested(
                upload_id=UPLOAD, investigation="1", dataset=DatasetSpec(name="p7"), root=str(self._source),
                mode="sync", destination=DESTINATION, requested_by=Person(id="1", name="bench"), quiet_period_s=1.0,
            )  # fmt: skip
            eventually(self._surroundings.is_heard, within_s=READY_S, what="the watcher has its queue")
            self._surroundings.say(request)
            eventually(self._is_known, within_s=KNOWN_S, every_s=LOOK_S, what=f"all {self.files} files are known")
        return time.monotonic() - began

    def _is_known(self) -> bool:
        return self._surroundings.files == self.files and self._surroundings.backlog == 0

    def restart(self) -> Turn:
        """Start the watcher again, and end it when it is ready."""
        heard = self._surroundings
        heard.announced = heard.files = 0
        began, began_at = time.monotonic(), time.time()
        with self._watcher() as pid:
            eventually(lambda: watches(pid) >= self._folders, within_s=READY_S, every_s=LOOK_S, what="all is watched")
            watched = time.monotonic() - began
            eventually(lambda: heard.looked_at > began_at, within_s=READY_S, every_s=0.01, what="all is compared")
            memory = peak_mb(Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        if heard.announced or heard.files != self.files:
            raise SystemExit(
                f"of {self.files} files that have not changed, {heard.announced} were announced: {vars(heard)}"
            )
        compared = heard.looked_at - began_at
        parts = {"compared_s": round(compared, 2), "watched_s": round(watched, 2)}
        return Turn(max(compared, watched), memory, parts)

    @contextlib.contextmanager
    def _watcher(self, **environment: str) -> Iterator[int]:
        own = os.environ | {CONFIG_VARIABLE: str(self._config)} | environment
        with self._log.open("ab") as log:
            process = subprocess.Popen([PROGRAM, "run", "watcher"], env=own, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


def watches(pid: int) -> int:
    """Count the folders that a process watches."""
    found = 0
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found += info.read_text(encoding="ascii").count("inotify wd:")
    return found


def peak_mb(status: str) -> float:
    """Read from the status of a process the most memory that it has had resident so far."""
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak) * 1024 / 1e6


def gather(known: KnownTree, source: Path, copy: Path) -> tuple[dict[str, Party], list[str]]:
    """Return who takes part, ours first, and of each that cannot, why."""
    makers: dict[str, Callable[[], Party]] = {
        FIND: lambda: party(
            find_program("find", install="apt-get install findutils"), source, "-printf", "%s %T@ %p\n"
        ),
        "rclone check": lambda: party(find_rclone(), "--config=", "check", "--size-only", source, copy),
        "rsync -n": lambda: party(
            find_program("rsync", install="apt-get install rsync"), "-n", "--archive", "-i", f"{source}/", f"{copy}/"
        ),
    }
    parties, missing = (
        {OURS: Party(our_release(), "the watcher's process, RabbitMQ, default settings", known.restart)},
        [],
    )
    for name, make in makers.items():
        try:
            parties[name] = make()
        except MissingProgramError as absence:
            missing.append(str(absence))
    return parties, missing


def party(program: Path, *arguments: str | Path) -> Party:
    """Look through the tree with a program, which must find that all is well; rsync says what it would do."""
    named = [Path(argument).name if Path(argument).is_absolute() else str(argument) for argument in arguments]

    def look() -> Turn:
        with tempfile.TemporaryFile() as output:
            began = time.monotonic()
            done = subprocess.run([program, *arguments], stdout=output, stderr=subprocess.STDOUT, check=False)
            seconds = time.monotonic() - began
            output.seek(0)
            said_first = output.read(2000)
        if done.returncode or (program.name == "rsync" and said_first):
            raise SystemExit(f"{program.name} found a difference: {said_first!r}")
        return Turn(seconds)

    release = said((str(program), "version" if program.name == "rclone" else "--version"))
    return Party(release, " ".join((program.name, *named)).strip(), look)


def figures(one: Party, turns: Sequence[Turn], ours: Sequence[Turn]) -> dict[str, object]:
    """Put the figures of one party into one object; ratios are ours to theirs, round by round."""
    took = [turn.seconds for turn in turns]
    ratios = [mine.seconds / theirs for mine, theirs in zip(ours, took, strict=True)]
    return {
        "version": one.version,
        "settings": one.settings,
        "median_s": round(statistics.median(took), 2),
        "seconds": [round(seconds, 2) for seconds in took],
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "memory_mb": round(max(turn.memory_mb for turn in turns)),
        "parts": [dict(turn.parts) for turn in turns],
    }


def print_result(
    options: argparse.Namespace,
    parties: Mapping[str, Party],
    turns: Mapping[str, Sequence[Turn]],
    result: dict[str, object],
) -> None:
    """Print a table for `RESULTS.md`, the goals, and everything as one object in the last line."""
    print(f"\n| Party | Median | Spread | {OURS} to it | Spread | Memory |\n|---|---|---|---|---|---|")
    for name, took in turns.items():
        seconds = [turn.seconds for turn in took]
        ratios = [ours.seconds / turn.seconds for ours, turn in zip(turns[OURS], took, strict=True)]
        ratio = "| |" if name == OURS else f"{statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} s"
        memory = f"{max(turn.memory_mb for turn in took):.0f} MB" if name == OURS else ""
        print(f"| {name} | {statistics.median(seconds):.2f} s | {spread} | {ratio} {memory} |")
    print()
    for name, one in parties.items():
        print(f"- {name} {one.version}: {one.settings}")
    print()
    found = {name: figures(one, turns[name], turns[OURS]) for name, one in parties.items()}
    ratios = [ours.seconds / find.seconds for ours, find in zip(turns[OURS], turns[FIND], strict=True)]
    goals = {
        f"ready within {TIMES:g} times {FIND}": statistics.median(ratios) <= TIMES,
        f"memory <= {MOST_MB} MB": max(turn.memory_mb for turn in turns[OURS]) <= MOST_MB,
    }
    for goal, met in goals.items():
        print(f"{'met' if met else 'missed'}: {goal}")
    result |= {"work": "p7", "size": options.size, "rounds": options.rounds, "parties": found, "goals": goals}
    print(f"\n{json.dumps(result | {'python': platform.python_version(), 'cores': os.cpu_count()})}")


def make_trees(source: Path, copy: Path, files: int, size: int) -> None:
    """Write the files, one hundred to a folder, and a copy of all with their times."""
    made: Path | None = None
    for number in range(files):
        path = source / name_of(number)
        if path.parent != made:
            made = path.parent
            made.mkdir(parents=True)
        path.write_bytes(os.urandom(size))
    end(["cp", "--archive", source, copy])


def main() -> int:
    """Make the known state, run the rounds and print the figures."""
    more = {"--folder": {"type": Path, "help": "make trees and state here, or take those that are here, and keep them"}}
    options = read_options("p7", __doc__, ["local"], files=1_000_000, size=0, quick=(500, 0), more=more)
    logging.configure("bench", level="WARNING")
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="datauploader-bench-")
        folder = options.folder or Path(stack.enter_context(temporary))
        source, copy = folder / "source", folder / "copy"
        if not copy.exists():
            make_trees(source, copy, options.files, options.size)
        broker = stack.enter_context(RabbitServer()).address.url
        bus = connect(broker, name="bench p7")
        stack.callback(bus.close)
        known = KnownTree(folder, source, Surroundings(bus), broker)
        learned = known.learn()
        print(f"{known.files} files are known after {learned:.1f} s", flush=True)
        parties, missing = gather(known, source, copy)
        turns: dict[str, list[Turn]] = {name: [] for name in parties}
        for number in range(options.rounds):
            first = number % len(parties)
            for name in (*list(parties)[first:], *list(parties)[:first]):
                turns[name].append(parties[name].look())
                print(f"round {number + 1}: {name} {turns[name][-1]}", flush=True)
    for why in missing:
        print(f"left out: {why}")
    print_result(options, parties, turns, {"files": known.files, "learned_s": round(learned, 1), "missing": missing})
    return 0


if __name__ == "__main__":
    sys.exit(main())
