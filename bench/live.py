"""What the benchmarks of sync mode share: who takes part, turns in rounds, and how the figures are printed."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import read_options
from watchers import BESIDE, LSYNCD, datauploader, gather
from watching import LiveTurn, Watcher, Writing, take_turn, writer_process

from datauploader.runtime import logging
from datauploader_sandbox.facility import Facility

QUIET_S = 1.0
"""The quiet period that is asked for."""
Figures = Mapping[str, Mapping[str, Any]]
"""The figures of each party, by its name."""


@dataclass(frozen=True)
class Report:
    """How the figures of a benchmark are made and shown."""

    figures: Callable[[Sequence[LiveTurn]], dict[str, Any]]
    """Put the turns of one party into one object."""
    columns: Mapping[str, Callable[[Mapping[str, Any]], str]]
    """What the table shows of each party: its own cell, by the head of the column."""
    goals: Callable[[Figures], dict[str, bool]]
    """Say of each goal whether it is met."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else the last line holds."""


def read_live_options(work: str, about: str | None, **defaults: Any) -> argparse.Namespace:
    """Read the command line; a quick run leaves out who waits for 15 s."""
    more = {
        "--beside": {"action": "append", "choices": BESIDE, "help": "only beside this one; may be repeated"},
        "--alone": {"action": "store_true", "help": "beside nobody"},
        "--patience": {"type": float, "default": 300.0, "help": "seconds after which a turn is ended (%(default)g)"},
    }
    options = read_options(work, about, ["local"], more=more, **defaults)
    everybody = [name for name in BESIDE if not (options.quick and name == LSYNCD)]
    options.beside = [] if options.alone else options.beside or everybody
    return options


def compare_live(options: argparse.Namespace, writing: Writing, report: Report, *, batch: bool = False) -> int:
    """Run all rounds, each beginning with another party, and print the figures; with `batch`, beside our own batch."""
    logging.configure("bench", level="WARNING")
    turns: dict[str, list[LiveTurn]] = {}
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as name, writer_process() as writer:
        folder = Path(name)
        with Facility(broker=options.broker, watched=folder / "watched") as facility:
            watchers, missing = gather(facility, folder / "goals", QUIET_S, options.beside)
            watchers += [datauploader(facility, QUIET_S, "batch")] if batch else []
            for number in range(options.rounds):
                first = number % len(watchers)
                for watcher in (*watchers[first:], *watchers[:first]):
                    source = facility.watched / f"round-{number + 1}-{watchers.index(watcher) + 1}"
                    turn = take_turn(watcher, source, writing, writer, options.patience)
                    turns.setdefault(watcher.name, []).append(turn)
                    print(f"round {number + 1}: {watcher.name} {report.figures([turn])}", flush=True)
    print_result(options, watchers, turns, missing, report)
    return 0


def print_result(
    options: argparse.Namespace,
    watchers: Sequence[Watcher],
    turns: Mapping[str, Sequence[LiveTurn]],
    missing: Sequence[str],
    report: Report,
) -> None:
    """Print who was left out, a table for `RESULTS.md`, the goals, and everything as one object in the last line."""
    found = {
        watcher.name: {"version": watcher.version, "settings": watcher.settings, **report.figures(turns[watcher.name])}
        for watcher in watchers
    }
    for why in missing:
        print(f"left out: {why}")
    print(f"\n| Party | {' | '.join(report.columns)} |\n|---|{'---|' * len(report.columns)}")
    for name, one in found.items():
        print(f"| {name} | {' | '.join(cell(one) for cell in report.columns.values())} |")
    print()
    for name, one in found.items():
        print(f"- {name} {one['version']}: {one['settings']}")
    print()
    goals = report.goals(found)
    for goal, met in goals.items():
        print(f"{'met' if met else 'missed'}: {goal}")
    result = {
        "work": options.work,
        "files": options.files,
        "size": options.size,
        "rounds": options.rounds,
        "broker": options.broker,
        "quiet_s": QUIET_S,
        **report.more,
        "parties": found,
        "goals": goals,
        "missing": missing,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(f"\n{json.dumps(result)}")
