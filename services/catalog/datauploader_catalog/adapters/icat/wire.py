"""Carries one request to ICAT and brings its answer back: JSON, and errors by their code."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from datauploader.plugins.catalogue.errors import BadAnswer, CatalogError
from datauploader_catalog.adapters.http import HttpAnswer, HttpClient
from datauploader_catalog.adapters.icat.refusals import SessionLost, refusal
from datauploader_catalog.settings import IcatSettings

_MOST_BYTES = 64 * 1024 * 1024
_SHOWN = 200


class IcatWire:
    """Speaks to ICAT over kept connections, from any thread."""

    def __init__(self, settings: IcatSettings) -> None:
        address = urljoin(str(settings.base_url), settings.path)
        self._http = HttpClient(settings, address, accept="application/json", most_bytes=_MOST_BYTES)

    def read(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Ask something that changes nothing, so that a second try at once does no harm."""
        return self._http.repeat(lambda: self.send("GET", path, query=query), unless=SessionLost)

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> Any:
        """Ask once and return the JSON of the answer, None where there is none.

        Raises:
            CatalogError: whoever gets no answer to a write looks before asking again.
        """
        what = f"{method} {path.partition('/')[0]}"  # sessions come behind it
        with self._http.ask(what, method, path, params=query, form=form) as answer:
            body = answer.body()
            if answer.response.is_success:
                return _read_json(body) if body.strip() else None
            raise _failure(answer, body)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def unreadable(answer: object, why: str) -> BadAnswer:
    """Return the error for an answer that means nothing."""
    return BadAnswer(
        f"ICAT's answer cannot be read: {why} ({repr(answer)[:_SHOWN]}). Nothing is concluded from it; it is retried. "
        "If that goes on, compare this ICAT's version with docs/catalogues/icat.md."
    )


def _failure(answer: HttpAnswer, body: bytes) -> CatalogError:
    """Return what an answer means that is no success: ICAT's own word, or that of something before it."""
    match _document(body):
        case {"code": str(code), "message": str(message), **more} if answer.response.is_error:
            offset = more.get("offset")
            return refusal(code, message, offset if isinstance(offset, int) else -1)
    return answer.error()


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
