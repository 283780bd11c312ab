"""The fault campaign's book-keeping, a plugin of pytest: which faults ran, how fast they healed, what the oracle found.

A test of the campaign carries `@pytest.mark.fault("F19")`; one that takes too long for every CI run carries
`@pytest.mark.campaign` too. `--fault-report FILE` writes the table.
"""

import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datauploader_sandbox.oracle import Verdict

FAULTS = {
    "F1": "event-queue overflow",
    "F2": "Windows buffer overflow",
    "F3": "files made before start or while down",
    "F4": "new nested directories",
    "F5": "inotify watch limit",
    "F6": "writes that raise no event (network drive)",
    "F7": "mount vanishes and comes back",
    "F8": "EIO, ESTALE, EBUSY",
    "F9": "slow writer",
    "F10": "written to after it was finished",
    "F11": "in-place write with the mtime restored",
    "F12": "temporary name, then rename; directory renamed",
    "F13": "deleted during the upload",
    "F14": "case twins, NFC and NFD twins",
    "F15": "hostile names",
    "F16": "Windows lock, long path, case rename",
    "F17": "clock jumps by an hour",
    "F18": "broker away for long",
    "F19": "broker killed",
    "F20": "confirm lost",
    "F21": "broker blocked",
    "F22": "unroutable",
    "F23": "queue deleted",
    "F24": "poison messages",
    "F25": "slow handler",
    "F26": "duplicates and disorder",
    "F27": "watcher's disk full",
    "F28": "state file damaged",
    "F29": "bit flip to a storage without hashes",
    "F30": "truncating storage",
    "F31": "reset, stall, latency",
    "F32": "storage answers 5xx or 429, or is away",
    "F33": "storage full, quota",
    "F34": "rclone killed during a copy",
    "F35": "rclone's job expired",
    "F36": "stale socket, partial objects left",
    "F37": "edit of the same size, storage without hashes",
    "F38": "foreign object at the destination",
    "F39": "delete after verify",
    "F40": "crash at every step",
    "F41": "Redis flushed, killed, away",
    "F42": "created, response lost",
    "F43": "two consumers, one dataset",
    "F44": "catalogue error on an existence check",
    "F45": "permanent refusal for one dataset",
    "F46": "random sequences of faults",
    "F47": "two uploads, one dataset or object",
    "F48": "bytes that change behind unchanged stamps",
    "F49": "an original that may not go",
    "F50": "the former version while its successor is sent",
    "F51": "a path that leads out of its root",
    "F52": "a storage that takes two names for one",
    "F53": "state, Redis or a server put back from a copy",
    "F54": "clocks that were ahead and are put right",
    "F55": "two machines with one name, a batch of nothing",
    "F56": "written after the seal",
    "F57": "old news told as now",
    "F58": "a value that no column, format or clock can hold",
    "F59": "the catalogue refuses one value for good",
    "F60": "the storage refuses one file every time",
    "F61": "a storage whose trouble is told wrongly",
    "F62": "a file that a harvester cannot bear",
    "F63": "messages whose queue does not exist",
    "F64": "a file that never rests",
    "F65": "one of several movers fails",
    "F66": "one release up and down again",
}
"""The numbers of the campaign's table, and their names."""
_PAGE = """\
# Faults

Made by `./dev faults`; every figure was measured in the run that this page names. Recovery is counted from the end of
the fault until the dataset is complete. A test that stands for several faults counts in each.

Run: {when:%Y-%m-%d %H:%M} UTC, {machine}; tests chosen by `{chosen}`. \
Runs: {runs}, failed: {failed}, judged by the oracle: {judged}.
Recovery p95: {p95}.

| # | Fault | Runs | Failed | Judged | Recovered, p50 | max | Lost | Duplicated | Wrong | Unexpected | False verified \
| False complete |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(slots=True)
class Tally:
    """What the runs of one fault came to."""

    runs: int = 0
    failed: int = 0
    recovered_s: list[float] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    judged: int = 0


class Record:
    """What one test tells the campaign."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        """Write into the properties of the test's report."""
        self._properties = properties

    def recovered(self, seconds: float) -> None:
        """Tell how long it took from the end of the fault until everything was well."""
        self._properties.append(("recovered", round(seconds, 2)))

    def verdict(self, verdict: Verdict) -> None:
        """Tell what the oracle found."""
        self._properties.append(("verdict", dict(verdict.counts)))


class Book:
    """Collects what the tests of all processes told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.tallies: dict[str, Tally] = defaultdict(Tally)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's report once, at the end of its call, or where it went wrong."""
        if report.when != "call" and not report.failed:
            return
        for number in (str(value) for name, value in report.user_properties if name == "fault"):
            self._enter(self.tallies[number], report)

    def _enter(self, tally: Tally, report: pytest.TestReport) -> None:
        tally.runs += 1
        tally.failed += report.failed
        for name, value in report.user_properties:
            if name == "recovered" and isinstance(value, float):
                tally.recovered_s.append(value)
            elif name == "verdict" and isinstance(value, dict):
                tally.judged += 1
                for kind, count in value.items():
                    tally.found[kind] += count


def table(tallies: dict[str, Tally], when: datetime, machine: str, chosen: str) -> str:
    """Write the campaign's result as a page."""
    page = _PAGE.format(
        when=when,
        machine=machine,
        chosen=chosen,
        runs=sum(tally.runs for tally in tallies.values()),
        failed=sum(tally.failed for tally in tallies.values()),
        judged=sum(tally.judged for tally in tallies.values()),
        p95=_p95(seconds for tally in tallies.values() for seconds in tally.recovered_s),
    )
    rows = [_row(number, name, tallies.get(number, Tally())) for number, name in FAULTS.items()]
    return "\n".join([page, *rows, ""])


def _row(number: str, name: str, tally: Tally) -> str:
    spans = tally.recovered_s
    found = [
        str(tally.found[kind]) if tally.judged else "-"
        for kind in ("lost", "duplicated", "wrong", "unexpected", "false_verified", "false_complete")
    ]
    p50, most = (f"{statistics.median(spans):.1f} s", f"{max(spans):.1f} s") if spans else ("-", "-")
    cells = [number, name, str(tally.runs), str(tally.failed), str(tally.judged), p50, most, *found]
    return f"| {' | '.join(cells)} |"


def _p95(seconds: Iterable[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[round(0.95 * (len(ordered) - 1))]:.1f} s" if ordered else "not measured"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the page."""
    parser.addoption("--fault-report", type=Path, help="write the fault campaign's table to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the book."""
    config.addinivalue_line("markers", "fault(number): a test of this fault of the campaign's table")
    config.addinivalue_line("markers", "campaign: takes too long for every run of CI; `./dev faults` runs it")
    config.pluginmanager.register(Book(), "fault-book")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each report the numbers of its test's faults."""
    for item in items:
        for mark in item.iter_markers("fault"):
            for number in mark.args:
                assert number in FAULTS, f"{item.nodeid}: there is no fault {number}"
                item.user_properties.append(("fault", number))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page."""
    page: Path | None = session.config.getoption("--fault-report")
    book: Any = session.config.pluginmanager.get_plugin("fault-book")
    if page is not None and not hasattr(session.config, "workerinput"):
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        chosen = f"-m '{session.config.getoption('-m')}'"
        page.write_text(table(book.tallies, datetime.now(UTC), machine, chosen), encoding="utf-8")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Give what a test of the campaign tells its results to."""
    return Record(request.node.user_properties)
