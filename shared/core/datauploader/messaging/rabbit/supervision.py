"""Doing something again after every end, with growing waits: what keeps connections and consumers alive."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from datauploader.errors import BrokerRefused, MessagingError
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.reliability.backoff import Backoff

JITTER = 0.5


async def keep(attempt: Callable[[], Awaitable[None]], note: Callable[[MessagingError], None], tuning: Tuning) -> None:
    """Repeat an attempt for ever, with exponential back-off that is short again after an attempt that has lasted.

    Each attempt lasts until it fails, and says so with a MessagingError.
    """
    away = Backoff(tuning.backoff_first_s, tuning.backoff_most_s, jitter=JITTER)
    refused = Backoff(tuning.backoff_first_s, tuning.refused_s, jitter=JITTER)
    failures = 0
    while True:
        begun = time.monotonic()
        try:
            await attempt()
        except MessagingError as error:
            note(error)
            failures = 1 if time.monotonic() - begun > tuning.stable_s else failures + 1
            backoff = refused if isinstance(error, BrokerRefused) else away
            await asyncio.sleep(backoff.wait_s(failures, chance=random.random()))  # noqa: S311 - hides nothing
