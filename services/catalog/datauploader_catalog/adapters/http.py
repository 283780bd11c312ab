"""Speaks HTTP to a catalogue: trust, proxies, time limits, second tries, and what a status says of the server."""

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
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
from datauploader_catalog.settings import HttpCatalogueSettings

_UNKNOWN = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_IMPLEMENTED}
"""What a catalogue says when it has failed itself; proxies and servers that cannot now say another 5xx."""
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

T = TypeVar("T")


class WithoutSession(logging.Filter):
    """Takes sessions out of httpx's own log lines: VUO and ICAT want them in the query, ICAT also in the path."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, its addresses without query and without what follows `/session/`."""
        if isinstance(record.args, tuple):
            record.args = tuple(_bare(arg) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        return True


def _bare(url: httpx.URL) -> httpx.URL:
    path, found, _ = url.path.partition("/session/")
    return url.copy_with(path=path + found, query=None) if found else url.copy_with(query=None)


_WITHOUT_SESSION = WithoutSession()


class HttpClient:
    """Keeps connections to one catalogue, for any thread; every error that it raises names the catalogue."""

    def __init__(self, settings: HttpCatalogueSettings, address: str, *, accept: str, most_bytes: int) -> None:
        """Speak to what stands under this address; an answer that is longer than `most_bytes` is none."""
        self._settings, self._most_bytes = settings, most_bytes
        logging.getLogger("httpx").addFilter(_WITHOUT_SESSION)
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._client = httpx.Client(
            base_url=address,
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
            follow_redirects=False,
            trust_env=False,
            proxy=settings.proxy or None,
            headers={"User-Agent": "DataUploader", "Accept": accept},
        )

    def repeat(self, read: Callable[[], T], *, unless: type[CatalogueUnavailable] | tuple[()] = ()) -> T:
        """Try something that changes nothing once more at once where that may help, which does no harm."""
        for attempt in stamina.retry_context(
            on=lambda error: (
                isinstance(error, CatalogueUnavailable) and not isinstance(error, unless) and error.retry_after is None
            ),
            attempts=self._settings.read_attempts,
            timeout=self._settings.timeout,
            wait_initial=0.05,
            wait_max=1.0,
        ):
            with attempt:
                return read()
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def ask(
        self, what: str, method: str, path: str, *, params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None, content: bytes | None = None, headers: Mapping[str, str] | None = None,
    ) -> Iterator["HttpAnswer"]:  # fmt: skip
        """Send one request, once, and yield its answer; `what` is how errors name the request.

        Raises:
            CatalogueUnavailable: there is no answer, or it did not arrive in time.
            BadAnswer: it is not HTTP, or too long.
        """
        system, deadline = self._settings.system, time.monotonic() + self._settings.timeout
        if form is not None:
            content, headers = _encoded(form), {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            with self._client.stream(method, path, params=params, content=content, headers=headers) as response:
                yield HttpAnswer(system, what, response, deadline, self._most_bytes)
        except httpx.TransportError as error:
            raise CatalogueUnavailable(
                f"{system} did not answer {what} ({type(error).__name__}: {error}). It is retried; if this "
                f"continues, check whether {self._settings.base_url} can be reached from here."
            ) from error
        except httpx.RequestError as error:
            raise BadAnswer(f"{system}'s answer to {what} cannot be read ({error}); it is retried.") from error

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer whose body is still on its way."""

    system: str
    what: str
    response: httpx.Response
    deadline: float
    most_bytes: int

    @property
    def is_refusal(self) -> bool:
        """Whether the request itself is refused."""
        return self.response.is_client_error and self.response.status_code not in _TRANSIENT

    def body(self) -> bytes:
        """Read all of the answer's body, within its limits."""
        body = bytearray()
        for piece in self.response.iter_bytes():
            body += piece
            if len(body) > self.most_bytes:
                raise BadAnswer(
                    f"{self.system}'s answer is longer than {self.most_bytes} bytes; it was not read to its end."
                )
            if time.monotonic() > self.deadline:
                raise CatalogueUnavailable(f"{self.system}'s answer took too long to arrive; it is retried.")
        return bytes(body)

    def error(self, look: str = "") -> CatalogError:
        """Return what a status means that is no success, where the body does not say more.

        Args:
            look: what may be wrong where the request is refused, for a person to see whether it is so.
        """
        system, what, status = self.system, self.what, self.response.status_code
        setting = f"DATAUPLOADER_CATALOG_{system.upper()}__BASE_URL"
        if status in _UNKNOWN:
            return UnknownTrouble(
                f"{system} failed at {what} with HTTP {status}; its own log says why.", retry_after=self._retry_after()
            )
        if self.is_refusal:
            return CatalogueRefused(
                f"{system} refused {what} with HTTP {status}. See whether {look or f'{setting} leads to {system}'}, "
                "and what its own log says, then retry.",
                words=f"HTTP {status} {self.response.reason_phrase}",
            )
        if self.response.is_error:
            return CatalogueUnavailable(
                f"{system} answered {what} with HTTP {status}; it is retried.", retry_after=self._retry_after()
            )
        return BadAnswer(
            f"{system} answered {what} with HTTP {status}, which leads elsewhere or says nothing; "
            f"set {setting} to where {system} itself answers."
        )

    def _retry_after(self) -> float | None:
        header = self.response.headers.get("Retry-After", "")
        return float(header) if header.isascii() and header.isdigit() else None


def _encoded(form: Mapping[str, str]) -> bytes:
    """Encode a form; JSON's own signs need no escape, and leaving them makes a large batch 40 times as quick."""
    return urlencode(form, safe='"{}[]:,/').encode("ascii")
