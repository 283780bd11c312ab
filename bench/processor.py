"""What a benchmark and all that it starts take of the machine, by the name of each process, from Linux's /proc."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

PROGRAMS = {"rclone": "rclone", "beam.smp": "RabbitMQ", "redis-server": "Redis", "sshd": "sshd", "apache2": "Apache",
            "smbd": "Samba"}  # fmt: skip
"""Processes that are counted under a name of their own; all others count as their parent."""
HERE, PARTY = "this process", "its programs"
"""The double of the catalogue and what asks, with the memory broker also the services; and what a turn has started."""


def processor_seconds() -> defaultdict[str, float]:
    """Count the processor seconds that this process and all it has started have used so far, by name.

    What has ended counts as whoever waited for its end, so the sum never falls and nothing is counted twice.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    found = of_each(lambda entry: sum(map(int, stat(entry)[11:15])) / ticks)
    times = os.times()
    found[HERE] += times.user + times.system
    found[PARTY] += times.children_user + times.children_system
    return found


def peak_memory() -> dict[str, float]:
    """Return the most MB that this process and all it has started had in memory since `forget_peaks`, by name."""

    def peak(entry: Path) -> float:
        found = (entry / "status").read_text().partition("VmHWM:")[2].split()  # nothing where it has just ended
        return int(found[0]) / 1000 if found else 0

    found = of_each(peak)
    found[HERE] += peak(Path("/proc/self"))
    return found


def forget_peaks() -> None:
    """Let `peak_memory` count from now on."""
    for pid in (os.getpid(), *(pid for _, pid, _ in processes())):
        with suppress(OSError):  # it has ended, or is somebody else's
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_files() -> dict[str, int]:
    """Count the open files, connections included, of all that this process has started, by name."""
    return {name: int(count) for name, count in of_each(lambda entry: len(list((entry / "fd").iterdir()))).items()}


def of_each(measure: Callable[[Path], float]) -> defaultdict[str, float]:
    """Add up something of all that this process has started, by name; `measure` gets the process's folder in /proc."""
    children: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for parent, pid, name in processes():
        children[parent].append((pid, name))
    found: defaultdict[str, float] = defaultdict(float)

    def add(pid: int, name: str) -> None:
        for child, own_name in children[pid]:
            with suppress(OSError):  # it has just ended
                found[own_name or name] += measure(Path(f"/proc/{child}"))
            add(child, own_name or name)

    add(os.getpid(), HERE)
    return found


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield parent, id and name of each process of this machine."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(stat(entry)[1]), int(entry.name), process_name(command)


def stat(entry: Path) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, where the parent is the second."""
    return (entry / "stat").read_text().rpartition(")")[2].split()


def process_name(command: Sequence[str]) -> str:
    """Name a process by its command line; a service of ours by its own name; nothing where it counts as its parent."""
    words = [Path(word.partition(":")[0]).name for word in command]  # sshd says behind a colon what it does,
    words[0] = words[0].partition(" ")[0]  # and Redis behind a blank
    if words[1:3] == ["datauploader", "run"]:
        return words[3]
    program = PROGRAMS.get(words[0], "")
    return f"{program} {words[1]}" if program == "rclone" else program
