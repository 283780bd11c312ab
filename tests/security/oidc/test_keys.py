"""S5: keys that change, a provider that is away, and strangers who invent key after key."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from datauploader_gateway.auth.oidc.cached_document import FRESH_S, PATIENCE_S
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.errors import ProviderAway
from datauploader_gateway.settings.oidc import OidcSettings


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


@pytest.fixture
def asking(issuer: Any, scene: Any, clock: Clock) -> Callable[[Callable[[Provider], Awaitable[None]]], None]:
    """Run something with a provider whose clock the test holds."""
    settings = OidcSettings(issuer=issuer.url, client_id=scene.CLIENT, audience=scene.AUDIENCE)

    def run(work: Callable[[Provider], Awaitable[None]]) -> None:
        async def whole() -> None:
            provider = Provider(settings, "http://127.0.0.1:1", clock=clock)
            try:
                await work(provider)
            finally:
                await provider.close()

        asyncio.run(whole())

    return run


@pytest.mark.attack("S5")
def test_a_new_key_is_fetched_once_and_known_from_then_on(asking: Any, issuer: Any, clock: Clock) -> None:
    """Within a minute of the last fetch at most; the old key is gone with the set that had it."""

    async def work(provider: Provider) -> None:
        old = issuer.token()
        assert await provider.check_access_token(old)
        issuer.rotate("second")
        clock.now += PATIENCE_S
        for _ in range(3):
            assert await provider.check_access_token(issuer.token())
        assert await provider.check_access_token(old) is None
        assert issuer.fetches() == 2

    asking(work)


@pytest.mark.attack("S5")
def test_strangers_who_invent_keys_cause_one_fetch_a_minute(asking: Any, issuer: Any, clock: Clock) -> None:
    """Three minutes of fifty tokens a second: the provider is asked at most once a minute."""

    async def work(provider: Provider) -> None:
        for second in range(180):
            clock.now += 1
            tokens = [issuer.token({"kid": f"invented-{second}-{n}"}) for n in range(2)]
            await asyncio.gather(*(provider.check_access_token(token) for token in tokens for _ in range(25)))
        assert 2 <= issuer.fetches() <= 4
        assert await provider.check_access_token(issuer.token())

    asking(work)


@pytest.mark.attack("S2", "S5")
def test_a_name_that_no_key_can_have_is_not_even_asked_for(asking: Any, issuer: Any, clock: Clock) -> None:
    """Although a minute has passed: nothing is fetched for a name that is a query, a list or too long."""

    async def work(provider: Provider) -> None:
        assert await provider.check_access_token(issuer.token())
        clock.now += PATIENCE_S
        for kid in ("x' UNION SELECT 'secret", "first\n", "", "k" * 300):
            assert await provider.check_access_token(issuer.token({"kid": kid})) is None
        assert issuer.fetches() == 1

    asking(work)


@pytest.mark.attack("S5")
def test_while_the_provider_is_away_known_keys_go_on_working(asking: Any, issuer: Any, clock: Clock) -> None:
    """For hours, with one attempt a minute, and back to normal when it is back."""

    async def work(provider: Provider) -> None:
        assert await provider.check_access_token(issuer.token())
        issuer.away = True
        for _ in range(10):
            clock.now += FRESH_S
            for _ in range(5):
                assert await provider.check_access_token(issuer.token())
                assert await provider.check_access_token(issuer.token({"kid": "invented"})) is None
        assert issuer.fetches() <= 11
        issuer.away = False
        issuer.rotate("second")
        clock.now += PATIENCE_S
        assert await provider.check_access_token(issuer.token())

    asking(work)


@pytest.mark.attack("S5")
def test_a_provider_that_was_never_there_is_not_asked_for_every_token(asking: Any, issuer: Any, clock: Clock) -> None:
    """No key, no yes: the caller is told that the provider is away, and it is asked once a minute."""
    issuer.away = True

    async def work(provider: Provider) -> None:
        for _ in range(20):
            with pytest.raises(ProviderAway):
                await provider.check_access_token(issuer.token())
        assert len(issuer.asked) == 1
        issuer.away = False
        clock.now += PATIENCE_S
        assert await provider.check_access_token(issuer.token())

    asking(work)


@pytest.mark.attack("S5")
def test_the_door_stays_open_for_others_during_a_flood(door: Any, issuer: Any) -> None:
    """The whole gateway: forty invented keys, one fetch, and whoever has a good token is served."""
    assert door.status(issuer.token()) == 200
    before = len(issuer.asked)
    assert {door.status(issuer.token({"kid": f"invented-{n}"})) for n in range(40)} == {401}
    assert len(issuer.asked) - before <= 1
    assert door.status(issuer.token()) == 200
