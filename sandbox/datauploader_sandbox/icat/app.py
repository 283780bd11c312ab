"""The double as a web application: ICAT's REST interface under /icat, switches under /_double."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field

from datauploader_sandbox.doubles.faults import Fault, FaultKind, Faults
from datauploader_sandbox.icat.errors import STATUS, IcatError, bad_parameter
from datauploader_sandbox.icat.query import Query
from datauploader_sandbox.icat.rendering import Renderer
from datauploader_sandbox.icat.seed import PLUGIN, Seed
from datauploader_sandbox.icat.sessions import Sessions
from datauploader_sandbox.icat.state import state_of
from datauploader_sandbox.icat.store import Store

VERSION = "6.2.0"
LONGEST_ADDRESS = 8192
"""Bytes of an address; Payara's servers take no longer heads of requests, unless they are told to."""
Form = Mapping[str, str]


class IcatFault(Fault):
    """A plan for the next calls of a method and path whose form or query `match` is found in."""

    method: str = "POST"
    path: str = "entityManager"
    """A regular expression, as is `match`."""
    code: str = "INTERNAL"
    message: str = "Unexpected DB response, as told"
    status: int = Field(default=502, ge=300, le=599)

    def means(self, method: str, path: str, text: str) -> bool:
        """Tell whether this call is meant."""
        return method == self.method and bool(re.match(self.path, path) and re.search(self.match, text))

    async def answer(self, right: Response) -> Response:
        """Answer as planned; ICAT has errors of its own."""
        if self.kind is FaultKind.ICAT:
            return JSONResponse(IcatError(self.code, self.message).document(), STATUS[self.code])
        return await super().answer(right)


@dataclass
class Icat:
    """The state of the double, and what it answers."""

    seed: Seed
    lifetime_minutes: float = 120.0
    most: int = 10_000
    store: Store = field(init=False)
    sessions: Sessions = field(init=False)
    faults: Faults[IcatFault] = field(default_factory=lambda: Faults(IcatFault))
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

    def remove(self, form: Form) -> None:
        """Remove entities."""
        user = self.sessions.user(form.get("sessionId", ""))
        if "entities" not in form:
            raise bad_parameter("entities is not set")
        self.store.remove(user, form["entities"])

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
    async def version(request: Request) -> Response:
        return await _answer(icat, request, {}, lambda: {"version": VERSION})

    @app.get("/icat/properties")
    async def properties(request: Request) -> Response:
        return await _answer(icat, request, {}, icat.properties)

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

    @app.delete("/icat/entityManager")
    async def remove(request: Request) -> Response:
        form = dict(parse_qsl(request.url.query, keep_blank_values=True))
        return await _answer(icat, request, form, lambda: icat.remove(form))

    @app.post("/icat/entityManager")
    async def write(request: Request) -> Response:
        form = await _form(request)
        return await _answer(icat, request, form, lambda: icat.write(form))


def _add_switches(app: FastAPI, icat: Icat) -> None:
    icat.faults.add_switches(app)

    @app.get("/_double/state")
    async def state() -> Any:
        return state_of(icat.store) | {"requests": icat.requests}

    @app.delete("/_double/state")
    async def forget() -> Any:
        icat.forget()
        return state_of(icat.store)

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
    text = form.get("entities", form.get("query", ""))
    fault = icat.faults.take(lambda plan: plan.means(request.method, path, text))
    if fault and fault.kind is FaultKind.EXPIRED:
        icat.sessions.end(form["sessionId"])
        fault = None
    if fault and fault.comes_first:
        return await fault.answer(Response())
    try:
        done = act()
        answer = Response(status_code=204) if done is None else JSONResponse(done)
    except IcatError as error:
        answer = JSONResponse(error.document(), STATUS[error.code])
    return await fault.answer(answer) if fault else answer
