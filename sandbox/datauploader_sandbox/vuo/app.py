"""The double as a web application: procedures under /pls/vuo, pages for people, switches under /_double."""

import json
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from datauploader_sandbox.doubles.faults import Fault, FaultKind, Faults
from datauploader_sandbox.vuo import pages
from datauploader_sandbox.vuo.procedures import Procedures
from datauploader_sandbox.vuo.store import Store

_LOCAL = {"127.0.0.1", "localhost", "::1"}
_SAFE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}


class VuoFault(Fault):
    """A plan for the next calls of a procedure that name `match`, as a value or as a text in JSON."""

    procedure: str
    kind: Literal[FaultKind.ERROR, FaultKind.TIMEOUT, FaultKind.SLOW, FaultKind.LOST, FaultKind.UNREADABLE]

    def means(self, procedure: str, form: dict[str, str]) -> bool:
        """Tell whether this call is meant."""
        quoted = json.dumps(self.match)
        named = (value == self.match or (value.startswith("[") and quoted in value) for value in form.values())
        return procedure == self.procedure and (not self.match or any(named))


def create(store: Store, secret: str, widths: dict[str, int] | None = None) -> FastAPI:
    """Return the application over this store, whose columns have these widths in bytes, such as `datasets.name`."""
    columns = dict(widths or {})
    app = FastAPI(title="VUO double", openapi_url=None)
    faults = Faults(VuoFault)
    _add_procedures(app, Procedures(store, secret, columns), faults)
    faults.add_switches(app)
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


def _add_procedures(app: FastAPI, procedures: Procedures, faults: Faults[VuoFault]) -> None:
    @app.api_route("/pls/vuo/{name}", methods=["GET", "POST"])
    async def call(name: str, request: Request) -> Response:
        if request.method == "GET" and name in procedures.writes:
            return PlainTextResponse("This procedure is to be posted.\n", HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            form = await _form(request)
        except ValueError:
            return PlainTextResponse("The form cannot be read.\n", HTTPStatus.BAD_REQUEST)
        login_url = f"{request.url_for('show_sign_in')}?back="
        fault = faults.take(lambda plan: plan.means(name, form))
        if fault and fault.comes_first:
            return await fault.answer(Response())
        text = procedures.answer(name, form, login_url)
        if text is None:
            return PlainTextResponse("There is no such procedure.\n", HTTPStatus.NOT_FOUND)
        answer = PlainTextResponse(text)
        return await fault.answer(answer) if fault else answer


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
