"""Processor seconds of a benchmark and of all that it starts, by the name of each process, from Linux's /proc."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
    children: defaultdict[int, list[tuple[int, str, float]]] = defaultdict(list)
    for parent, pid, name, seconds in processes():
        children[parent].append((pid, name, seconds))
    found: defaultdict[str, float] = defaultdict(float)

    def add(pid: int, name: str) -> None:
        for child, own_name, seconds in children[pid]:
            found[own_name or name] += seconds
            add(child, own_name or name)

    times = os.times()
    found[HERE], found[PARTY] = times.user + times.system, times.children_user + times.children_system
    add(os.getpid(), HERE)
    return found


def processes() -> Iterator[tuple[int, int, str, float]]:
    """Yield parent, id, name and seconds of each process of this machine, with those of its ended children."""
    ticks = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        yield int(fields[1]), int(entry.name), process_name(command), sum(map(int, fields[11:15])) / ticks


def process_name(command: Sequence[str]) -> str:
    """Name a process by its command line; a service of ours by its own name; nothing where it counts as its parent."""
    words = [Path(word.partition(":")[0]).name for word in command]  # sshd says behind a colon what it does
    if words[1:3] == ["datauploader", "run"]:
        return words[3]
    program = PROGRAMS.get(words[0], "")
    return f"{program} {words[1]}" if program == "rclone" else program
