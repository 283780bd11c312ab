"""A session that was signed out is refused, in whatever order Redis answers those who ask at once."""

import asyncio
from typing import Any

import fakeredis

from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.sessions import Sessions

ANNA = SignedInUser(id="7", name="Anna")


class Late(fakeredis.FakeAsyncRedis):
    """A Redis whose next answer to `get` is held back for a while."""

    held: asyncio.Event | None = None

    async def get(self, *arguments: Any, **more: Any) -> Any:
        """Ask, and bring the answer late if it is held."""
        held, self.held = self.held, None
        answer = await super().get(*arguments, **more)
        if held is not None:
            await held.wait()
        return answer


def test_who_asks_first_and_hears_last_is_refused_as_well() -> None:
    """Another request has found out meanwhile whose session it is; that tells nothing about its being signed out."""

    async def ask() -> tuple[object, object]:
        redis = Late()
        secret, _ = await Sessions(redis, idle_s=60, longest_s=60).open(ANNA, "local")
        sessions = Sessions(redis, idle_s=60, longest_s=60)
        await sessions.sign_out(ANNA.id)
        release = redis.held = asyncio.Event()
        first = asyncio.create_task(sessions.authenticate(secret))
        await asyncio.sleep(0)
        second = await sessions.authenticate(secret)
        release.set()
        return await first, second

    assert asyncio.run(ask()) == (None, None)
