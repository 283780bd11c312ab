"""Carries one question to VUO and brings its text back: HTTP, time limits, signatures, and no conclusions."""

import hashlib
import logging
import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

import httpx
import stamina

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogueRefused,
    CatalogueUnavailable,
    UnknownTrouble,
)
from datauploader_catalog.adapters.vuo.answers import unreadable
from datauploader_catalog.settings import VuoSettings

_MOST_BYTES = 8 * 1024 * 1024
_UNKNOWN = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_IMPLEMENTED}
"""What a server says when a procedure has failed; all others of 5xx are said by proxies and servers that cannot now."""
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class WithoutQuery(logging.Filter):
    """Takes queries out of httpx's own log lines: VUO's known calls carry the session in there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, its addresses cut at the question mark."""
        if isinstance(record.args, tuple):
            record.args = tuple(arg.copy_with(query=None) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        return True


_WITHOUT_QUERY = WithoutQuery()


class VuoWire:
    """Speaks to VUO over kept connections, from any thread."""

    def __init__(self, settings: VuoSettings) -> None:
        self._settings = settings
        logging.getLogger("httpx").addFilter(_WITHOUT_QUERY)
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._client = httpx.Client(
            base_url=httpx.URL(str(settings.base_url)).join(settings.path),
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
            follow_redirects=False,
            trust_env=False,
            proxy=settings.proxy or None,
            headers={"User-Agent": "DataUploader", "Accept": "text/plain"},
        )

    def read(self, procedure: str, form: Mapping[str, str]) -> str:
        """Ask something that changes nothing, so that a second try at once does no harm."""
        for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, CatalogueUnavailable) and error.retry_after is None,
            attempts=self._settings.read_attempts,
            timeout=self._settings.timeout,
            wait_initial=0.05,
            wait_max=1.0,
        ):
            with attempt:
                return self._send("GET", procedure, params=self._renamed(form))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def write(self, procedure: str, form: Mapping[str, str]) -> str:
        """Ask for an effect, once: whoever gets no answer looks before asking again."""
        # JSON's own signs need no escape, and leaving them makes a large batch 40 times as quick
        content = urlencode(self._renamed(form), safe='"{}[]:,/').encode("ascii")
        return self._send("POST", procedure, content=content)

    def sign(self, procedure: str, form: Mapping[str, str]) -> dict[str, str]:
        """Put the assumed FRM_HASH before the form; docs/catalogues/vuo.md says what string it is made of."""
        try:
            parts = [_sha1(text) for text in (procedure, *form.values())]
        except UnicodeEncodeError as error:
            raise CatalogueRefused(f"The request to VUO contains characters that are not text: {error}.") from error
        return {"FRM_HASH": self.signature(*parts), **form}

    def signature(self, *parts: str) -> str:
        """Hash the secret and these parts in the way of the known call: one behind the other."""
        return _sha1(self._settings.secret.get_secret_value() + "".join(parts))

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def _renamed(self, form: Mapping[str, str]) -> dict[str, str]:
        names = self._settings.parameter_names
        return {names.get(name, name): value for name, value in form.items()}

    def _send(
        self,
        method: str,
        procedure: str,
        *,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> str:
        deadline = time.monotonic() + self._settings.timeout
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if content is not None else None
        try:
            with self._client.stream(method, procedure, params=params, content=content, headers=headers) as response:
                _require_success(procedure, response)
                return _text(response, deadline)
        except httpx.TransportError as error:
            raise CatalogueUnavailable(
                f"VUO did not answer {procedure} ({type(error).__name__}: {error}). It is retried; if "
                f"this continues, check whether {self._settings.base_url} can be reached from here."
            ) from error
        except httpx.RequestError as error:
            raise BadAnswer(f"VUO's answer to {procedure} cannot be read ({error}); it is retried.") from error


def _require_success(procedure: str, response: httpx.Response) -> None:
    status = response.status_code
    if status in _UNKNOWN:
        raise UnknownTrouble(
            f"VUO failed at {procedure} with HTTP {status}; its own log says why.",
            retry_after=_retry_after(response.headers.get("Retry-After", "")),
        )
    if response.is_server_error or status in _TRANSIENT:
        raise CatalogueUnavailable(
            f"VUO answered {procedure} with HTTP {status}; it is retried.",
            retry_after=_retry_after(response.headers.get("Retry-After", "")),
        )
    if response.is_client_error:
        raise CatalogueRefused(
            f"VUO refused {procedure} with HTTP {status}. See whether the procedure's name is right "
            "(DATAUPLOADER_CATALOG_VUO__PROCEDURES__…) and what VUO's own log says, then retry.",
            words=f"HTTP {status} {response.reason_phrase}",
        )
    if status != HTTPStatus.OK:
        raise BadAnswer(
            f"VUO answered {procedure} with HTTP {status}, which leads elsewhere or says nothing; "
            "set DATAUPLOADER_CATALOG_VUO__BASE_URL to where VUO itself answers."
        )


def _text(response: httpx.Response, deadline: float) -> str:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _MOST_BYTES:
            raise BadAnswer(f"VUO's answer is longer than {_MOST_BYTES} bytes; it was not read to its end.")
        if time.monotonic() > deadline:
            raise CatalogueUnavailable("VUO's answer took too long to arrive; it is retried.")
    try:
        return body.decode(response.charset_encoding or "utf-8")
    except (UnicodeDecodeError, LookupError) as error:
        raise unreadable(repr(bytes(body)), "it is not text") from error


def _retry_after(header: str) -> float | None:
    return float(header) if header.isascii() and header.isdigit() else None


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - VUO's known call is made with it
