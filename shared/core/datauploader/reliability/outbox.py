"""Events that a transaction decided to send, kept until the broker has taken them."""

import contextlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import structlog

from datauploader.contracts.envelope import LARGEST_ACCEPTED, EncodedEvent, Event, Mark, encode, peek, said_at
from datauploader.contracts.model import EventData
from datauploader.errors import BrokerRefused, ContractError, MessagingError, UnknownEvent
from datauploader.reliability import sequence
from datauploader.reliability.store import Schema, Store
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime import metrics, tracing
from datauploader.runtime.crash_points import crash_point

log = structlog.get_logger()

SCHEMA = Schema(
    "outbox",
    (
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, body BLOB NOT NULL);",
        "CREATE TABLE said (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL);",
    ),
)
WINDOW = 500
"""Events that may be on their way to the broker at once."""
MOST_BYTES = 8 * 1024 * 1024
"""Bytes that these events may have together: with the largest ones the window alone would be half a gigabyte."""
PAUSE_S = 1.0
"""How long the relay waits after the broker was away."""
REFUSED_PAUSE_S = 5.0
"""How often one of the events is tried again that the broker does not let pass; all of them once one has passed."""

Publish = Callable[[EncodedEvent], "Future[None]"]


class Outbox:
    """The table and the thread that empties it; an event leaves only when the broker has confirmed it."""

    def __init__(self, store: Store, publish: Publish) -> None:
        self._store = store
        self._publish = publish
        self._change = threading.Condition()
        self._fresh = True
        self._give_up_at: float | None = None
        self._cursor = 0
        """The largest row id that was read; a row that failed sets it back."""
        self._sent: dict[int, int] = {}
        """What is under way: rows, each with its bytes."""
        self._aside: dict[int, None] = {}
        """Rows that nobody takes now, first the one that was not tried for longest; the window does not count them."""
        self._failed: list[int] = []
        """Rows that the broker was away for; one timer sends all of them again."""
        self._synced = 0
        """The largest row id that has reached the disk."""
        self._refusal = ""
        self._probed: int | None = None
        self._timer: threading.Timer | None = None
        self._confirmed: list[int] = []
        self._trouble = ""
        self._stumbled = False
        self._thread = WorkerThread(self._run, name="outbox")

    @staticmethod
    def put(db: sqlite3.Connection, event: Event[EventData]) -> Event[EventData]:
        """Keep an event, as part of the caller's transaction; call `wake` after the commit.

        Returns:
            the event as it is sent: with a number, unless it has one because it was said before.

        Raises:
            ContractError: nobody would read the event, because it is too large; nothing of the transaction may stay.
        """
        numbered = event if event.sequence is not None else replace(event, sequence=sequence.draw(db))
        body = encode(numbered)
        if len(body) > LARGEST_ACCEPTED:
            raise ContractError(
                f"{event.data.name} of {event.data.upload_id or event.station.key} would have {len(body)} bytes; "
                f"at most {LARGEST_ACCEPTED} are taken: say it in several events"
            )
        db.execute("INSERT INTO outbox (event_id, body) VALUES (?, ?)", (numbered.id, body))
        tracing.said(
            f"{event.service} says {event.data.name}", event.traceparent, event.parent, event_id=numbered.id,
            upload_id=event.data.upload_id, station=event.station.key,
        )  # fmt: skip
        return numbered

    def numbered(self, event: Event[EventData]) -> Event[EventData]:
        """Give a number to an event that is sent past the outbox because it may be lost."""
        try:
            with self._store.transaction() as db:
                return replace(event, sequence=sequence.draw(db))
        except sqlite3.OperationalError:  # a full disk: it goes by its time
            return event

    @property
    def problem(self) -> str:
        """The sentence of the last failure, "" when the latest attempt went through."""
        return self._thread.problem or self._trouble or (self._refusal if self._aside else "")

    def waiting(self) -> int:
        """Count the events that the broker has not confirmed yet."""
        with self._store.reading() as db:
            return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def backlog(self) -> tuple[int, float]:
        """Count what waits, and the seconds since the oldest of it was said; only the file's first row is read."""
        try:
            with self._store.reading() as db:
                row = db.execute(
                    "SELECT body, (SELECT count(*) FROM outbox) AS n FROM outbox ORDER BY id LIMIT 1"
                ).fetchone()
        except sqlite3.DatabaseError:  # a full or damaged disk, which a check tells of
            return 0, 0.0
        said = row and said_at(row["body"])
        return (row["n"] if row else 0), max(0.0, time.time() - said.timestamp()) if said else 0.0

    @staticmethod
    def said(store: Store) -> int:
        """Return the number of the latest event that this file ever decided to send."""
        with store.reading() as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return int(row[0]) if row else 0

    def start(self) -> None:
        """Begin to send what is there, what a former run left included."""
        if self._store.path is not None:
            metrics.PROCESS.watch_backlog(self._store.path.stem, self)
        self._thread.start()

    def wake(self) -> None:
        """Say that there may be something new."""
        with self._change:
            self._fresh = True
            self._change.notify()

    def stop(self, deadline_s: float = 5.0) -> None:
        """Send what can be sent before the deadline; the rest stays in the table."""
        if self._store.path is not None:
            metrics.PROCESS.forget_backlog(self._store.path.stem, self)
        with self._change:
            self._give_up_at = time.monotonic() + deadline_s
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    def _run(self) -> None:
        while not self._finished():
            try:
                self._turn()
            except sqlite3.DatabaseError as error:  # a full disk, or a damaged one; the rows are still there
                self._stumble(
                    f"the state file cannot be used ({error}): make room on its disk, and it goes on by itself; "
                    "a damaged one is set aside at the next start"
                )
            except Exception as error:  # the boundary of the thread: the rows are still there
                log.exception("outbox_failed")
                self._stumble(f"an unexpected error ({type(error).__name__}) keeps events from being sent; see the log")
            with self._change:
                if self._stumbled or (not self._fresh and not self._confirmed):
                    self._change.wait(PAUSE_S)
        with contextlib.suppress(sqlite3.DatabaseError):
            self._delete_confirmed()

    def _turn(self) -> None:
        self._delete_confirmed()
        rows = self._unsent()
        if rows and rows[-1]["id"] > self._synced:  # a power cut must not make a file from the past: others hear these
            try:
                self._store.sync()
            except sqlite3.DatabaseError:
                with self._change:
                    self._read_again_from(rows[0]["id"])
                raise
            self._synced = rows[-1]["id"]
        for row in rows:
            self._send(row["id"], row["body"])
        if self._stumbled:
            self._stumbled, self._trouble = False, ""

    def _stumble(self, why: str) -> None:
        if not self._stumbled:
            log.error("outbox_write_failed", problem=why)
        self._stumbled = True
        self._trouble = why

    def _finished(self) -> bool:
        with self._change:
            if self._give_up_at is None:
                return False
            idle = not self._fresh and not self._sent and not self._confirmed
            return idle or bool(self._trouble) or time.monotonic() > self._give_up_at

    def _unsent(self) -> list[sqlite3.Row]:
        with self._change:
            room, free = WINDOW - len(self._sent), MOST_BYTES - sum(self._sent.values())
            cursor = self._cursor
            self._fresh = room <= 0
        if room <= 0:
            return []
        with self._store.reading() as db:
            query = "SELECT id, length(body) AS size FROM outbox WHERE id > ? ORDER BY id LIMIT ?"
            found = [(row["id"], row["size"]) for row in db.execute(query, (cursor, WINDOW))]
        with self._change:
            open_ = [one for one in found if one[0] not in self._sent and one[0] not in self._aside]
            chosen = dict(_as_fit(open_, room, free, alone=not self._sent))
            reached = found[-1][0] if found and len(chosen) == len(open_) else max(chosen, default=cursor)
            self._fresh = reached > cursor
            if self._cursor == cursor:  # else a row has failed meanwhile, and is read again from there
                self._cursor = reached
        if not chosen:
            return []
        with self._store.reading() as db:
            query = "SELECT id, body FROM outbox WHERE id > ? AND id <= ? ORDER BY id"
            return [row for row in db.execute(query, (cursor, reached)) if row["id"] in chosen]

    def _send(self, row_id: int, body: bytes) -> None:
        with self._change:
            self._sent[row_id] = len(body)
        try:
            event = EncodedEvent.marked(body, Mark(self._store.identity, self._store.run, row_id))
        except ContractError as error:  # it must not hold up the others
            self._unreadable(row_id, body, error)
            return
        self._publish(event).add_done_callback(lambda future: self._settled(row_id, event, future))
        crash_point("outbox.published")

    def _unreadable(self, row_id: int, body: bytes, error: ContractError) -> None:
        """Let go of a row that its source says again; set any other aside, and say truly why."""
        kind, subject = peek(body)
        name = kind.name if kind else "an event"
        if len(body) > LARGEST_ACCEPTED and kind is not None and kind.said_again:  # of a release that did not split
            log.warning("outbox_row_dropped", row=row_id, type=name, upload_id=subject, bytes=len(body))
            with self._change:
                self._confirmed.append(row_id)
                self._change.notify()
            return
        if isinstance(error, UnknownEvent):
            why = f"an event waits for the release that wrote it: {error}"
        elif len(body) > LARGEST_ACCEPTED:
            why = (
                f"{name} of {subject or 'this station'}, which a former release wrote, is too large to be sent and is "
                f"kept: {error}. Nothing else waits for it; tell the operator what it was about"
            )
        else:
            why = f"{name} of {subject or 'this station'} in the state file cannot be read and is kept: {error}"
        if self._set_aside(row_id, why):
            log.error("outbox_row_unreadable", row=row_id, type=name, upload_id=subject, problem=why)

    def _settled(self, row_id: int, event: EncodedEvent, future: "Future[None]") -> None:
        error = future.exception() if not future.cancelled() else MessagingError("publishing was cancelled")
        if error is None:
            with self._change:
                self._confirmed.append(row_id)
                self._trouble = ""
                if row_id == self._probed:  # one has passed: try all that was set aside
                    self._probed = None
                    if self._aside:
                        self._read_again_from(min(self._aside))
                        self._aside.clear()
                self._change.notify()
            return
        if isinstance(error, BrokerRefused):
            if self._set_aside(row_id, str(error)):
                log.warning("publish_refused", type=event.kind.name, event_id=event.id, problem=str(error))
            return
        if str(error) != self._trouble:
            log.warning("publish_failed", type=event.kind.name, event_id=event.id, problem=str(error))
        self._trouble = str(error) or type(error).__name__
        with self._change:
            self._failed.append(row_id)
            if len(self._failed) == 1:
                _later(PAUSE_S, self._again)

    def _set_aside(self, row_id: int, why: str) -> bool:
        """Let others go past a row that nobody takes; return whether the reason is new."""
        with self._change:
            self._sent.pop(row_id, None)
            self._aside[row_id] = None
            self._probed = None if self._probed == row_id else self._probed
            fresh, self._refusal = why != self._refusal, why
            if self._timer is None:
                self._timer = _later(REFUSED_PAUSE_S, self._probe)
            self._change.notify()
        return fresh

    def _probe(self) -> None:
        """Try one of the rows that were set aside."""
        with self._change:
            self._timer = None
            if self._aside and self._probed is None:
                self._probed = next(iter(self._aside))
                del self._aside[self._probed]
                self._read_again_from(self._probed)

    def _read_again_from(self, row_id: int) -> None:
        self._cursor = min(self._cursor, row_id - 1)
        self._fresh = True
        self._change.notify()

    def _again(self) -> None:
        with self._change:
            failed, self._failed = self._failed, []
            for row_id in failed:
                self._sent.pop(row_id, None)
            self._read_again_from(min(failed))

    def _delete_confirmed(self) -> None:
        with self._change:
            done, self._confirmed = self._confirmed, []
        if not done:
            return
        crash_point("outbox.confirmed")
        try:
            with self._store.transaction() as db:
                db.executemany("DELETE FROM outbox WHERE id = ?", [(row_id,) for row_id in done])
        except sqlite3.DatabaseError:
            with self._change:
                self._confirmed = done + self._confirmed
            raise
        crash_point("outbox.deleted")
        with self._change:
            for row_id in done:
                self._sent.pop(row_id, None)


def _as_fit(
    rows: Iterable[tuple[int, int]], room: int, free: int, *, alone: bool
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Take rows, each with its bytes, as long as there is room for them; where nothing is under way, one at least."""
    for row_id, size in itertools.islice(rows, room):
        if size > free and not alone:
            return
        free, alone = free - size, False
        yield row_id, size


def _later(seconds: float, step: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, step)
    timer.daemon = True
    timer.start()
    return timer
