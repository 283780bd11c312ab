"""The checks of everything that the gateway depends on: what `/health/ready` says, and what only operators are told."""

import asyncio
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from redis.asyncio import Redis
from redis.exceptions import RedisError

from datauploader.contracts.rest.health import CheckBody
from datauploader.messaging.port import Bus
from datauploader_gateway import redis_client
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.operations.diagnosis import Seen
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.projection_status import ProjectionStatus
from datauploader_gateway.projection.reader import ViewReader


class Health:
    """Asks each of them how it is."""

    def __init__(
        self, bus: Bus, client: Redis, reader: ViewReader, view: ProjectionStatus, questions: QueryClient,
        intake: CommandPublisher, provider: Provider | None, public: "PublicCertificate",
    ) -> None:  # fmt: skip
        """Look at these."""
        self._redis, self._view = client, view
        self._bus, self._reader, self._questions, self._intake = bus, reader, questions, intake
        self._provider, self._public = provider, public

    async def ready(self) -> list[CheckBody]:
        """Check the broker, Redis, the view, the catalogue, the catalog service and the outbox."""
        health = self._bus.health()
        detail = health.detail or ("the broker has paused publishers" if health.blocked else "")
        catalogue, condition, (redis, view), waiting = await asyncio.gather(
            self._questions.catalogue_trouble(), self._questions.catalog_condition(), self._redis_and_view(),
            asyncio.to_thread(self._intake.waiting),
        )  # fmt: skip
        checks = [
            CheckBody(name="broker", ok=health.ok and not health.blocked, detail=detail),
            CheckBody(name="redis", ok=not redis, detail=redis),
        ]
        if not redis:
            checks.append(CheckBody(name="view", ok=not view, detail=view))
        troubles = condition.troubles
        checks.append(CheckBody(name="catalogue", ok=not catalogue, detail=catalogue))
        checks.append(CheckBody(name="catalog service", ok=not troubles, detail=" ".join(troubles)))
        trouble = self._intake.problem
        detail = f"{waiting} events are waiting for the broker: {trouble}" if trouble else ""
        return [*checks, CheckBody(name="outbox", ok=not trouble, detail=detail)]

    async def look(self) -> Seen:
        """Check the same, and what does not keep the gateway from its work.

        That is the identity provider, uploads that wait for the catalogue longer than they should, and certificates.
        """
        checks = await self.ready()
        waiting = (await self._questions.catalog_condition()).waiting
        checks.append(CheckBody(name="catalogue updates", ok=not waiting, detail=" ".join(waiting)))
        if self._provider is not None:
            trouble = await self._provider.problem()
            checks.append(CheckBody(name="identity provider", ok=not trouble, detail=trouble))
        return Seen(
            checks=checks, broker=self._bus.health(), catalog_answers=self._questions.catalog_answers,
            public_certificate_until=await self._public.until(),
        )  # fmt: skip

    async def redis_answers(self) -> bool:
        """Tell whether Redis can be read."""
        try:
            await self._redis.exists(keys.MARKER)
        except RedisError:
            return False
        return True

    async def _redis_and_view(self) -> tuple[str, str]:
        """Say what is wrong with Redis, and with the view in it."""
        try:
            await self._redis.set(keys.PROBE, int(time.time()))  # a full one is read without a complaint
            whole = await self._reader.whole()
        except RedisError as error:
            return redis_client.trouble_of(error), ""
        return "", self._view.trouble or ("" if whole else "the status is being rebuilt from the event log")


_AGAIN_S = 3600.0
"""How long it is remembered when a certificate ends."""


class PublicCertificate:
    """The certificate that browsers are shown: whoever stands before the gateway renews it, so it is seen there."""

    def __init__(self, url: str) -> None:
        """Look at this address; one that is not HTTPS has none."""
        place = urlsplit(url)
        self._place = (place.hostname or "", place.port or 443) if place.scheme == "https" else None
        self._seen = float("-inf")
        self._until: datetime | None = None
        self._asking: asyncio.Task[None] | None = None

    async def until(self) -> datetime | None:
        """Return when it ends; None where it has not been seen, as where the address leads past this machine."""
        if self._place and time.monotonic() - self._seen > _AGAIN_S and (not self._asking or self._asking.done()):
            self._asking = asyncio.create_task(self._ask(self._place))  # nobody waits for it: the next look shows it
        return self._until

    async def _ask(self, place: tuple[str, int]) -> None:
        self._seen = time.monotonic()
        try:
            pem = await asyncio.to_thread(ssl.get_server_certificate, place, timeout=5)
            self._until = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.astimezone(UTC)
        except (OSError, ValueError):
            self._until = None
