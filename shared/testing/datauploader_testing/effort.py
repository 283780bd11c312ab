"""What a query costs, counted instead of timed."""

import sqlite3
from collections.abc import Callable


def effort(db: sqlite3.Connection, action: Callable[[], object]) -> int:
    """Return how many instructions SQLite's virtual machine executes for an action; the same on every machine."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    db.set_progress_handler(step, 1)
    try:
        action()
    finally:
        db.set_progress_handler(None, 0)
    return steps
