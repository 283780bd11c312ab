"""Publishes commands so that none is lost: one SQLite transaction holds the outgoing event and the idempotency key."""

import hashlib
import time
from contextlib import suppress

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from datauploader.contracts import Event, EventData, decode, encode
from datauploader.reliability import Outbox, Schema, Store, sequence
from datauploader.runtime.crash_points import crash_point
from datauploader_gateway.errors import IdempotencyKeyReused
from datauploader_gateway.events.pending_requests import PendingRequests
from datauploader_gateway.events.signing import Signer
from datauploader_gateway.projection.writer import ViewWriter

SCHEMA = Schema(
    "intake",
    (
        (
            "CREATE TABLE intake (person TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, body BLOB NOT NULL, "
            "at REAL NOT NULL, PRIMARY KEY (person, key)) WITHOUT ROWID;"
        ),
    ),
)
KEPT_S = 7 * 24 * 3600.0


class CommandPublisher:
    """Publishes commands: accepts events of people for the outbox."""

    def __init__(
        self, store: Store, outbox: Outbox, pending_requests: PendingRequests, signer: Signer, writer: ViewWriter
    ) -> None:
        """Keep them in this store until the outbox has sent them, and as wishes until they are answered."""
        self._writer = writer
        self._store, self._outbox, self._pending_requests, self._signer = store, outbox, pending_requests, signer

    @property
    def problem(self) -> str:
        """What keeps accepted events from the broker, "" when nothing does."""
        return self._outbox.problem

    def waiting(self) -> int:
        """Count the accepted events that the broker does not have yet."""
        return self._outbox.waiting()

    def publish_event(self, event: Event[EventData], after: int = 0) -> Event[EventData]:
        """Keep an event until the broker has it; return it as it is sent, with an order greater than `after`."""
        event = self._signer.signed(event)
        with self._store.transaction() as db:
            sequence.raise_to(db, after)
            event = Outbox.put(db, event)
            self._pending_requests.keep_request(db, event)
        crash_point("gateway.order-kept")
        self._outbox.wake()
        return event

    async def show_event(self, event: Event[EventData]) -> None:
        """Put an event into the view at once, so that the next request sees it; the queue brings it once more."""
        with suppress(RedisError):
            await run_in_threadpool(self._writer.apply, event)

    def known(self, person: str, key: str, request: str) -> Event[EventData] | None:
        """Return the event that the same request with the same key led to before.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        with self._store.reading() as db:
            query = "SELECT digest, body FROM intake WHERE person = ? AND key = ?"
            row = db.execute(query, (person, key)).fetchone()
        if row is None:
            return None
        if row["digest"] != _digest(request):
            raise IdempotencyKeyReused("this Idempotency-Key came with another request before")
        return decode(row["body"])

    def publish_once(self, event: Event[EventData], person: str, key: str, request: str) -> Event[EventData]:
        """Keep an event unless the same request with the same key came before; return the one that counts.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        event = self._signer.signed(event)
        with self._store.transaction() as db:
            db.execute("DELETE FROM intake WHERE at < ?", (time.time() - KEPT_S,))
            row = (person, key, _digest(request), encode(event), time.time())
            if db.execute("INSERT OR IGNORE INTO intake VALUES (?, ?, ?, ?, ?)", row).rowcount:
                self._pending_requests.keep_request(db, Outbox.put(db, event))
            crash_point("gateway.taking-in")
        crash_point("gateway.taken-in")
        self._outbox.wake()
        return self.known(person, key, request) or event


def _digest(request: str) -> str:
    return hashlib.sha256(request.encode()).hexdigest()
