"""Carries one request to SciCat and brings its answer back: JSON, tokens, refusals, and no conclusions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueRefused,
    ValueRefused,
)
from datauploader_catalog.adapters.http import HttpAnswer, HttpClient
from datauploader_catalog.settings import ScicatSettings

_MOST_BYTES = 64 * 1024 * 1024
_SHOWN = 500
_ABOUT_VALUES = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that can be read: its status, and its JSON."""

    status: int
    body: Any

    @property
    def is_absence(self) -> bool:
        """Whether SciCat itself says that it has no such record; that it has no such address is something else."""
        said = isinstance(self.body, dict) and self.body.get("statusCode") == HTTPStatus.NOT_FOUND
        return said and self.status == HTTPStatus.NOT_FOUND and not self.words.startswith("Cannot ")

    @property
    def words(self) -> str:
        """What SciCat said, in one line."""
        said = self.body.get("message", self.body) if isinstance(self.body, dict) else self.body
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

    def record(self) -> dict[str, Any]:
        """Return the record that was answered."""
        if not isinstance(self.body, dict):
            raise self.unreadable("a record was expected")
        return self.body

    def records(self) -> list[dict[str, Any]]:
        """Return the list of records that was answered."""
        if not isinstance(self.body, list) or not all(isinstance(one, dict) for one in self.body):
            raise self.unreadable("a list of records was expected")
        return self.body

    def unreadable(self, why: str) -> BadAnswer:
        """Return the error for an answer of another form than the interface lays down."""
        return BadAnswer(f"SciCat's answer {self.words[:200]!r} cannot be read: {why}. It is retried.")

    def refusal(self, what: str) -> CatalogError:
        """Return the error for a request that will never be accepted as it stands, or came to no SciCat."""
        if self.status == HTTPStatus.NOT_FOUND and not self.is_absence:
            return BadAnswer(f"There is no SciCat here ({self.words}); see DATAUPLOADER_CATALOG_SCICAT__BASE_URL.")
        if self.status in _ABOUT_VALUES:
            return ValueRefused(f"SciCat does not accept {what}: {self.words}", words=self.words)
        if self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return CatalogueRefused(
                f"SciCat does not let the service's account do this: {what} ({self.words}). Its groups must be those "
                "of docs/catalogues/scicat.md; have them mended, then retry.",
                words=self.words,
            )
        return CatalogueRefused(f"SciCat refused {what} with HTTP {self.status}: {self.words}", words=self.words)


class ScicatWire:
    """Speaks to SciCat over kept connections, from any thread."""

    def __init__(self, settings: ScicatSettings) -> None:
        address = f"{str(settings.base_url).rstrip('/')}/api/"
        self._http = HttpClient(settings, address, accept="application/json", most_bytes=_MOST_BYTES)

    def read(self, path: str, token: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Ask something that changes nothing, so that a second try at once does no harm; filters are sent as JSON."""
        params = {name: _json(value) for name, value in (query or {}).items()}

        def ask() -> Answer:
            with self._http.ask(f"GET {path}", "GET", path, params=params, headers=_signed(token)) as answer:
                return _read(answer)

        return self._http.repeat(ask)

    def write(self, method: str, path: str, token: str, body: object, unmodified_since: str = "") -> Answer:
        """Ask for an effect, once: whoever gets no answer looks before asking again."""
        headers = {"Content-Type": "application/json", **_signed(token)}
        if unmodified_since:
            headers["If-Unmodified-Since"] = unmodified_since
        content = _json(body).encode()
        with self._http.ask(f"{method} {path}", method, path, content=content, headers=headers) as answer:
            return _read(answer)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def _signed(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _read(answer: HttpAnswer) -> Answer:
    """Let success and refusals pass; all else is about the server, and nothing is known to have happened."""
    status = answer.response.status_code
    if not answer.is_refusal and status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        raise answer.error()
    body = answer.body()
    if not body or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # which servers before SciCat say, in HTML
        return Answer(status, None if not body else "the request is too large")
    try:
        return Answer(status, json.loads(body))
    except ValueError as error:
        shown = body[:100].decode(errors="replace")
        raise BadAnswer(f"SciCat's answer {shown!r} (HTTP {status}) is not JSON; it is retried.") from error
