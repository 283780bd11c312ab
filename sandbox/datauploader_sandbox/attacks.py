"""The security table's book-keeping, a plugin of pytest: which attacks were tried, by how many tests, how it ended.

A test of the table carries `@pytest.mark.attack("S8")`. `--attack-report FILE` writes the table.
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ATTACKS = {
    "S1": "no, garbage, expired token on every route",
    "S2": "forged tokens of an identity provider: algorithm, keys, headers",
    "S3": "tokens for another audience, issuer or use",
    "S4": "clock skew",
    "S5": "key rotation, key server away, flood of unknown keys",
    "S6": "refresh token replayed",
    "S7": "revoked session used",
    "S8": "one user reads, follows, steers what is another's",
    "S9": "password guessing",
    "S10": "cross-site requests, foreign origin on event streams",
    "S11": "Host and X-Forwarded headers spoofed",
    "S12": "response headers, cookie flags",
    "S13": "a station speaks as another, reads others' queues, forges its name",
    "S14": "guest login, default passwords",
    "S15": "certificates that do not hold, on AMQP, Redis, HTTP, catalogue",
    "S16": "rclone's control from another user, without credentials",
    "S17": "connection strings and unknown remotes in requests and messages",
    "S18": "addresses of loopback and link-local from users, redirects",
    "S19": "paths and names that climb out",
    "S20": "symbolic link swapped between check and open",
    "S21": "FIFO, socket, device in a watched folder",
    "S22": "line breaks, terminal codes, bidirectional text, HTML in names",
    "S23": "writing by a name from outside",
    "S24": "a million tiny files, sparse giants, endless growth",
    "S25": "message bombs",
    "S26": "secrets in logs, process lists, error bodies, state",
    "S27": "containers with rights",
    "S28": "Redis as the application's user",
    "S29": "known vulnerabilities in dependencies",
    "S30": "event forged for another's upload or investigation",
    "S31": "parked-message tools as a plain user",
    "S32": "a message taken past the topic rights by the broker itself",
    "S33": "a pattern that is matched for ever",
    "S34": "a data file that ends or blocks its reader",
    "S35": "another's object named as one's own",
}
"""The numbers of the security table, and their names."""
_PAGE = """\
# Attacks

Made by `./dev test -m attack --attack-report FILE`; every figure was counted in the run of {when:%Y-%m-%d %H:%M} UTC.

| # | Attack | Tests | Failed |
|---|---|---|---|"""


class Ledger:
    """Counts the tests of each attack."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.tried: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's report once, at the end of its call, or where it went wrong."""
        if report.when != "call" and not report.failed:
            return
        for number in (str(value) for name, value in report.user_properties if name == "attack"):
            self.tried[number] += 1
            self.failed[number] += report.failed


def table(ledger: Ledger, when: datetime) -> str:
    """Write what was tried as a page."""
    rows = [f"| {n} | {name} | {ledger.tried[n]} | {ledger.failed[n]} |" for n, name in ATTACKS.items()]
    return "\n".join([_PAGE.format(when=when), *rows, ""])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the page."""
    parser.addoption("--attack-report", type=Path, help="write the table of attacks to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the ledger."""
    config.addinivalue_line("markers", "attack(number): a test of this attack of the security table")
    config.pluginmanager.register(Ledger(), "attack-ledger")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each report the numbers of its test's attacks."""
    for item in items:
        for number in {number for mark in item.iter_markers("attack") for number in mark.args}:
            assert number in ATTACKS, f"{item.nodeid}: there is no attack {number}"
            item.user_properties.append(("attack", number))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page."""
    page: Path | None = session.config.getoption("--attack-report")
    ledger: Any = session.config.pluginmanager.get_plugin("attack-ledger")
    if page is not None:
        page.write_text(table(ledger, datetime.now(UTC)), encoding="utf-8")
