"""Local accounts: a file that the administrator writes, read again when it changes."""

import asyncio
import json
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationError

from datauploader.contracts.rest.session import Role
from datauploader.errors import ConfigurationError
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.errors import TooManyAttempts
from datauploader_gateway.settings.mail import is_address
from datauploader_gateway.settings.oidc import Beamline

SETTLES_S = 1.0
"""For so long after a file was written to it does not count yet: many editors empty a file before they fill it."""
_HASHER = PasswordHasher()
_JUDGES = 4
"""Passwords that are hashed at the same time: each takes 64 MiB and a processor."""
_QUEUE = 60
"""Passwords that may be waiting for that, about ten seconds' worth."""


def _address(text: str) -> str:
    if text and not is_address(text):
        raise ValueError("email must be one plain mail address")
    return text


_Version = tuple[int, int]
"""When a file was written last (nanoseconds since 1970), and how long it is (bytes)."""


class Account(BaseModel):
    """One entry of the file; without a password it only gives a role to somebody who signs in elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    password: SecretStr | None = None
    """An argon2 hash, as `hash_password` makes it."""
    full_name: str = ""
    role: Role = "user"
    user_id: str
    email: Annotated[str, AfterValidator(_address)] = ""
    """Where mail to this person goes; "" leaves that to the identity provider or the template."""
    beamlines: tuple[Beamline, ...] = ()

    @property
    def user(self) -> SignedInUser:
        """The person that this account stands for."""
        return SignedInUser(id=self.user_id, name=self.full_name or self.name, role=self.role, beamlines=self.beamlines)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: tuple[Account, ...] = ()


def hash_password(password: str) -> str:
    """Return what belongs into the accounts file."""
    return _HASHER.hash(password)


class Accounts:
    """The accounts of the file as it is now; while it is broken, as it was before."""

    def __init__(self, path: Path | None) -> None:
        """Read the file.

        Raises:
            ConfigurationError: the file is missing or wrong.
        """
        self._path = path
        self._judges = ThreadPoolExecutor(_JUDGES, thread_name_prefix="gateway-passwords")
        self._judging = 0
        self._lock = threading.Lock()
        self._read_at: _Version | None = None
        self._anybodys = ""
        """Some account's hash, verified for unknown names so that they take as long as known ones."""
        self._by_name: dict[str, Account] = {}
        self._by_id: dict[str, Account] = {}
        self._refresh()

    @property
    def any(self) -> bool:
        """There is at least one account that can sign in here."""
        return any(account.password for account in self._by_name.values())

    async def verify_in_thread(self, name: str, password: str) -> SignedInUser | None:
        """Do what `verify` does without holding anybody else up.

        Raises:
            TooManyAttempts: too many people wait for that already.
        """
        if self._judging >= _JUDGES + _QUEUE:
            raise TooManyAttempts("too many people are signing in at this moment", retry_after_s=10)
        self._judging += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._judges, self.verify, name, password)
        finally:
            self._judging -= 1

    def verify(self, name: str, password: str) -> SignedInUser | None:
        """Return the account's person if the password is right; takes equally long in every case."""
        self._refresh_if_sound()
        account = self._by_name.get(name)
        stored = account.password.get_secret_value() if account and account.password else self._anybodys
        try:
            _HASHER.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return None
        return account.user if account and account.password else None

    def by_id(self, user_id: str) -> Account | None:
        """Return the account that stands for this person of the catalogue."""
        self._refresh_if_sound()
        return self._by_id.get(user_id)

    def _refresh_if_sound(self) -> None:
        try:
            self._refresh()
        except ConfigurationError:
            return  # the accounts of before go on to count until the file is mended

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            version = _version(self._path)
            with self._lock:
                if version == self._read_at or (self._read_at and 0 <= time.time() - version[0] / 1e9 < SETTLES_S):
                    return
                found = _parse(self._path)
                if self._read_at and _version(self._path) != version:  # somebody has begun to write
                    return
                self._by_name = {account.name: account for account in found}
                self._by_id = {account.user_id: account for account in found}
                self._anybodys = next((a.password.get_secret_value() for a in found if a.password), "")
                self._read_at = version
        except OSError as error:
            raise ConfigurationError(f"the accounts file {self._path} cannot be read: {error.strerror}") from error


def _version(path: Path) -> _Version:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _parse(path: Path) -> tuple[Account, ...]:
    text = path.read_text(encoding="utf-8")
    try:
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return _File.model_validate(document).account
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the accounts file {path} is not valid {path.suffix[1:].upper()}: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(f"the accounts file {path} is wrong at {where}: {problem['msg']}") from None
