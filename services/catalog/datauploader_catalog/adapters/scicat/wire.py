"""Carries one request to SciCat and brings its answer back: HTTP, JSON, time limits, and no conclusions."""

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import stamina

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueRefused,
    CatalogueUnavailable,
    UnknownTrouble,
    ValueRefused,
)
from datauploader_catalog.settings import ScicatSettings

_MOST_BYTES = 64 * 1024 * 1024
_SHOWN = 500
_UNKNOWN = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_IMPLEMENTED}
"""What SciCat says when it has failed itself; all others of 5xx are said by servers before it that cannot now."""
_ABOUT_VALUES = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


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
        if self.status in {
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        }:
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
        self._settings = settings
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._client = httpx.Client(
            base_url=f"{str(settings.base_url).rstrip('/')}/api/",
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
            follow_redirects=False,
            trust_env=False,
            proxy=settings.proxy or None,
            headers={"User-Agent": "DataUploader", "Accept": "application/json"},
        )

    def read(self, path: str, token: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Ask something that changes nothing, so that a second try at once does no harm; filters are sent as JSON."""
        params = {name: _json(value) for name, value in (query or {}).items()}
        for attempt in stamina.retry_context(
            on=_is_worth_a_second_try,
            attempts=self._settings.read_attempts,
            timeout=self._settings.timeout,
            wait_initial=0.05,
            wait_max=1.0,
        ):
            with attempt:
                return self._send("GET", path, token, params=params)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def write(self, method: str, path: str, token: str, body: object, unmodified_since: str = "") -> Answer:
        """Ask for an effect, once: whoever gets no answer looks before asking again."""
        headers = {"If-Unmodified-Since": unmodified_since} if unmodified_since else {}
        return self._send(method, path, token, content=_json(body).encode(), headers=headers)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def _send(
        self, method: str, path: str, token: str, *, params: Mapping[str, str] | None = None,
        content: bytes | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        deadline = time.monotonic() + self._settings.timeout
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if content is not None:
            sent["Content-Type"] = "application/json"
        try:
            with self._client.stream(method, path, params=params, content=content, headers=sent) as response:
                _require_answer(path, response)
                return _read(response.status_code, _body(response, deadline))
        except httpx.TransportError as error:
            raise CatalogueUnavailable(
                f"SciCat did not answer {method} {path} ({type(error).__name__}: {error}). It is retried; if this "
                f"continues, check whether {self._settings.base_url} can be reached from here."
            ) from error
        except httpx.RequestError as error:
            raise BadAnswer(f"SciCat's answer to {method} {path} cannot be read ({error}); it is retried.") from error


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _require_answer(path: str, response: httpx.Response) -> None:
    """Let success and refusals pass; all else is about the server, and nothing is known to have happened."""
    status = response.status_code
    header = response.headers.get("Retry-After", "")
    retry_after = float(header) if header.isascii() and header.isdigit() else None
    if status in _UNKNOWN:
        raise UnknownTrouble(f"SciCat failed at {path} with HTTP {status}; its log says why.", retry_after=retry_after)
    if response.is_server_error or status in _TRANSIENT:
        raise CatalogueUnavailable(
            f"SciCat answered {path} with HTTP {status}; it is retried.", retry_after=retry_after
        )
    if not response.is_client_error and status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        raise BadAnswer(
            f"SciCat answered {path} with HTTP {status}, which leads elsewhere or says nothing; set "
            "DATAUPLOADER_CATALOG_SCICAT__BASE_URL to where SciCat itself answers."
        )


def _read(status: int, body: bytes) -> Answer:
    if not body or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # which servers before SciCat say, in HTML
        return Answer(status, None if not body else "the request is too large")
    try:
        return Answer(status, json.loads(body))
    except ValueError as error:
        shown = body[:100].decode(errors="replace")
        raise BadAnswer(f"SciCat's answer {shown!r} (HTTP {status}) is not JSON; it is retried.") from error


def _body(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _MOST_BYTES:
            raise BadAnswer(f"SciCat's answer is longer than {_MOST_BYTES} bytes; it was not read to its end.")
        if time.monotonic() > deadline:
            raise CatalogueUnavailable("SciCat's answer took too long to arrive; it is retried.")
    return bytes(body)


def _is_worth_a_second_try(error: Exception) -> bool:
    return isinstance(error, CatalogueUnavailable) and error.retry_after is None
