"""How often somebody may try a password; counted in Redis, so that it holds for all gateways and fails closed."""

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from datauploader_gateway.errors import TooManyAttempts
from datauploader_gateway.settings import GatewaySettings
from datauploader_gateway.view import keys

_BEGUN_PER_ADDRESS = 300
"""Sign-ins at the identity provider that one address may begin within five minutes; each is kept for a while."""
_ACQUAINTED_S = 90 * 24 * 3600
"""How long an address that an account was used from counts as the owner's."""


class RedisCounters(Storage):
    """The counters of `limits` on plain commands: its own storage needs scripts, which the access rules forbid."""

    STORAGE_SCHEME = None

    def __init__(self, client: Redis) -> None:
        """Count through this client."""
        super().__init__()
        self._redis = client

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the storage raises when it is away."""
        return RedisError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a counter that ends `expiry` seconds after its first increment."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.incrby(keys.limit(key), amount)
            pipe.expire(keys.limit(key), expiry, nx=True)
            counted = await pipe.execute()
        return int(counted[0])

    async def get(self, key: str) -> int:
        """Return the counter."""
        return int(await self._redis.get(keys.limit(key)) or 0)

    async def get_expiry(self, key: str) -> float:
        """Return when the counter ends, in seconds since 1970."""
        seconds, _ = await self._redis.time()
        return float(seconds + max(0, await self._redis.ttl(keys.limit(key))))

    async def check(self) -> bool:
        """Tell whether Redis answers."""
        return bool(await self._redis.ping())

    async def reset(self) -> int | None:
        """Forget nothing: the counters end by themselves."""
        return None

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        await self._redis.delete(keys.limit(key))


class Throttle:
    """Slows guessing down without locking the owner out who signs in from their own address.

    Three counters: attempts on one account from one address; failures from one address; and failures on one account
    from addresses that it was never used from, which alone stop a guesser who has many addresses.
    """

    def __init__(self, client: Redis, settings: GatewaySettings) -> None:
        """Count through this client."""
        self._redis = client
        self._limiter = FixedWindowRateLimiter(RedisCounters(client))
        self._pair = RateLimitItemPerMinute(settings.attempts_per_account, 5, namespace="pair")
        self._address = RateLimitItemPerMinute(settings.attempts_per_address, 5, namespace="address")
        self._begun = RateLimitItemPerMinute(_BEGUN_PER_ADDRESS, 5, namespace="begun")
        self._strangers = RateLimitItemPerHour(settings.attempts_from_strangers, 1, namespace="strangers")

    async def admit(self, account: str, address: str) -> None:
        """Count an attempt that begins.

        Raises:
            TooManyAttempts: it must not even be looked at.
        """
        if not await self._limiter.test(self._address, address):
            raise await self._too_many(self._address, address)
        if not await self._acquainted(account, address) and not await self._limiter.test(self._strangers, account):
            raise await self._too_many(self._strangers, account)
        if not await self._limiter.hit(self._pair, account, address):
            raise await self._too_many(self._pair, account, address)

    async def begin(self, address: str) -> None:
        """Count a sign-in at the identity provider that begins.

        Raises:
            TooManyAttempts: this address begins them without end.
        """
        if not await self._limiter.hit(self._begun, address):
            raise await self._too_many(self._begun, address)

    async def failed(self, account: str, address: str) -> None:
        """Count an attempt that was wrong."""
        await self._limiter.hit(self._address, address)
        if not await self._acquainted(account, address):
            await self._limiter.hit(self._strangers, account)

    async def unjudged(self, account: str, address: str) -> None:
        """Take an attempt back that nobody could judge, because whoever knows does not answer: it was no guess."""
        key, expiry = self._pair.key_for(account, address), self._pair.get_expiry()
        await self._limiter.storage.incr(key, expiry, -1)

    async def succeeded(self, account: str, address: str) -> None:
        """Remember that the owner uses this address."""
        await self._limiter.clear(self._pair, account, address)
        await self._redis.set(_known(account, address), 1, ex=_ACQUAINTED_S)

    async def _acquainted(self, account: str, address: str) -> bool:
        return bool(await self._redis.exists(_known(account, address)))

    async def _too_many(
        self, item: RateLimitItemPerMinute | RateLimitItemPerHour, *identifiers: str
    ) -> TooManyAttempts:
        wait_s = max(1, round(await self._limiter.storage.get_expiry(item.key_for(*identifiers)) - await self._now()))
        return TooManyAttempts(
            f"too many attempts to sign in; the next one is looked at in {wait_s} s", retry_after_s=wait_s
        )

    async def _now(self) -> float:
        seconds, _ = await self._redis.time()
        return float(seconds)


def _known(account: str, address: str) -> str:
    return keys.limit(f"known:{account}:{address}")
