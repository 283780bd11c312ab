"""What operators have said of causes: who knows of it, what is done about it, and until when."""

from redis.asyncio import Redis

from datauploader_gateway.features.operations.causes import Acknowledged
from datauploader_gateway.projection import keys
from datauploader_gateway.redis_client import text


class Acknowledgements:
    """Kept in Redis: where that loses them, causes are simply told of again."""

    def __init__(self, client: Redis) -> None:
        """Keep them through this client."""
        self._redis = client

    async def known(self) -> dict[str, Acknowledged]:
        """Return all, by the keys of the causes."""
        found = await self._redis.hgetall(keys.ACKNOWLEDGED)
        return {text(key): Acknowledged.model_validate_json(said) for key, said in found.items()}

    async def keep(self, key: str, said: Acknowledged) -> None:
        """Keep one, and forget those whose time is over."""
        over = [old for old, one in (await self.known()).items() if one.until <= said.at]
        await self._redis.hset(keys.ACKNOWLEDGED, key, said.model_dump_json())
        if over:
            await self._redis.hdel(keys.ACKNOWLEDGED, *over)

    async def forget(self, key: str) -> bool:
        """Forget one; tell whether there was one."""
        return bool(await self._redis.hdel(keys.ACKNOWLEDGED, key))
