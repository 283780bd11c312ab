"""The service's own session at ICAT: opened when it is needed, kept fresh, and opened again when it was lost."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from datauploader.plugins.catalogue.errors import CatalogError
from datauploader_catalog.adapters.credentials import RefusedCredentials
from datauploader_catalog.adapters.icat.refusals import SessionLost
from datauploader_catalog.adapters.icat.wire import IcatWire, unreadable
from datauploader_catalog.settings import IcatSettings

T = TypeVar("T")


class Document(BaseModel):
    """A part of ICAT's JSON; fields that are not needed are not read."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Opened(Document):
    session_id: str


class _State(Document):
    user_name: str
    remaining_minutes: float


_IDS = TypeAdapter(list[int])


def read(kind: TypeAdapter[T], answer: Any) -> T:
    """Read an answer of ICAT's as what it must be."""
    try:
        return kind.validate_python(answer)
    except ValidationError as error:
        raise unreadable(answer, str(error.errors()[0]["msg"])) from error


class IcatSession:
    """Asks ICAT as the service; may be used from any number of threads."""

    def __init__(self, settings: IcatSettings, wire: IcatWire) -> None:
        self._settings, self._wire = settings, wire
        self._lock = threading.Lock()
        self._session, self._refused = "", RefusedCredentials()
        self._half = 0.0
        """When half of its life is over, on the monotonic clock."""

    def search(self, query: str, kind: TypeAdapter[T]) -> T:
        """Answer a query."""
        return read(kind, self._call(lambda session: self._wire.read("entityManager", _asked(session, query=query))))

    def write(self, entities: Sequence[str]) -> list[int]:
        """Create and update entities, all or none; return the ids of what was created."""
        document = f"[{','.join(entities)}]"
        return read(
            _IDS,
            self._call(
                lambda session: self._wire.send("POST", "entityManager", form=_asked(session, entities=document))
            ),
        )

    def remove(self, entities: Sequence[str]) -> None:
        """Remove entities with all that belongs to them, all or none."""
        document = f"[{','.join(entities)}]"
        self._call(lambda session: self._wire.send("DELETE", "entityManager", query=_asked(session, entities=document)))

    def user_of(self, session: str) -> str:
        """Say by what name ICAT knows the owner of another session.

        Raises:
            SessionLost: there is no such session.
        """
        return self._state(session).user_name

    def sign_in(self, username: str, password: SecretStr) -> str:
        """Say by what name ICAT knows the person with this name and password.

        Raises:
            SessionLost: nobody has these.
        """
        session = self._begin(self._settings.people_plugin, username, password)
        try:
            return self._state(session).user_name
        finally:
            with suppress(CatalogError):
                self._wire.send("DELETE", f"session/{session}")

    def close(self) -> None:
        """Sign out."""
        with self._lock, suppress(CatalogError):
            session, self._session = self._session, ""
            if session:
                self._wire.send("DELETE", f"session/{session}")

    def _call(self, act: Callable[[str], Any]) -> Any:
        """Do something with a session; once more with a new one where that was lost, because nothing was done then."""
        session = self._current("")
        try:
            return act(session)
        except SessionLost:
            return act(self._current(session))

    def _current(self, lost: str) -> str:
        """Return a session that lives, and is not this one."""
        with self._lock:
            if not self._session or self._session == lost:
                self._open()
            elif time.monotonic() > self._half:
                try:
                    self._wire.send("PUT", f"session/{self._session}")
                    self._note_half()
                except SessionLost:
                    self._open()
            return self._session

    def _open(self) -> None:
        self._session = ""
        self._refused.check()
        settings = self._settings
        try:
            self._session = self._begin(settings.plugin, settings.username, settings.password)
        except SessionLost as error:
            raise self._refused.refused(
                f"ICAT does not let {settings.username!r} sign in by {settings.plugin!r}. Correct the password "
                "(DATAUPLOADER_CATALOG_ICAT__PASSWORD); nothing is registered before."
            ) from error
        self._refused.accepted()
        self._note_half()

    def _begin(self, plugin: str, username: str, password: SecretStr) -> str:
        """Open a session; return its id as a part of an address."""
        credentials = [{"username": username}, {"password": password.get_secret_value()}]
        document = json.dumps({"plugin": plugin, "credentials": credentials})
        answer = self._wire.send("POST", "session", form={"json": document})
        return quote(read(TypeAdapter(_Opened), answer).session_id, safe="")

    def _note_half(self) -> None:
        minutes = self._state(self._session).remaining_minutes
        self._half = time.monotonic() + 60 * minutes / 2

    def _state(self, session: str) -> _State:
        return read(TypeAdapter(_State), self._wire.read(f"session/{session}"))


def _asked(session: str, **more: str) -> dict[str, str]:
    return {"sessionId": session, **more}
