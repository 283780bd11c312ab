"""P6: a burst of small files into new folders that are watched: how soon the first is there, how fast all, and if all.

The parties take turns: a process writes as fast as it can, for ten seconds at most. Times count from the close of the
first file. Ours ends with the last file that a listener at the broker hears to be verified, the others with the last
one that lies complete at the goal; what has arrived is compared afterwards, byte for byte. Beside it stands our own
batch of the same files, which is P1 without the catalogue's part: from the request to the last verified file. A party
that has not brought everything within `--patience` is ended, and its rate is that of the files it has brought.
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from live import QUIET_S, Figures, Report, compare_live, read_live_options
from parties import OURS
from watchers import BATCH
from watching import LiveTurn, Writing, busy, processor_median

BURST_S = 10.0
FIRST_S = 1.0
"""Beyond the quiet period the first file is to be verified after so many seconds."""
LEAST_SHARE = 0.7
"""Of the rate of a batch."""


def figures(turns: Sequence[LiveTurn]) -> dict[str, Any]:
    """Put the figures of one party into one object: medians, and each round."""
    rounds = [figures_of_round(turn) for turn in turns]
    names = ("burst_s", "first_s", "last_s", "per_s", "at_the_goal_s")
    medians = {name: round(statistics.median(one[name] for one in rounds), 2) for name in names}
    sums = {name: sum(one[name] for one in rounds) for name in ("files", "lost")}
    return {**sums, **medians, "processor_s": processor_median(turns), "rounds": rounds}


def figures_of_round(turn: LiveTurn) -> dict[str, Any]:
    """Put the figures of one turn into one object."""
    took = sorted(at - turn.began for at in turn.arrived.values())
    return {
        "files": len(turn.closed),
        "burst_s": round(max(turn.closed.values()) - min(turn.closed.values()), 2),
        "lost": turn.lost,
        "first_s": round(took[0], 2),
        "last_s": round(took[-1], 2),
        "per_s": round(len(took) / took[-1], 1),
        "at_the_goal_s": round(max(turn.there.values()) - turn.began, 2),
        "notes": dict(turn.notes),
    }


def goals(found: Figures) -> dict[str, bool]:
    """Say which goals are met."""
    ours = found[OURS]
    met = {
        "all found": ours["lost"] == 0,
        f"first <= {QUIET_S + FIRST_S:g} s": ours["first_s"] <= QUIET_S + FIRST_S,
        f"files/s >= {LEAST_SHARE:.0%} of {BATCH}": ours["per_s"] >= LEAST_SHARE * found[BATCH]["per_s"],
    }
    others = [name for name in found if name not in (OURS, BATCH)]
    return met | {f"files/s above {other}": ours["per_s"] > found[other]["per_s"] for other in others}


def rates(one: Figures) -> str:
    """Write the least and the greatest rate of the rounds."""
    each = [turn["per_s"] for turn in one["rounds"]]
    return f"{min(each):.0f} to {max(each):.0f}"


COLUMNS = {
    "Files": lambda one: f"{one['files'] / len(one['rounds']):.0f}",
    "Burst": lambda one: f"{one['burst_s']:.1f} s",
    "First": lambda one: f"{one['first_s']:.2f} s",
    "Last": lambda one: f"{one['last_s']:.1f} s",
    "Files/s": lambda one: f"{one['per_s']:.0f}",
    "Spread": rates,
    "Lost": lambda one: f"{one['lost']} of {one['files']}",
    "Processor": lambda one: busy(one["processor_s"]),
}

if __name__ == "__main__":
    options = read_live_options("p6", __doc__, files=50_000, size=20_000, rounds=3, quick=(50, 2000))
    writing = Writing(options.files, options.size, within_s=BURST_S)
    sys.exit(compare_live(options, writing, Report(figures, COLUMNS, goals), batch=True))
