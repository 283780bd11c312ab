"""The double as a web application: ICAT's REST interface under /icat, switches under /_double."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from datauploader_sandbox.icat.errors import STATUS, IcatError, bad_parameter
from datauploader_sandbox.icat.faults import Fault, FaultKind, Faults
from datauploader_sandbox.icat.query import Query
from datauploader_sandbox.icat.rendering import Renderer
from datauploader_sandbox.icat.seed import PLUGIN, Seed
from datauploader_sandbox.icat.sessions import Sessions
from datauploader_sandbox.icat.state import state_of
from datauploader_sandbox.icat.store import Store
from datauploader_sandbox.vuo.app import LostResponse

VERSION = "6.2.0"
LONGEST_ADDRESS = 8192
"""Bytes of an address; Payara's servers take no longer heads of requests, unless they are told to."""
Form = Mapping[str, str]


@dataclass
class Icat:
    """The state of the double, and what it answers."""

    seed: Seed
    lifetime_minutes: float = 120.0
    most: int = 10_000
    store: Store = field(init=False)
    sessions: Sessions = field(init=False)
    faults: Faults = field(default_factory=Faults)
    requests: Counter[str] = field(default_factory=Counter)
    """By method and path, and the bytes that were sent with them."""

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new: only the seed stays."""
        self.store = self.seed.sow()
        self.sessions = Sessions(self.seed.passwords, self.seed.sessions, self.lifetime_minutes)
        self.faults.plans.clear()
        self.requests.clear()
        self.most = type(self).most

    def login(self, form: Form) -> Any:
        """Open a session."""
        try:
            asked = json.loads(form["json"])
            credentials = {name: text for one in asked["credentials"] for name, text in one.items()}
            plugin = str(asked["plugin"])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise bad_parameter("json must not be null") from None
        return {"sessionId": self.sessions.login(plugin, credentials)}

    def search(self, form: Form) -> list[Any]:
        """Answer a query."""
        user = self.sessions.user(form.get("sessionId", ""))
        if "query" not in form:
            raise bad_parameter("query is not set")
        answer = Query(self.store, form["query"]).ask(user, self.most)
        renderer = Renderer(self.store, user, self.most)
        return [renderer.result(one, answer.includes) for one in answer.results]

    def write(self, form: Form) -> list[int]:
        """Create and update entities."""
        user = self.sessions.user(form.get("sessionId", ""))
        if "entities" not in form:
            raise bad_parameter("entities is not set")
        return self.store.write(user, form["entities"])

    def properties(self) -> dict[str, Any]:
        """Tell what may be known without a session."""
        keys = [{"name": "username"}, {"name": "password", "hide": True}]
        return {
            "maxEntities": self.most,
            "lifetimeMinutes": self.lifetime_minutes,
            "authenticators": [{"mnemonic": plugin, "keys": keys} for plugin in self.sessions.plugins],
            "containerType": "Payara",
        }


def create(icat: Icat) -> FastAPI:
    """Return the application over this state."""
    app = FastAPI(title="ICAT double", openapi_url=None)
    _add_rest(app, icat)
    _add_switches(app, icat)
    return app


def _add_rest(app: FastAPI, icat: Icat) -> None:
    @app.get("/icat/version")
    async def version() -> Any:
        return {"version": VERSION}

    @app.get("/icat/properties")
    async def properties() -> Any:
        return icat.properties()

    @app.post("/icat/session")
    async def login(request: Request) -> Response:
        form = await _form(request)
        return await _answer(icat, request, form, lambda: icat.login(form))

    @app.api_route("/icat/session/{session}", methods=["GET", "PUT", "DELETE"])
    async def session(session: str, request: Request) -> Response:
        def show() -> Any:
            name, minutes = icat.sessions.user(session), icat.sessions.remaining_minutes(session)
            return {"userName": name, "remainingMinutes": minutes}

        acts = {
            "GET": show,
            "PUT": lambda: icat.sessions.refresh(session),
            "DELETE": lambda: icat.sessions.end(session),
        }
        return await _answer(icat, request, {"sessionId": session}, acts[request.method])

    @app.get("/icat/entityManager")
    async def search(request: Request) -> Response:
        if len(str(request.url)) > LONGEST_ADDRESS:
            return PlainTextResponse("The request's head is too large.\n", 413)
        form = dict(parse_qsl(request.url.query, keep_blank_values=True))
        return await _answer(icat, request, form, lambda: icat.search(form))

    @app.post("/icat/entityManager")
    async def write(request: Request) -> Response:
        form = await _form(request)
        return await _answer(icat, request, form, lambda: icat.write(form))


def _add_switches(app: FastAPI, icat: Icat) -> None:
    @app.get("/_double/state")
    async def state() -> Any:
        return state_of(icat.store) | {"requests": icat.requests}

    @app.delete("/_double/state")
    async def forget() -> Any:
        icat.forget()
        return state_of(icat.store)

    @app.get("/_double/faults")
    async def show_faults() -> list[Fault]:
        return icat.faults.plans

    @app.post("/_double/faults")
    async def add_fault(fault: Fault) -> list[Fault]:
        icat.faults.plans.append(fault)
        return icat.faults.plans

    @app.delete("/_double/faults")
    async def clear_faults() -> list[Fault]:
        icat.faults.plans.clear()
        return icat.faults.plans

    @app.put("/_double/rules/{account}")
    async def set_rules(account: str, letters: dict[str, str]) -> Any:
        icat.store.rules.letters[f"{PLUGIN}/{account}"] = letters
        return letters

    @app.put("/_double/limits")
    async def set_limits(most: int = Icat.most, fold_case: bool = False) -> None:
        icat.most, icat.store.fold_case = most, fold_case


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("ascii", "replace")  # what is not escaped is read in the platform's charset
    return dict(parse_qsl(text, keep_blank_values=True))


async def _answer(icat: Icat, request: Request, form: Form, act: Callable[[], Any]) -> Response:
    """Do what was asked, unless a fault comes in between."""
    path = request.url.path.removeprefix("/icat/")
    icat.requests[f"{request.method} {path.partition('/')[0]}"] += 1
    icat.requests["bytes"] += int(request.headers.get("Content-Length", 0)) + len(str(request.url))
    fault = icat.faults.take(request.method, path, form.get("entities", form.get("query", "")))
    if fault and fault.kind is FaultKind.EXPIRED:
        icat.sessions.end(form["sessionId"])
        fault = None
    if fault and not (fault.after_effect or fault.kind in {FaultKind.LOST, FaultKind.SLOW}):
        return await _failure(fault, Response())
    try:
        done = act()
        answer = Response(status_code=204) if done is None else JSONResponse(done)
    except IcatError as error:
        answer = JSONResponse(error.document(), STATUS[error.code])
    return await _failure(fault, answer) if fault else answer


async def _failure(fault: Fault, answer: Response) -> Response:
    headers = {"Location": fault.location} if fault.location else {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    match fault.kind:
        case FaultKind.ICAT:
            return JSONResponse(IcatError(fault.code, fault.message).document(), STATUS[fault.code])
        case FaultKind.ERROR:
            return PlainTextResponse("As told.\n", fault.status, headers)
        case FaultKind.TIMEOUT:
            await asyncio.sleep(fault.seconds)
            return PlainTextResponse("Too late.\n", 504)
        case FaultKind.LOST:
            return LostResponse()
        case FaultKind.UNREADABLE:
            return PlainTextResponse(fault.body)
    await asyncio.sleep(fault.seconds)
    return answer
