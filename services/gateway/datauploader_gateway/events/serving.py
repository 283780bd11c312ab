"""Which gateway serves: of several at one Redis one alone consumes events, repeats requests and writes mail.

The others stand by: they have all that Redis has, and read the event log for the rest when they take over.
"""

import socket
from collections.abc import Callable

import redis
import structlog

from datauploader.reliability import Store
from datauploader_gateway.errors import AnotherServes
from datauploader_gateway.projection import keys
from datauploader_gateway.redis_client import text

log = structlog.get_logger()

LEASE_S = 10
"""How long after its last sign the serving gateway is believed to be there."""


class ServingLease:
    """The lease of the gateway that serves; it stands in Redis, and names the state file."""

    def __init__(self, client: redis.Redis, store: Store) -> None:
        """Ask for it in the name of this state file."""
        self._redis, self._store = client, store
        self._mine = f"{store.identity} {socket.gethostname()}"
        self._held = False
        self.rival = ""
        """A sentence while another gateway serves, "" while this one does or nobody is known."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when this gateway begins to serve, and when it begins to stand by."""

    def renew(self) -> None:
        """Take the lease, or go on to hold it.

        Raises:
            AnotherServes: another gateway has it.
        """
        while not self._redis.set(keys.SERVING, self._mine, nx=True, ex=LEASE_S):
            holder = self._redis.get(keys.SERVING)
            if holder is not None and text(holder) != self._mine:
                self._stand_by(text(holder).partition(" ")[2])
            if self._redis.expire(keys.SERVING, LEASE_S):  # else it has ended this moment
                break
        if self._held:
            return
        served = self._redis.get(keys.SERVED)
        if self.rival or (served is not None and text(served) != self._mine):
            log.warning("gateway_takes_over", hint="what another gateway has heard is read from the event log")
            self._store.require_recovery()
        self._redis.set(keys.SERVED, self._mine)
        self._held, stood_by, self.rival = True, self.rival, ""
        if stood_by:
            self.on_change()

    def release(self) -> None:
        """Let another gateway serve at once."""
        if self._held and self._redis.get(keys.SERVING) == self._mine.encode():
            self._redis.delete(keys.SERVING)
        self._held = False

    def _stand_by(self, host: str) -> None:
        stood_by, self._held = self.rival, False
        self.rival = f"another gateway serves, on {host}; this one takes over when it is gone"
        if not stood_by:
            log.info("gateway_stands_by", serving=host)
            self.on_change()
        raise AnotherServes(self.rival)
