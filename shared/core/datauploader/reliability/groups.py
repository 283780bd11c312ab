"""Many rows with one statement: each statement waits for Python's lock once, and SQLite begins it once."""

import sqlite3
from collections.abc import Sequence
from functools import cache

ROWS = 50
"""Rows of one statement; what is left over is written row by row, so that there are two statements and no more."""


def write_groups(db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]], *, row: str = "") -> int:
    """Run a statement over rows; return how many rows of its table it has changed.

    Args:
        db: the connection, in the caller's transaction.
        statement: an INSERT or UPDATE that has `{rows}` where a list of rows stands behind VALUES.
        rows: the values of each.
        row: how one of them is written, where some of its values stand in the statement.
    """
    if not rows:
        return 0
    row = row or f"({marks(len(rows[0]))})"
    whole = len(rows) - len(rows) % ROWS
    changed = 0
    for start in range(0, whole, ROWS):
        values = [value for one in rows[start : start + ROWS] for value in one]
        changed += db.execute(_with_rows(statement, row, ROWS), values).rowcount
    if whole < len(rows):
        changed += db.executemany(_with_rows(statement, row, 1), rows[whole:]).rowcount
    return changed


@cache
def marks(number: int) -> str:
    """Return so many question marks, as a list of values has them."""
    return ", ".join("?" * number)


@cache
def _with_rows(statement: str, row: str, number: int) -> str:
    return statement.format(rows=", ".join([row] * number))
