"""Receipts as the gateway hands them out over REST, and what its answers mean for whoever waits for one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn, Self

import httpx
from pydantic import BaseModel, ValidationError

from datauploader.plugins.consumer import Park, Retry

SOON, LATER = timedelta(seconds=1), timedelta(minutes=1)
MOST_WAITS = 10
"""How often an upload that the gateway does not know to be complete is asked for again: its view may be behind the
event, or be built anew."""
_SHOWN = 4000
"""Bytes of a refusal that are read."""
_MEDIA_TYPE = "application/ld+json"
_BUSY = (408, 425, 429)
_REFUSALS = {
    401: "the gateway does not accept the token: put a new one into its file, restart the service, replay this",
    404: "the gateway has no such upload for this token: its account must be staff of the beamline, or an operator",
    409: "the gateway has no final receipt",
}


class DatasetNames(BaseModel):
    """The dataset that an upload became, and how far the upload is."""

    investigation: str
    dataset: str
    state: str = ""


class GatewayReceipts:
    """A gateway's receipts, as the owner of a token sees them; no error shows the token."""

    def __init__(self, url: str, token: str, timeout_s: float, *, attempt: int) -> None:
        """Prepare the connection; from the eleventh `attempt` on, what is not there does not come any more."""
        self._url, self._attempt = url.rstrip("/"), attempt
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(headers=headers, timeout=timeout_s, follow_redirects=False)

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def dataset(self, upload_id: str) -> DatasetNames:
        """Ask for the names of an upload's dataset.

        Raises:
            Retry: the gateway is away, or does not know the upload yet.
            Park: it says no for good.
        """
        with self._ask(f"uploads/{upload_id}") as answer:
            try:
                return DatasetNames.model_validate_json(answer.read())
            except ValidationError:
                raise Park(f"{self._url} does not answer like a gateway: see gateway in [ro_crate]") from None

    def crate(self, upload_id: str) -> Iterator[bytes]:
        """Yield the RO-Crate of a complete dataset, part by part.

        Raises:
            Retry: the gateway is away, does not know that the dataset is complete yet, or stopped before the end.
            Park: it says no for good.
        """
        end = b""
        with self._ask(f"uploads/{upload_id}/receipt/ro-crate-metadata.json") as answer:
            if not answer.headers.get("Content-Type", "").startswith(_MEDIA_TYPE):
                raise Park(f"{self._url} does not answer with an RO-Crate: see gateway in [ro_crate]")
            for part in answer.iter_bytes():
                end = (end + part)[-10:]
                yield part
        if not end.rstrip().endswith(b"]}"):  # a proxy that speaks HTTP 1.0 does not tell that there was more
            raise Retry("the gateway's answer ended too early", LATER)

    @contextmanager
    def _ask(self, path: str) -> Iterator[httpx.Response]:
        try:
            with self._http.stream("GET", f"{self._url}/api/v1/{path}") as answer:
                if answer.status_code != httpx.codes.OK:
                    self._refuse(answer)
                yield answer
        except httpx.RequestError as error:
            raise Retry(f"the gateway cannot be reached ({type(error).__name__})", LATER) from None

    def _refuse(self, answer: httpx.Response) -> NoReturn:
        code, said = answer.status_code, _reason(answer)
        if code >= httpx.codes.INTERNAL_SERVER_ERROR or code in _BUSY:
            raise Retry(f"the gateway answered with HTTP status {code}{said}", LATER)
        where = "leads elsewhere; give its new address" if answer.is_redirect else "refuses the request"
        sentence = f"{_REFUSALS.get(code, f'the gateway {where}')} (HTTP status {code}{said})"
        if code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT) and self._attempt <= MOST_WAITS:
            raise Retry(sentence, SOON)
        raise Park(sentence)


def _reason(answer: httpx.Response) -> str:
    """Return what the gateway's problem document (RFC 9457) says after a colon; "" where it is none."""
    try:
        detail = json.loads(next(answer.iter_bytes(_SHOWN), b""))["detail"]
    except (ValueError, LookupError, TypeError):
        return ""
    return f": {detail[:500]}" if isinstance(detail, str) else ""
