"""Something of the provider's that is fetched seldom: an hour fresh, and kept for as long as the provider is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from datauploader_gateway.errors import ProviderAway

log = structlog.get_logger()

FRESH_S = 3600.0
PATIENCE_S = 60.0
"""Strangers can make us ask the provider this often and no oftener, whatever they send."""

T = TypeVar("T")


class CachedDocument(Generic[T]):
    """A cached document of the provider's."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        """Fetch it so, and measure seconds so."""
        self._fetch, self._clock = fetch, clock
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._fresh_until = self._again_from = float("-inf")

    async def get(self, *, patient: bool) -> T:
        """Return it; `patient` for strangers, who cannot make a provider that is away be asked all the time.

        Raises:
            ProviderAway: it was never fetched, and cannot be now.
        """
        if self._value is not None and self._clock() < self._fresh_until:
            return self._value
        async with self._lock:
            now = self._clock()
            if self._value is not None and now < self._fresh_until:
                return self._value
            if now < self._again_from and (patient or self._value is not None):
                return self._or_away()
            return await self._fetched()

    async def renew(self, *, patient: bool) -> T:
        """Fetch it anew because it lacks something; `patient` when that may be a stranger's invention.

        Raises:
            ProviderAway: it was never fetched, and cannot be now.
        """
        async with self._lock:
            if patient and self._clock() < self._again_from:
                return self._or_away()
            return await self._fetched()

    async def _fetched(self) -> T:
        self._again_from = self._clock() + PATIENCE_S
        try:
            self._value = await self._fetch()
        except ProviderAway as error:
            log.warning("identity_provider_unavailable", problem=error.detail, kept=self._value is not None)
            if self._value is None:
                raise
            return self._value
        self._fresh_until = self._clock() + FRESH_S
        return self._value

    def _or_away(self) -> T:
        if self._value is None:
            raise ProviderAway(
                "the identity provider did not respond a moment ago; wait a little before the next attempt"
            )
        return self._value
