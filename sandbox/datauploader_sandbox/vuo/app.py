"""The double as a web application: procedures under /pls/vuo, pages for people, switches under /_double."""

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from datauploader_sandbox.vuo import pages
from datauploader_sandbox.vuo.faults import Fault, FaultKind, Faults
from datauploader_sandbox.vuo.procedures import Procedures
from datauploader_sandbox.vuo.store import Store

_LOCAL = {"127.0.0.1", "localhost", "::1"}
_SAFE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}


class LostResponse(Response):
    """An answer whose connection breaks before its first byte of text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the interface
        """Announce an answer and never send it; the server then drops the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})


def create(store: Store, secret: str, widths: dict[str, int] | None = None) -> FastAPI:
    """Return the application over this store, whose columns have these widths in bytes, such as `datasets.name`."""
    columns = dict(widths or {})
    app = FastAPI(title="VUO double", openapi_url=None)
    _add_procedures(app, Procedures(store, secret, columns), Faults())
    _add_pages(app, store)
    _add_sign_in(app, store)

    @app.get("/_double/state")
    async def state() -> dict[str, Any]:
        return store.state()

    @app.put("/_double/widths")
    async def set_widths(widths: dict[str, int]) -> dict[str, int]:
        columns.clear()
        columns.update(widths)
        return columns

    @app.delete("/_double/investigations/{investigation_id}")
    async def close(investigation_id: str, reason: str) -> None:
        store.close_investigation(investigation_id, reason)

    @app.delete("/_double/state")
    async def forget() -> dict[str, Any]:
        store.forget()
        return store.state()

    return app


def _add_procedures(app: FastAPI, procedures: Procedures, faults: Faults) -> None:
    @app.api_route("/pls/vuo/{name}", methods=["GET", "POST"])
    async def call(name: str, request: Request) -> Response:
        if request.method == "GET" and name in procedures.writes:
            return PlainTextResponse("This procedure is to be posted.\n", HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            form = await _form(request)
        except ValueError:
            return PlainTextResponse("The form cannot be read.\n", HTTPStatus.BAD_REQUEST)
        login_url = f"{request.url_for('show_sign_in')}?back="
        fault = faults.take(name, form)
        if fault and not (fault.after_effect or fault.kind in {FaultKind.LOST, FaultKind.SLOW}):
            return await _failure(fault, "")
        text = procedures.answer(name, form, login_url)
        if text is None:
            return PlainTextResponse("There is no such procedure.\n", HTTPStatus.NOT_FOUND)
        return await _failure(fault, text) if fault else PlainTextResponse(text)

    @app.get("/_double/faults")
    async def show_faults() -> list[Fault]:
        return faults.plans

    @app.post("/_double/faults")
    async def add_fault(fault: Fault) -> list[Fault]:
        faults.plans.append(fault)
        return faults.plans

    @app.delete("/_double/faults")
    async def clear_faults() -> list[Fault]:
        faults.plans.clear()
        return faults.plans


def _add_pages(app: FastAPI, store: Store) -> None:
    @app.get("/")
    async def home(request: Request) -> Response:
        return _html(pages.home(store, request.cookies.get("vuo_session", "")))

    @app.get("/investigations/{investigation_id}")
    async def investigation(investigation_id: str) -> Response:
        row = store.investigation(investigation_id)
        return _html(pages.investigation(store, row)) if row else _absent(f"investigation {investigation_id}")

    @app.get("/datasets/{dataset_id}")
    async def dataset(dataset_id: str) -> Response:
        row = store.dataset(dataset_id)
        return _html(pages.dataset(store, row)) if row else _absent(f"dataset {dataset_id}")


def _add_sign_in(app: FastAPI, store: Store) -> None:
    @app.get("/sign-in")
    async def show_sign_in(back: str = "/") -> Response:
        return _html(pages.sign_in(store, back))

    @app.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        form = await _form(request)
        user = store.user_of(form.get("session", ""))
        if user is None:
            return _absent("such user")
        answer = RedirectResponse(_local(form.get("back", "/")), HTTPStatus.SEE_OTHER)
        answer.set_cookie("vuo_session", user["session"], httponly=True, samesite="lax")
        return answer


async def _form(request: Request) -> dict[str, str]:
    """Read the pairs of a query or a posted form, in their order; never guess at broken characters."""
    raw = await request.body() if request.method == "POST" else request.url.query.encode()
    text = raw.decode("ascii")
    return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50))


async def _failure(fault: Fault, text: str) -> Response:
    headers = {"Location": fault.location} if fault.location else {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    match fault.kind:
        case FaultKind.ERROR:
            return PlainTextResponse("As told.\n", fault.status, headers)
        case FaultKind.TIMEOUT:
            await asyncio.sleep(fault.seconds)
            return PlainTextResponse("Too late.\n", HTTPStatus.GATEWAY_TIMEOUT)
        case FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
            return PlainTextResponse(text)
        case FaultKind.LOST:
            return LostResponse()
        case FaultKind.UNREADABLE:
            return PlainTextResponse(fault.body)


def _local(address: str) -> str:
    """Return the address if it stays on this machine; the page must not send people elsewhere."""
    try:
        url = urlsplit(address)
    except ValueError:
        return "/"
    absolute = url.scheme in {"http", "https"} and url.hostname in _LOCAL
    relative = not url.scheme and not url.netloc and address.startswith("/") and "\\" not in address
    return address if absolute or relative else "/"


def _html(text: str) -> Response:
    return HTMLResponse(text, headers=_SAFE)


def _absent(what: str) -> Response:
    return HTMLResponse(pages.missing(what), HTTPStatus.NOT_FOUND, headers=_SAFE)
