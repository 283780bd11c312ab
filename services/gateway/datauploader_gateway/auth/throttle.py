"""How often somebody may try a password; counted in Redis, so that it holds for all gateways and fails closed."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from datauploader_gateway.errors import TooManyAttempts
from datauploader_gateway.projection import keys
from datauploader_gateway.settings import GatewaySettings

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


Counter = tuple[RateLimitItemPerMinute | RateLimitItemPerHour, tuple[str, ...]]
"""A limit, and of whom it is."""


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """A password attempt that was let through, and is counted as a failure until it is known to be none."""

    account: str
    source: str
    counters: tuple[Counter, ...]


class Throttle:
    """Slows guessing down without locking the owner out who signs in from their own address.

    Three counters: attempts on one account from one address; failures from one address; and failures on one account
    from addresses that it was never used from, which alone stop a guesser who has many addresses. All count before
    anybody looks at the password, so that attempts at the same moment count as well; what was no failure is taken back.
    """

    def __init__(self, client: Redis, settings: GatewaySettings) -> None:
        """Count through this client."""
        self._redis = client
        self._limiter = FixedWindowRateLimiter(RedisCounters(client))
        self._pair = RateLimitItemPerMinute(settings.attempts_per_account, 5, namespace="pair")
        self._address = RateLimitItemPerMinute(settings.attempts_per_address, 5, namespace="address")
        self._begun = RateLimitItemPerMinute(_BEGUN_PER_ADDRESS, 5, namespace="begun")
        self._strangers = RateLimitItemPerHour(settings.attempts_from_strangers, 1, namespace="strangers")

    async def admit_password(self, account: str, address: str) -> PasswordAttempt:
        """Count an attempt that begins.

        Raises:
            TooManyAttempts: it must not even be looked at.
        """
        source = network(address)
        counters: list[Counter] = [(self._pair, (account, source)), (self._address, (source,))]
        if not await self._redis.exists(_known(account, source)):
            counters.append((self._strangers, (account,)))
        for place, (limit, of) in enumerate(counters):
            if not await self._limiter.hit(limit, *of):
                await self._take_back(counters[: place + 1])
                raise await self._too_many(limit, *of)
        return PasswordAttempt(account, source, tuple(counters))

    async def admit_sign_in(self, address: str) -> None:
        """Count a sign-in at the identity provider that begins.

        Raises:
            TooManyAttempts: this address begins them without end.
        """
        source = network(address)
        if not await self._limiter.hit(self._begun, source):
            raise await self._too_many(self._begun, source)

    async def unjudged(self, attempt: PasswordAttempt) -> None:
        """Take an attempt back that nobody could judge, because whoever knows does not answer: it was no guess."""
        await self._take_back(attempt.counters)

    async def succeeded(self, attempt: PasswordAttempt) -> None:
        """Take an attempt back that was right, and remember that the owner uses this address."""
        pair, *others = attempt.counters
        await self._take_back(others)
        await self._limiter.clear(pair[0], *pair[1])
        await self._redis.set(_known(attempt.account, attempt.source), 1, ex=_ACQUAINTED_S)

    async def _take_back(self, counters: Sequence[Counter]) -> None:
        for limit, of in counters:
            await self._limiter.storage.incr(limit.key_for(*of), limit.get_expiry(), -1)

    async def _too_many(
        self, item: RateLimitItemPerMinute | RateLimitItemPerHour, *identifiers: str
    ) -> TooManyAttempts:
        now, _ = await self._redis.time()
        wait_s = max(1, round(await self._limiter.storage.get_expiry(item.key_for(*identifiers)) - now))
        return TooManyAttempts(
            f"too many attempts to sign in; the next one is looked at in {wait_s} s", retry_after_s=wait_s
        )


def network(address: str) -> str:
    """Return what one household or machine has of addresses: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


def _known(account: str, source: str) -> str:
    return keys.limit(f"known:{account}:{source}")
