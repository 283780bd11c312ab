"""Who is signed in at the double, and for how long."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from datauploader_sandbox.icat.errors import IcatError


@dataclass(slots=True)
class _Session:
    user: str
    ends: float


class Sessions:
    """Sessions of a lifetime in minutes; those of the seed do not end."""

    def __init__(self, passwords: Mapping[str, str], lasting: Mapping[str, str], lifetime_minutes: float) -> None:
        """Take passwords by user, `plugin/name`, and users by session."""
        self.lifetime_minutes = lifetime_minutes
        self._passwords = dict(passwords)
        self._held = {session: _Session(user, float("inf")) for session, user in lasting.items()}

    @property
    def plugins(self) -> list[str]:
        """The names of the authenticators."""
        return sorted({user.partition("/")[0] for user in self._passwords})

    def login(self, plugin: str, credentials: Mapping[str, str]) -> str:
        """Return a new session."""
        if plugin not in self.plugins:
            raise IcatError("SESSION", f"Authenticator mnemonic {plugin} not recognised")
        user = f"{plugin}/{credentials.get('username', '')}"
        if self._passwords.get(user) != credentials.get("password"):
            raise IcatError("SESSION", "The username and password do not match")
        session = secrets.token_hex(16)
        self._held[session] = _Session(user, time.monotonic() + 60 * self.lifetime_minutes)
        return session

    def user(self, session: str) -> str:
        """Say whose session this is."""
        return self._find(session).user

    def remaining_minutes(self, session: str) -> float:
        """Say how long it lasts."""
        return min((self._find(session).ends - time.monotonic()) / 60, 1e6)

    def refresh(self, session: str) -> None:
        """Let it last a lifetime from now."""
        held = self._find(session)
        held.ends = max(held.ends if held.ends == float("inf") else 0, time.monotonic() + 60 * self.lifetime_minutes)

    def end(self, session: str) -> None:
        """Forget it."""
        self._find(session)
        del self._held[session]

    def _find(self, session: str) -> _Session:
        if not session:
            raise IcatError("SESSION", "Session Id cannot be null or empty.")
        held = self._held.get(session)
        if held is None or held.ends < time.monotonic():
            raise IcatError("SESSION", f"Unable to find user by sessionid: {session}")
        return held
