"""Who may use the desktop's own pages: whoever opens a link that only this user's processes can make, once."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_COOKIES = 100


@dataclass(frozen=True, slots=True)
class DesktopAccess:
    """Access to the desktop's own page: what makes a gateway that page."""

    login: "OneTimeLogin"
    end: Callable[[], None]
    """Have the whole process end."""
    folder: Path


def new_link(door: str, secret: str) -> str:
    """Make a link to the desktop that is good for one opening."""
    nonce = secrets.token_urlsafe(16)
    return f"{door}?token={nonce}.{_mark(secret, nonce)}"


class OneTimeLogin:
    """One-time login: takes each link's token once, and gives a cookie for it, good until the process ends."""

    def __init__(self, secret: str) -> None:
        """Accept links that were made with this secret."""
        self._secret = secret
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._cookies: list[str] = []

    def enter(self, token: str) -> str | None:
        """Return a new cookie's value for a token that is genuine and was not used yet, else None."""
        nonce, _, mark = token.partition(".")
        if not hmac.compare_digest(_mark(self._secret, nonce).encode(), mark.encode()):
            return None
        with self._lock:
            if nonce in self._used:
                return None
            self._used.add(nonce)
            cookie = secrets.token_urlsafe(32)
            self._cookies = [*self._cookies, cookie][-MOST_COOKIES:]
            return cookie

    def admits(self, cookie: str) -> bool:
        """Tell whether this value was given here."""
        return any(hmac.compare_digest(cookie.encode(), known.encode()) for known in self._cookies)


def _mark(secret: str, nonce: str) -> str:
    return hmac.new(secret.encode(), nonce.encode(), hashlib.sha256).hexdigest()
