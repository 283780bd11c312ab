"""Carries one request to ICAT and brings its answer back: HTTP, time limits, errors by their code."""

import json
import logging
import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import httpx
import stamina

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueRefused,
    CatalogueUnavailable,
    UnknownTrouble,
)
from datauploader_catalog.adapters.icat.refusals import SessionLost, refusal
from datauploader_catalog.settings import IcatSettings

_MOST_BYTES = 64 * 1024 * 1024
_UNKNOWN = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_IMPLEMENTED}
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_SHOWN = 200


class WithoutSession(logging.Filter):
    """Takes sessions out of httpx's own log lines: ICAT wants them in the path or in the query."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, its addresses without query and without what follows `/session/`."""
        if isinstance(record.args, tuple):
            record.args = tuple(_bare(arg) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        return True


def _bare(url: httpx.URL) -> httpx.URL:
    path, found, _ = url.path.partition("/session/")
    return url.copy_with(path=path + found, query=None)


_WITHOUT_SESSION = WithoutSession()


class IcatWire:
    """Speaks to ICAT over kept connections, from any thread."""

    def __init__(self, settings: IcatSettings) -> None:
        self._settings = settings
        logging.getLogger("httpx").addFilter(_WITHOUT_SESSION)
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._client = httpx.Client(
            base_url=httpx.URL(str(settings.base_url)).join(settings.path),
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
            follow_redirects=False,
            trust_env=False,
            proxy=settings.proxy or None,
            headers={"User-Agent": "DataUploader", "Accept": "application/json"},
        )

    def read(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Ask something that changes nothing, so that a second try at once does no harm."""
        for attempt in stamina.retry_context(
            on=_is_worth_a_second_try,
            attempts=self._settings.read_attempts,
            timeout=self._settings.timeout,
            wait_initial=0.05,
            wait_max=1.0,
        ):
            with attempt:
                return self.send("GET", path, query=query)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> Any:
        """Ask once and return the JSON of the answer, None where there is none.

        Raises:
            CatalogError: whoever gets no answer to a write looks before asking again.
        """
        deadline = time.monotonic() + self._settings.timeout
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else None
        content = _encoded(form) if form is not None else None
        what = f"{method} {path.partition('/')[0]}"
        try:
            with self._client.stream(method, path, params=query, content=content, headers=headers) as response:
                body = _body(response, deadline)
                if response.is_success:
                    return _read_json(body) if body.strip() else None
                raise _failure(what, response, body)
        except httpx.TransportError as error:
            raise CatalogueUnavailable(
                f"ICAT did not answer {what} ({type(error).__name__}: {error}). It is retried; if "
                f"this continues, check whether {self._settings.base_url} can be reached from here."
            ) from error
        except httpx.RequestError as error:
            raise BadAnswer(f"ICAT's answer to {what} cannot be read ({error}); it is retried.") from error

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()


def unreadable(answer: object, why: str) -> BadAnswer:
    """Return the error for an answer that means nothing."""
    return BadAnswer(
        f"ICAT's answer cannot be read: {why} ({repr(answer)[:_SHOWN]}). Nothing is concluded from it; it is retried. "
        "If that goes on, compare this ICAT's version with docs/catalogues/icat.md."
    )


def _failure(what: str, response: httpx.Response, body: bytes) -> CatalogError:
    """Return what an answer means that is no success: ICAT's own word, or that of something before it."""
    status = response.status_code
    match _document(body):
        case {"code": str(code), "message": str(message), **more} if response.is_error:
            offset = more.get("offset")
            return refusal(code, message, offset if isinstance(offset, int) else -1)
    retry_after = _retry_after(response.headers.get("Retry-After", ""))
    if status in _UNKNOWN:
        return UnknownTrouble(
            f"ICAT failed at {what} with HTTP {status}; its own log says why.", retry_after=retry_after
        )
    if response.is_server_error or status in _TRANSIENT:
        return CatalogueUnavailable(f"ICAT answered {what} with HTTP {status}; it is retried.", retry_after=retry_after)
    if response.is_client_error:
        return CatalogueRefused(
            f"ICAT refused {what} with HTTP {status}. See whether DATAUPLOADER_CATALOG_ICAT__BASE_URL leads to ICAT, "
            "and what its own log says, then retry.",
            words=f"HTTP {status} {response.reason_phrase}",
        )
    return BadAnswer(
        f"ICAT answered {what} with HTTP {status}, which leads elsewhere or says nothing; "
        "set DATAUPLOADER_CATALOG_ICAT__BASE_URL to where ICAT itself answers."
    )


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body[:_SHOWN], "it is not JSON") from error


def _body(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _MOST_BYTES:
            raise BadAnswer(f"ICAT's answer is longer than {_MOST_BYTES} bytes; it was not read to its end.")
        if time.monotonic() > deadline:
            raise CatalogueUnavailable("ICAT's answer took too long to arrive; it is retried.")
    return bytes(body)


def _retry_after(header: str) -> float | None:
    return float(header) if header.isascii() and header.isdigit() else None


def _is_worth_a_second_try(error: Exception) -> bool:
    return isinstance(error, CatalogueUnavailable) and not isinstance(error, SessionLost) and error.retry_after is None


def _encoded(form: Mapping[str, str]) -> bytes:
    """Encode a form; JSON's own signs need no escape, and leaving them makes a large batch 40 times as quick."""
    return urlencode(form, safe='"{}[]:,/').encode("ascii")
