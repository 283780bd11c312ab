"""Sign-ins under way: what the provider's answer must fit, for ten minutes, once, and in the browser that began."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from datauploader_gateway.errors import SignInFailed
from datauploader_gateway.projection import keys

LIFE_S = 600
_STATE_LENGTH = 43


class PendingLogin(BaseModel):
    """A pending login: what is kept of a sign-in until the provider answers."""

    model_config = ConfigDict(frozen=True)

    nonce: str
    """Comes back in the ID token, so that a token of another sign-in is noticed."""
    verifier: str
    """Shows that who redeems the code is who asked for it (PKCE)."""
    browser: str
    """Digest of what only this browser holds."""
    goal: str
    """The page to go to in the end."""

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (S256)."""
        return urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class PendingLogins:
    """Pending logins: begins sign-ins and finds them again."""

    def __init__(self, client: Redis) -> None:
        """Keep them through this client."""
        self._redis = client

    async def begin_login(self, goal: str) -> tuple[str, str, PendingLogin]:
        """Begin one; return its state, which the provider sees, and the secret that only the browser gets."""
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        attempt = PendingLogin(
            nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48), browser=_digest(browser), goal=goal
        )
        await self._redis.set(keys.sign_in(_digest(state)), attempt.model_dump_json(), ex=LIFE_S)
        return state, browser, attempt

    async def pop_login(self, state: str, browser: str) -> PendingLogin:
        """Find the sign-in that the provider answers to, and forget it.

        Raises:
            SignInFailed: there is none, it was answered already, or another browser began it.
        """
        kept = await self._redis.getdel(keys.sign_in(_digest(state))) if len(state) == _STATE_LENGTH else None
        if kept is None:
            raise SignInFailed(
                "this sign-in is no longer valid: it was used already, or started more than ten minutes ago"
            )
        attempt = PendingLogin.model_validate_json(kept)
        if not hmac.compare_digest(attempt.browser, _digest(browser)):
            raise SignInFailed(
                "this sign-in was not started in this browser",
                hint="Allow cookies for this site, use its usual address, and sign in again.",
            )
        return attempt


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
