"""P5: files that are written steadily while the system runs: from the close of each to its being verified.

The parties take turns, each with a folder that is watched already: ten files of 1 MB a second come there, one hundred
to a new folder. Ours is timed until a listener at the broker hears that the stored bytes of a file are verified. The
others verify nothing, so theirs is the time until the complete file lies at the goal; the same is said of ours. What
has arrived is compared afterwards, byte for byte. A quiet period of 1 s is asked for, of which the station waits a
quarter once a writer has closed its file: that quarter is taken off where the time beyond the quiet period is said.
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from live import QUIET_S, Figures, Report, compare_live, read_live_options
from parties import OURS
from watching import LiveTurn, Writing, busy, processor_median, spread

from datauploader_watcher.domain.stability import QuietPeriod
from datauploader_watcher.settings import WatcherSettings

PER_SECOND = 10
MOST = {"p50_s": 0.3, "p99_s": 1.0}
"""What ours is to take at most beyond the quiet period; it is to be below everybody else's, too."""


def waited_s() -> float:
    """Return how long a station waits after the close of a file, with its default settings."""
    factor, least_s = (
        float(WatcherSettings.model_fields[name].default) for name in ("closed_quiet_factor", "closed_quiet_least_s")
    )
    return QuietPeriod.of(QUIET_S, factor=factor, least_s=least_s).closed_s


def figures(turns: Sequence[LiveTurn]) -> dict[str, Any]:
    """Put the figures of one party into one object; those of single files are of all rounds together."""
    took = [[turn.arrived[name] - turn.closed[name] for name in turn.arrived] for turn in turns]
    there = [turn.there[name] - turn.closed[name] for turn in turns for name in turn.arrived]
    return {
        "files": sum(len(turn.closed) for turn in turns),
        "lost": sum(turn.lost for turn in turns),
        "took": spread([seconds for one in took for seconds in one]),
        "at_the_goal": spread(there),
        "p50_of_rounds_s": [round(statistics.median(one), 3) for one in took if one],
        "processor_s": processor_median(turns),
        "notes": [dict(turn.notes) for turn in turns],
    }


def goals(found: Figures) -> dict[str, bool]:
    """Say which goals are met."""
    ours, waited = found[OURS]["took"], waited_s()
    met = {f"{name} - {waited:g} s <= {most:g} s": ours[name] - waited <= most for name, most in MOST.items()}
    others = [name for name in found if name != OURS]
    return met | {f"{name} below {other}": ours[name] < found[other]["took"][name] for other in others for name in MOST}


COLUMNS = {
    "p50": lambda one: f"{one['took']['p50_s']:.2f} s",
    "p99": lambda one: f"{one['took']['p99_s']:.2f} s",
    "Least": lambda one: f"{one['took']['least_s']:.2f} s",
    "Greatest": lambda one: f"{one['took']['greatest_s']:.2f} s",
    "p50 of the rounds": lambda one: f"{min(one['p50_of_rounds_s']):.2f} to {max(one['p50_of_rounds_s']):.2f} s",
    "At the goal, p50": lambda one: f"{one['at_the_goal']['p50_s']:.2f} s",
    "At the goal, p99": lambda one: f"{one['at_the_goal']['p99_s']:.2f} s",
    "Lost": lambda one: f"{one['lost']} of {one['files']}",
    "Processor": lambda one: busy(one["processor_s"]),
}

if __name__ == "__main__":
    options = read_live_options("p5", __doc__, files=100, size=1_000_000)
    writing = Writing(options.files, options.size, every_s=1 / PER_SECOND)
    sys.exit(compare_live(options, writing, Report(figures, COLUMNS, goals, {"waited_s": waited_s()})))
