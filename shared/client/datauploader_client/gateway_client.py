"""The gateway as programs see it: one method for each thing that can be asked, and a stream that survives restarts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from datauploader.contracts.paths import FilePath
from datauploader.contracts.rest.audits import Asked, Audits
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.files import Files
from datauploader.contracts.rest.health import Ready
from datauploader.contracts.rest.investigations import Choices
from datauploader.contracts.rest.model import RestModel
from datauploader.contracts.rest.previews import UploadPreview
from datauploader.contracts.rest.session import MeBody, NewToken, SignInBody
from datauploader.contracts.rest.stations import Stations
from datauploader.contracts.rest.timing import Timing
from datauploader.contracts.rest.uploads import Upload, Uploads
from datauploader.contracts.uploads import Action
from datauploader.errors import (
    BadRequest,
    GatewayError,
    GatewayUnreachable,
    PermissionDenied,
    RequestRefused,
    SignInNeeded,
    UploadNotFound,
)
from datauploader.reliability.backoff import Backoff
from datauploader_client.reading import read_answer
from datauploader_client.sse import ServerEvent, read_events

API = "/api/v1"
TIMEOUT_S = 30.0
SILENCE_S = 45.0
"""Seconds without a byte after which a stream counts as broken; the gateway sends a comment every 15 s."""
PAUSES_S = (0.3, 1.0)
"""Waits before a request that may be repeated is sent again."""
BACKOFF = Backoff(first_s=0.3, longest_s=10.0)
"""Waits before a stream of events is opened again."""

M = TypeVar("M", bound=RestModel)


class GatewayClient:
    """A connection to one gateway, with the token that says who is asking."""

    def __init__(self, url: str, token: str = "", *, transport: httpx.BaseTransport | None = None) -> None:
        """Prepare the connection; nothing is sent yet.

        Raises:
            BadRequest: the address is no http or https URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise BadRequest(
                f"{url!r} is not the address of a gateway", "Write it like https://datauploader.example.org."
            )
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, transport=transport)

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def ways(self) -> SignInBody:
        """Ask how one can sign in."""
        return self._ask(SignInBody, "GET", "/sign-in")

    def new_token(self, credentials: Mapping[str, str], name: str) -> NewToken:
        """Trade a name and password, or a VUO session, for a token."""
        return self._ask(NewToken, "POST", "/tokens", {**credentials, "name": name})

    def revoke_token(self) -> None:
        """Make the token in use worthless."""
        self._send("DELETE", f"{API}/tokens/current")

    def me(self) -> MeBody:
        """Tell whom the gateway takes us for."""
        return self._ask(MeBody, "GET", "/me")

    def investigations(self, text: str = "") -> Choices:
        """List the user's investigations; with a text, those in which all of its words stand."""
        return self._ask(Choices, "GET", "/investigations", params={"text": text} if text else None)

    def description(self, upload_id: str) -> Description:
        """Look up what is said of an upload's dataset."""
        return self._ask(Description, "GET", f"/uploads/{_quoted(upload_id)}/dataset")

    def describe(self, upload_id: str, said: Mapping[str, object]) -> Description:
        """Complete or correct what is said of an upload's dataset."""
        return self._ask(Description, "PATCH", f"/uploads/{_quoted(upload_id)}/dataset", said)

    def stations(self) -> Stations:
        """List the stations and how they are."""
        return self._ask(Stations, "GET", "/stations")

    def request_upload(self, request: Mapping[str, object], key: str) -> Upload:
        """Ask for an upload; the same key never makes a second one."""
        return self._ask(Upload, "POST", "/uploads", request, key)

    def preview_upload(self, request: Mapping[str, object]) -> UploadPreview:
        """Ask what an upload would take and meet; nothing is begun."""
        return self._ask(UploadPreview, "POST", "/uploads/preview", request)

    def uploads(self, after: str | None = None, limit: int = 50, **filters: str) -> Uploads:
        """List uploads, newest first."""
        params = {**filters, "limit": str(limit)} | ({"after": after} if after else {})
        return self._ask(Uploads, "GET", "/uploads", params=params)

    def upload(self, upload_id: str) -> Upload:
        """Look one upload up."""
        return self._ask(Upload, "GET", f"/uploads/{_quoted(upload_id)}")

    def files(self, upload_id: str, state: str = "", after: str | None = None, limit: int = 500) -> Files:
        """List an upload's files, failed ones first."""
        params = {"limit": str(limit)} | ({"state": state} if state else {}) | ({"after": after} if after else {})
        return self._ask(Files, "GET", f"/uploads/{_quoted(upload_id)}/files", params=params)

    def timing(self, upload_id: str) -> Timing:
        """Look up how long each step of the files' way took."""
        return self._ask(Timing, "GET", f"/uploads/{_quoted(upload_id)}/timing")

    def control(self, upload_id: str, action: Action, files: Sequence[FilePath] = ()) -> Upload:
        """Steer an upload, or these files of it."""
        body = {"files": [file.model_dump() for file in files]} if files else None
        return self._ask(Upload, "POST", f"/uploads/{_quoted(upload_id)}/{action}", body)

    def compare(self, upload_id: str, *, read: bool = False, accept: bool = False) -> Asked:
        """Have what lies on the storage compared with the manifest of an upload."""
        return self._ask(Asked, "POST", f"/uploads/{_quoted(upload_id)}/audits", {"read": read, "accept": accept})

    def audits(self, upload_id: str) -> Audits:
        """List what such comparisons found."""
        return self._ask(Audits, "GET", f"/uploads/{_quoted(upload_id)}/audits")

    def date(self) -> str:
        """Return the `Date` header of the gateway's answer, for the comparison of clocks."""
        return str(self._send("GET", "/health/live").headers.get("Date", ""))

    def ready(self) -> Ready:
        """Return the gateway's own checks; it answers 503 when one is not well."""
        try:
            answer = self._http.get("/health/ready")
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        return _read(Ready, answer)

    def events(self, upload_id: str = "", *, patience_s: float = 600) -> Iterator[ServerEvent | None]:
        """Yield live events of one upload or of all, across restarts of the gateway; None means: it is away now.

        Raises:
            GatewayUnreachable: the gateway stayed away for longer than `patience_s`.
        """
        path = f"{API}/uploads/{_quoted(upload_id)}/events" if upload_id else f"{API}/events"
        last_id, failures, silent_since = "", 0, time.monotonic()
        while True:
            try:
                for event in self._stream(path, last_id):
                    last_id, failures, silent_since = event.id or last_id, 0, time.monotonic()
                    yield event
                    if event.event == "end":
                        return
            except (GatewayUnreachable, UploadNotFound) as error:
                if (
                    isinstance(error, UploadNotFound) and not last_id
                ):  # later it only means that the view is being rebuilt
                    raise
                yield None
                if time.monotonic() - silent_since > patience_s:
                    raise
            failures += 1
            time.sleep(BACKOFF.wait_s(failures))

    def _stream(self, path: str, last_id: str) -> Iterator[ServerEvent]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    _fail(answer)
                yield from read_events(answer.iter_bytes())
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error

    def _ask(
        self,
        model: type[M],
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        key: str = "",
        params: Mapping[str, str] | None = None,
    ) -> M:
        return _read(model, self._send(method, API + path, body, key, params))

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        key: str = "",
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        pauses = list(PAUSES_S) if method == "GET" or key else []
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            try:
                answer = self._http.request(method, path, json=body, params=params, headers=headers)
            except httpx.HTTPError as error:
                if not pauses:
                    raise _unreachable(self.url, error) from error
                time.sleep(pauses.pop(0))
                continue
            return answer if answer.is_success else _fail(answer)


