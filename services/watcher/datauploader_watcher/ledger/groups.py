"""Many rows with one statement: each statement waits for Python's lock, and makes its lists of constants, once."""

import sqlite3
from collections.abc import Sequence
from functools import cache

ROWS = 64
"""Rows of one statement; fewer are filled up, so that SQLite has to read no other statement for each number."""
_FEW = 8
"""Up to so many rows are written one by one."""


def write_groups(db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]) -> int:
    """Run a statement over rows, which it reads as `{rows}`; return how many rows of its table it has changed.

    It must change nothing for a row that is NULL all over.
    """
    size = ROWS if len(rows) > _FEW else 1
    changed = 0
    for start in range(0, len(rows), size):
        group = rows[start : start + size]
        values = [value for row in group for value in row]
        values.extend([None] * ((size - len(group)) * len(rows[0])))
        changed += db.execute(_with_rows(statement, size, len(rows[0])), values).rowcount
    return changed


@cache
def _with_rows(statement: str, size: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=f"(VALUES {', '.join([row] * size)})")
