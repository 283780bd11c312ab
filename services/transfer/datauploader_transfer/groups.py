"""Many rows with one statement: each statement waits for Python's lock once, and SQLite begins it once."""

import sqlite3
from collections.abc import Sequence
from functools import cache

ROWS = 50
"""Rows of one statement; what is left over is written row by row, so that there are two statements and no more."""


def insert_groups(db: sqlite3.Connection, statement: str, row: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert rows with a statement that has `{rows}` where their values stand; `row` is how one of them is written."""
    whole = len(rows) - len(rows) % ROWS
    for start in range(0, whole, ROWS):
        values = [value for one in rows[start : start + ROWS] for value in one]
        db.execute(_with_rows(statement, row, ROWS), values)
    db.executemany(_with_rows(statement, row, 1), rows[whole:])


@cache
def marks(number: int) -> str:
    """Return so many question marks, as a list of values has them."""
    return ", ".join("?" * number)


@cache
def _with_rows(statement: str, row: str, number: int) -> str:
    return statement.format(rows=", ".join([row] * number))
