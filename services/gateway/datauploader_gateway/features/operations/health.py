"""The checks of everything that the gateway depends on: what `/health/ready` says, and the identity provider."""

import asyncio
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from datauploader.contracts.rest.health import CheckBody
from datauploader.messaging.port import Bus
from datauploader_gateway import redis_client
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.projection_status import ProjectionStatus
from datauploader_gateway.projection.reader import ViewReader


class Health:
    """Asks each of them how it is."""

    def __init__(
        self, bus: Bus, client: Redis, reader: ViewReader, view: ProjectionStatus, questions: QueryClient,
        intake: CommandPublisher, provider: Provider | None,
    ) -> None:  # fmt: skip
        """Look at these."""
        self._redis, self._view = client, view
        self._bus, self._reader, self._questions, self._intake = bus, reader, questions, intake
        self._provider = provider

    async def ready(self) -> list[CheckBody]:
        """Check the broker, Redis, the view, the catalogue, the catalog service and the outbox."""
        health = self._bus.health()
        detail = health.detail or ("the broker has paused publishers" if health.blocked else "")
        found = [CheckBody(name="broker", ok=health.ok and not health.blocked, detail=detail)]
        try:
            await self._redis.set(keys.PROBE, int(time.time()))  # a full one is read without a complaint
            whole = await self._reader.whole()
        except RedisError as error:
            found.append(CheckBody(name="redis", ok=False, detail=redis_client.trouble_of(error)))
        else:
            trouble = self._view.trouble or ("" if whole else "the status is being rebuilt from the event log")
            found += [CheckBody(name="redis", ok=True), CheckBody(name="view", ok=not trouble, detail=trouble)]
        trouble = await self._questions.catalogue_trouble()
        found.append(CheckBody(name="catalogue", ok=not trouble, detail=trouble))
        troubles = (await self._questions.catalog_condition()).troubles
        found.append(CheckBody(name="catalog service", ok=not troubles, detail=" ".join(troubles)))
        waiting = await asyncio.to_thread(self._intake.waiting)
        trouble = self._intake.problem
        detail = f"{waiting} events are waiting for the broker: {trouble}" if trouble else ""
        return [*found, CheckBody(name="outbox", ok=not trouble, detail=detail)]

    async def checks(self) -> list[CheckBody]:
        """Check the same, and what does not keep the gateway from its work.

        That is the identity provider, and uploads that wait for the catalogue longer than they should.
        """
        found = await self.ready()
        waiting = (await self._questions.catalog_condition()).waiting
        found.append(CheckBody(name="catalogue updates", ok=not waiting, detail=" ".join(waiting)))
        if self._provider is not None:
            trouble = await self._provider.problem()
            found.append(CheckBody(name="identity provider", ok=not trouble, detail=trouble))
        return found
