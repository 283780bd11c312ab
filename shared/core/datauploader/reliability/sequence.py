"""The numbers by which a service's events are ordered: they only rise, whatever becomes of the clock.

A number is the time in microseconds, or one more than the last where the clock has not got past that: so a state file
that was lost goes on above what the lost one has said, unless that one's clock was ahead. Who can ask what was heard
of it (a station the catalog, a gateway the event log) begins above that: see `raise_to`.
"""

import sqlite3
import time

HIGHEST_HEARD = 5_000_000_000_000_000
"""Half of what 16 digits hold, in the year 2128: who is made to begin there can still count on."""


def draw(db: sqlite3.Connection) -> int:
    """Return the next number, as part of the caller's transaction."""
    row = db.execute(
        "INSERT INTO said VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET sequence = max(sequence + 1, excluded.sequence)"
        " RETURNING sequence",
        (time.time_ns() // 1000,),
    ).fetchone()
    return int(row[0])


def raise_to(db: sqlite3.Connection, heard: int) -> None:
    """Let the next number be greater than one that was heard; one beyond all reason is nobody's honest number."""
    if heard > HIGHEST_HEARD:
        return
    db.execute(
        "INSERT INTO said VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET sequence = excluded.sequence"
        " WHERE excluded.sequence > sequence",
        (heard,),
    )
