"""The client of Redis, the only one: a real server or, for `memory://`, fakeredis here; and its memory reserve."""

import threading
import time
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import fakeredis
import hiredis
import redis
from redis import asyncio as redis_async
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.retry import Retry

from datauploader.errors import ConfigurationError

Entries = Sequence[tuple[bytes, dict[bytes, bytes]]]
"""Entries of a stream: id and fields."""
TIMEOUT_S = 5.0
WAIT_S = 20.0
"""How long a request may wait until it is its turn."""
CONNECTIONS = 50
"""Requests beyond wait for one of these: after a restart, every browser that watches comes at once."""
_servers: dict[str, fakeredis.FakeServer] = {}
_lock = threading.Lock()


def trouble_of(error: redis.RedisError) -> str:
    """Say in a sentence what keeps Redis from its work, and what to do."""
    if isinstance(error, OutOfMemoryError):
        return (
            "Redis is full: raise maxmemory in redis.conf, or lower gateway.kept_days. Uploads continue; their "
            "status is shown again after that"
        )
    return f"Redis does not answer: {error}"


def memory_server(url: str) -> fakeredis.FakeServer:
    """Return the Redis stand-in that this process reaches under a `memory://` address."""
    with _lock:
        server = _servers.setdefault(url, fakeredis.FakeServer())
        # fakeredis makes a database when it is first used, without its lock: two clients that connect at once from
        # two threads would each keep one of their own
        _ = server.dbs[0]
    return server


def connect(url: str) -> redis.Redis:
    """Open a blocking client, for the thread that writes the view.

    Raises:
        ConfigurationError: the address is none of Redis.
    """
    if is_memory(url):
        return cast("redis.Redis", fakeredis.FakeRedis(server=memory_server(url)))
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
        client_name="datauploader-gateway-view",
        command_packer=_Packer(),
    )


class _Packer(HiredisRespSerializer):
    """Packs commands without a look at every argument, of which those of the view have thousands."""

    def pack(self, *args: Any) -> list[bytes]:
        """Return a command as it travels; what hiredis does not take itself is left to redis-py."""
        packed: list[bytes]
        try:
            packed = super().pack(*args) if " " in args[0] else [hiredis.pack_command(args)]
        except TypeError:
            packed = super().pack(*args)
        return packed


def connect_async(url: str) -> redis_async.Redis:
    """Open a client for requests; it belongs to the event loop that first uses it."""
    if is_memory(url):
        return cast("redis_async.Redis", fakeredis.FakeAsyncRedis(server=memory_server(url)))
    pool = redis_async.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=WAIT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=AsyncRetry(NoBackoff(), 1),
        client_name="datauploader-gateway",
    )
    pool.connection_class = type("_Connection", (_Sending, pool.connection_class), {})
    return redis_async.Redis.from_pool(pool)


class _Sending:
    """What a connection of requests does otherwise than redis-py's.

    uvloop raises RuntimeError where one writes to a socket that was lost a moment before. It is a lost connection, and
    the command is sent again over a new one.
    """

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """See `redis.asyncio.Connection`."""
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise redis.ConnectionError(f"the connection was lost: {error}") from error


def raw(value: object) -> bytes:
    """Return what Redis answered as the bytes that it is; the clients decode nothing."""
    assert isinstance(value, bytes)
    return value


def text(value: object) -> str:
    """Return what Redis answered as text."""
    return raw(value).decode()


async def entries(
    client: redis_async.Redis, key: str, low: str, high: str = "+", *, count: int | None = None
) -> Entries:
    """Read a stream between two ids; `(` before one leaves it out."""
    return cast("Entries", await client.xrange(key, low, high, count=count))


async def newest(client: redis_async.Redis, key: str) -> str:
    """Return the id of a stream's last entry, `0-0` while it has none."""
    found = cast("Entries", await client.xrevrange(key, count=1))
    return text(found[0][0]) if found else "0-0"


def is_memory(url: str) -> bool:
    """Tell whether an address is that of the stand-in within this process.

    Raises:
        ConfigurationError: the address is none of Redis.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ("redis", "rediss", "unix", "memory"):
        raise ConfigurationError(f"gateway.redis must begin with redis://, rediss:// or memory://, not {scheme!r}")
    return scheme == "memory"


FULL = 0.9
"""The view is not written while more of `maxmemory` than this is used."""
ENOUGH = 0.85
"""It is written again when less than this is."""
LOOK_S = 0.25
"""How often the memory is looked at while the view is written."""


class MemoryReserve:
    """Keeps a reserve of memory in Redis for what cannot be built again: sessions, tokens, limits, the audit."""

    def __init__(self, client: redis.Redis) -> None:
        """Ask through this client."""
        self._redis = client
        self._look_at = 0.0
        self._tight = False

    def require_room(self, *, now: bool = False) -> None:
        """Look at the memory, `now` or if that is some time ago.

        Raises:
            OutOfMemoryError: the rest is for what cannot be built again.
        """
        if now or time.monotonic() >= self._look_at:
            try:
                said = self._redis.info("memory")
            except ResponseError:  # it may not be asked: then it is full when it says so
                said = {}
            most = int(said.get("maxmemory", 0))
            used = int(said.get("used_memory", 0)) - int(said.get("mem_not_counted_for_evict", 0))
            share = used / most if most else 0.0
            self._look_at = time.monotonic() + LOOK_S
            self._tight = share > (ENOUGH if self._tight else FULL)
        if self._tight:
            raise OutOfMemoryError(f"{FULL:.0%} of maxmemory are used; the rest is kept for sign-ins")