def _quoted(upload_id: str) -> str:
    return quote(upload_id, safe="")


def _read(model: type[M], answer: httpx.Response) -> M:
    try:
        return read_answer(model, answer.content)
    except ValidationError as error:
        raise RequestRefused(
            f"{answer.url} did not answer like a gateway of this release",
            "Check the address; if it is right, update this program or the gateway.",
        ) from error


def _unreachable(url: str, error: httpx.HTTPError) -> GatewayUnreachable:
    hint = "Check the address and the network; running uploads continue without the gateway."
    return GatewayUnreachable(f"the gateway {url} does not answer ({error or type(error).__name__})", hint)


_BY_STATUS: dict[int, type[GatewayError]] = {
    401: SignInNeeded,
    403: PermissionDenied,
    404: UploadNotFound,
    413: BadRequest,
    422: BadRequest,
    502: GatewayUnreachable,
    503: GatewayUnreachable,
    504: GatewayUnreachable,
}


def _fail(answer: httpx.Response) -> NoReturn:
    """Raise what the problem document (RFC 9457) says; a proxy in between may have sent something else."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    said = problem if isinstance(problem, dict) else {}
    detail = str(said.get("detail") or said.get("title") or f"the gateway answered {answer.status_code}")
    for wrong in said.get("errors") or []:
        if isinstance(wrong, dict):
            detail += f"\n{wrong.get('field', '')}: {wrong.get('message', '')}"
    hint = str(said.get("hint") or "")
    if retry_after := answer.headers.get("Retry-After"):
        hint = f"{hint} Try again in {retry_after} s.".strip()
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR and said.get("trace_id"):
        hint = f"{hint} The logs have details under {said['trace_id']}.".strip()
    if answer.status_code == httpx.codes.CONFLICT and str(said.get("type", "")).endswith("/dataset-continues"):
        hint = f"{hint} On the command line: --continue, or another --dataset.".strip()
    raise _BY_STATUS.get(answer.status_code, RequestRefused)(detail, hint)
