"""What surrounds every request: a trace, a limit on its body, headers that protect browsers, counters."""

import re
import time
from contextlib import nullcontext

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datauploader.contracts.envelope import child_of, new_traceparent
from datauploader.runtime import tracing
from datauploader_gateway import metrics
from datauploader_gateway.errors import TooLarge
from datauploader_gateway.http.problems import of_error
from datauploader_gateway.http.trace import trace_id

LARGEST_BODY = 1024 * 1024
"""Bytes that a request may carry."""
_LOOKS = ("GET", "HEAD", "OPTIONS")
"""Methods that ask for nothing to be done: pages look every few seconds, and no trace is made of that."""
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HELP_CSP = _CSP.replace("img-src 'self'", "img-src 'self' data:")
"""The theme of the help keeps its icons within its style."""


class RequestMiddleware:
    """The request middleware, the only one; plain ASGI, so that streams pass through untouched."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        """Wrap the application; `secure` when browsers reach it over https."""
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        said = headers.get("traceparent", "")
        parent = said if _TRACEPARENT.fullmatch(said) else ""
        own = child_of(parent) if parent else new_traceparent()
        scope.setdefault("state", {})["traceparent"] = own
        answer = _Answer(scope, send, secure=self._secure)
        traced = (
            nullcontext()
            if scope["method"] in _LOOKS
            else tracing.answering(f"gateway answers {scope['method']}", own, parent)
        )
        with structlog.contextvars.bound_contextvars(trace_id=trace_id(scope)), traced:
            try:
                length = headers.get("content-length", "0")
                if not length.isdigit() or int(length) > LARGEST_BODY:
                    raise TooLarge(f"the body has more than {LARGEST_BODY} bytes")  # noqa: TRY301 - answered as all
                await self._app(scope, _Limited(receive), answer)
            except Exception as error:  # the dispatch boundary: every answer goes through here, or lacks its headers
                if answer.begun:
                    raise
                await of_error(error, scope)(scope, receive, answer)
            finally:
                answer.count()


class _Limited:
    """Counts a body that does not say its length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > LARGEST_BODY:
            raise TooLarge(f"the body has more than {LARGEST_BODY} bytes")
        return message


class _Answer:
    """Adds headers to the response and counts it."""

    def __init__(self, scope: Scope, send: Send, *, secure: bool) -> None:
        self._scope, self._send, self._secure = scope, send, secure
        self._status = 500
        self.begun = self._streams = False
        self._began = time.monotonic()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self.begun = message["status"], True
            headers = MutableHeaders(scope=message)
            self._streams = headers.get("Content-Type", "").startswith("text/event-stream")
            path = self._scope["path"]
            of_help = path.startswith("/help/")
            headers["Content-Security-Policy"] = _HELP_CSP if of_help else _CSP
            headers["X-Content-Type-Options"] = "nosniff"
            headers["X-Frame-Options"] = "DENY"
            headers["Referrer-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            if not path.startswith("/static/"):
                headers["Cache-Control"] = "no-cache" if of_help else "no-store"
            if self._secure:
                headers["Strict-Transport-Security"] = "max-age=63072000"
        await self._send(message)

    def count(self) -> None:
        """Count the request under its route."""
        route = getattr(self._scope.get("route"), "path", "unknown")
        metrics.REQUESTS.labels(self._scope["method"], route, self._status).inc()
        if not self._streams:  # they last as long as somebody looks
            metrics.SECONDS.labels(route).observe(time.monotonic() - self._began)
