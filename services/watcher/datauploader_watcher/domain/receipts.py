"""In which order a file version goes through its states; receipts may come late, twice and in any order."""

from typing import Literal

from datauploader.reliability.backoff import Backoff

State = Literal[
    "ready", "announced", "suspect", "failed", "stored", "catalogued", "releasing", "released", "gone", "left-out"
]
"""What the ledger says of a path."""

_RANK: dict[str, int] = {
    "ready": 0, "announced": 1, "suspect": 2, "failed": 2, "stored": 3, "catalogued": 4, "releasing": 5, "released": 6,
}  # fmt: skip
LONGEST_PATIENCE_S = 3600.0


def moves(now: str, to: str) -> bool:
    """Tell whether a receipt may take a version from one state to another: only ever forward.

    A version that has failed, or was called gone, and is then stored after all is stored.
    """
    if now == "gone":
        return to in ("stored", "catalogued")
    if now == "left-out":
        return False
    return _RANK[to] > _RANK[now]


def before(to: str) -> list[str]:
    """List the states from which a receipt may take a version to this one."""
    return [now for now in (*_RANK, "gone") if moves(now, to)]


def next_reminder_s(first_s: float, attempts: int) -> float:
    """Return the back-off: how long to wait after so many announcements, twice as long each time, up to an hour."""
    return Backoff(first_s, LONGEST_PATIENCE_S).wait_s(attempts)
