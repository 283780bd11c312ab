"""What `datauploader doctor` asks of the gateway: do Redis, the identity provider and the mail server answer."""

import asyncio
import smtplib
from collections.abc import Iterator

from redis.exceptions import RedisError

from datauploader.runtime import proxies, version_floors
from datauploader.runtime.config import Settings, load
from datauploader.runtime.service import Check
from datauploader_gateway import redis_client
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.features.mail import smtp_queue
from datauploader_gateway.settings import GatewaySettings


def examine(_settings: Settings) -> Iterator[Check]:
    """Ask each that is configured; nobody is signed in and nothing is sent."""
    settings = load(GatewaySettings)
    yield from _redis(settings.redis.get_secret_value())
    operations = settings.operations_broker.get_secret_value()
    if operations.startswith("amqp"):
        from datauploader.messaging.rabbit import check_sign_ins  # noqa: PLC0415 - memory:// runs without pika

        trouble = check_sign_ins(operations)
        hint = "; without it the page /operations cannot say whom the broker refuses, see docs/operations.md"
        yield Check("refused sign-ins", ok=not trouble, detail=trouble and trouble + hint)
    if settings.oidc.on:
        trouble = asyncio.run(_provider(settings))
        hint = proxies.hint("gateway.oidc.proxy") if trouble and not settings.oidc.proxy else ""
        yield Check("identity provider", ok=not trouble, detail=trouble + hint)
    if settings.mail.on:
        try:
            with smtp_queue.connect(settings.mail):
                trouble = ""
        except (OSError, smtplib.SMTPException) as error:
            trouble = smtp_queue.trouble_of(error, settings.mail)
        yield Check("mail", ok=not trouble, detail=trouble)


def _redis(url: str) -> Iterator[Check]:
    client = redis_client.connect(url)
    try:
        client.ping()
        yield Check("redis", ok=True)
        if not redis_client.is_memory(url):
            yield version_floors.judge(
                "redis release", str(client.info("server")["redis_version"]), version_floors.REDIS
            )
    except RedisError as error:
        yield Check("redis", ok=False, detail=redis_client.trouble_of(error))
    finally:
        client.close()


async def _provider(settings: GatewaySettings) -> str:
    provider = Provider(settings.oidc, settings.public_url)
    try:
        return await provider.problem()
    finally:
        await provider.close()
