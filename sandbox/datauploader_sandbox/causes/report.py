"""The page docs/causes.md, from what was measured."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from datauploader_sandbox.causes.faults import FAULTS, NOT_MADE
from datauploader_sandbox.causes.scene import Measured

HEADS = (
    "Fault", "Named", "What the page says", "Causes", "Alert", "Pending", "Firing", "Held back", "Told as well",
    "Run (UTC)",
)  # fmt: skip


def rows(page: str) -> dict[str, str]:
    """Return the lines of a table that was written before, by their faults."""
    known = {fault.name for fault in FAULTS}
    lines = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == len(HEADS) + 1]
    return {name: line for line in lines if (name := line.split(" | ")[0].removeprefix("| ")) in known}


def table(found: Sequence[Measured], now: datetime, before: Mapping[str, str]) -> str:
    """Write the page; what was not made this time stays as it was before."""
    known = {**before, **{one.fault: _row(one, f"{now:%Y-%m-%d %H:%M}") for one in found}}
    lines = [
        "# Seconds until a fault is told of",
        "",
        "Made by `./dev causes`: each fault in a facility of real processes, watched over `GET /api/v1/operations`,",
        "without Redis over `/operations/direct`, and by a Prometheus with the rules of `deploy/monitoring`. All",
        "seconds are from before the fault, the end of a process included.",
        "",
        "- *Named* is until the page names the cause, *causes* how many stood there at once from then on, what follows",
        "  from them not counted.",
        "- *Pending* is until the rule of the alert holds. It fires when it has held for the minutes that stand behind",
        "  its name; where *firing* has a number that was waited for: `./dev causes --firing MINUTES`.",
        "- *Held back* are alerts that Alertmanager does not send because of that one, *told as well* those that it",
        "  sends beside it, if they hold long enough.",
        "",
        f"| {' | '.join(HEADS)} |",
        f"|{'---|' * len(HEADS)}",
        *(known[fault.name] for fault in FAULTS if fault.name in known),
        "",
        "A station that hangs, or whose network is cut, keeps its connection at the broker for a minute; it is missed",
        "when all its services are late with their reports, which come every 10 seconds. The expired certificate is",
        "met when a connection is made anew, so the gateway's was cut. Prometheus asks the station as it asks one on",
        "the server. Of stations elsewhere it knows what the gateway tells; *StationSilent*, *StationServiceSilent*",
        "and *StorageAway* go by that.",
        "",
        "Not made here:",
        "",
        *(f"- {text}" for text in NOT_MADE),
    ]
    return "\n".join(lines) + "\n"


def _row(one: Measured, when: str) -> str:
    cells = (
        one.fault, f"{one.seconds:.1f}", one.what, str(one.causes), one.alert, _seconds(one.pending_s),
        _seconds(one.firing_s), ", ".join(one.held_back), ", ".join(one.told_as_well), when,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _seconds(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"
