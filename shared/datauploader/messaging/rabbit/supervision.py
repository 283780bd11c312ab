"""Doing something again after every end, with growing waits: what keeps connections and consumers alive."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from datauploader.errors import BrokerRefused, MessagingError
from datauploader.messaging.rabbit.tuning import Tuning


class Backoff:
    """Waits that double up to a cap, with jitter; short again only after a stable while."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._failures = 0
        self._begun = time.monotonic()

    def begin(self) -> None:
        """Note that an attempt begins now."""
        self._begun = time.monotonic()

    def wait_s(self, error: MessagingError | None = None) -> float:
        """Say how long to wait after an attempt has ended."""
        if time.monotonic() - self._begun > self._tuning.stable_s:
            self._failures = 0
        grown = self._tuning.backoff_first_s * 2.0 ** min(self._failures, 16)
        self._failures += 1
        most = self._tuning.refused_s if isinstance(error, BrokerRefused) else self._tuning.backoff_most_s
        return min(grown, most) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, hides nothing


async def keep(attempt: Callable[[], Awaitable[None]], note: Callable[[MessagingError], None], tuning: Tuning) -> None:
    """Repeat an attempt for ever; each one lasts until it fails, and says so with a MessagingError."""
    backoff = Backoff(tuning)
    while True:
        backoff.begin()
        try:
            await attempt()
        except MessagingError as error:
            note(error)
            await asyncio.sleep(backoff.wait_s(error))
