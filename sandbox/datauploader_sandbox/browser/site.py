"""A facility whose pages people look at: they sign in with a name, a VUO session, or at the identity provider."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from argon2 import PasswordHasher

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.provider import IdentityProvider
from datauploader_sandbox.provider.server import CLIENT, SECRET
from datauploader_testing.servers.ports import free_port

PASSWORD = "correct horse battery"
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Cheap, because many people sign in."""
PEOPLE: dict[str, dict[str, Any]] = {
    "anna": {"user_id": "1101", "full_name": "Anna Moretti"},
    "ben": {"user_id": "1102", "full_name": "Ben Okafor"},
    "chloe": {"user_id": "1103", "full_name": "Χλόη Παπαδάκη"},
    "dana": {"user_id": "1900", "full_name": "Dana Novak", "role": "staff", "beamlines": ["sandbox.xrd1"]},
    "otto": {"user_id": "1901", "full_name": "Otto Weber", "role": "operator"},
}
"""By the name that they sign in with; the numbers are those of the user office's double."""


class Site:
    """A facility with people; a context manager."""

    def __init__(self, folder: Path, *, provider: bool = False, **how: Any) -> None:
        """Prepare one; `how` are arguments of `Facility`.

        Args:
            folder: where everything is kept.
            provider: run an identity provider as well.
            how: arguments of `Facility`.
        """
        self._stack = ExitStack()
        self._folder, self._how = folder, {"broker": "memory"} | how
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.provider = IdentityProvider(self.url, _at_the_provider(), "localhost") if provider else None
        self.accounts = folder / "accounts.toml"
        """Who may sign in with a name and a password."""
        self.facility: Facility

    def __enter__(self) -> Self:
        """Start it."""
        try:
            return self._start()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stack.close()

    def let_in(self, *names: str) -> None:
        """Give accounts to these people and to no others, at once: as if the file had been written a while ago."""
        self.accounts.write_text("\n".join(_account(name, PEOPLE[name]) for name in names), encoding="utf-8")
        os.utime(self.accounts, (time.time() - 60,) * 2)

    def _start(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.let_in(*PEOPLE)
        gateway: dict[str, Any] = {"port": self._port, "accounts": self.accounts, "attempts_per_account": 1000}
        if self.provider is not None:
            self._stack.enter_context(self.provider)
            gateway["oidc"] = {
                "issuer": self.provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "name": "Elettra",
                "scopes": ["openid", "profile", "groups"],
            }  # fmt: skip
        changes = dict(self._how.pop("settings", {}))
        changes["gateway"] = gateway | changes.get("gateway", {})
        self.facility = Facility(folder=self._folder / "facility", settings=changes, **self._how)
        self._stack.enter_context(self.facility)
        return self


def _account(name: str, known: dict[str, Any]) -> str:
    lines = [f"name = {name!r}", f"password = {_HASH!r}", *(f"{word} = {value!r}" for word, value in known.items())]
    return "\n".join(["[[account]]", *lines])


def _at_the_provider() -> dict[str, dict[str, Any]]:
    """Return the same people as the identity provider knows them: by their numbers."""
    return {known["user_id"]: {"name": known["full_name"], "groups": ["users"]} for known in PEOPLE.values()}
