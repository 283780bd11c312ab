"""The double as a web application: SciCat's interfaces under /api, switches under /_double."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from datauploader_sandbox.doubles.faults import Fault, FaultKind, Faults
from datauploader_sandbox.scicat.blocks import Blocks
from datauploader_sandbox.scicat.datasets import Datasets
from datauploader_sandbox.scicat.directory import Directory
from datauploader_sandbox.scicat.refusals import Refusal
from datauploader_sandbox.scicat.store import Call, Store

BODY_LIMIT = 16 * 1024 * 1024
_ADDRESS_LIMIT = 16_000
"""What Node takes of an address and the headers together, a little less."""
_EXACT = 2**53
"""Beyond it, JavaScript does not know every integer."""
_WORDS = {
    "login",
    "ldap",
    "my",
    "identity",
    "fullquery",
    "public",
    "origdatablocks",
    "datasetlifecycle",
    "useridentity",
    "findone",
}
_ONLY_OLD = {"auth", "users", "useridentities", "proposals", "instruments", "health"}
Operation = Callable[[Call], tuple[int, Any]]


class ScicatFault(Fault):
    """A plan for the next calls such as `POST datasets` or `PATCH datasets/:id` that name `match`.

    That is a part of the address, or a value in the body.
    """

    calls: tuple[str, ...]
    kind: Literal[
        FaultKind.ERROR, FaultKind.TIMEOUT, FaultKind.SLOW, FaultKind.LOST, FaultKind.UNREADABLE, FaultKind.EXPIRED
    ]

    def means(self, call: str, address: list[str], body: bytes) -> bool:
        """Tell whether this call is meant."""
        quoted = {json.dumps(self.match).encode(), json.dumps(self.match, ensure_ascii=False).encode()}
        named = not self.match or self.match in address or any(text in body for text in quoted)
        return call in self.calls and named


class Backend:
    """Answers calls by their name, such as `PATCH datasets/:id`."""

    def __init__(self, store: Store) -> None:
        self.store, self.faults = store, Faults(ScicatFault)
        self.api = "v4"
        """The newest interface that is offered."""
        directory, datasets, blocks = Directory(store), Datasets(store), Blocks(store)
        self._operations: dict[str, Operation] = {
            "GET health": lambda _: (200, {"status": "ok", "info": {"mongodb": {"status": "up"}}}),
            "POST auth/login": directory.sign_in,
            "POST auth/ldap": directory.sign_in,
            "GET users/my/identity": directory.own_identity,
            "GET users/:id/useridentity": directory.identity,
            "GET useridentities/findone": directory.find_identity,
            "GET instruments": directory.instruments,
            "GET proposals": directory.proposals,
            "GET proposals/:id": directory.proposal,
            "POST proposals": directory.create_proposal,
            "PATCH proposals/:id": directory.change_proposal,
            "POST datasets": datasets.create,
            "GET datasets": datasets.find,
            "GET datasets/fullquery": datasets.fullquery,
            "GET datasets/:id": datasets.get,
            "PATCH datasets/:id": datasets.change,
            "DELETE datasets/:id": datasets.remove,
            "PATCH datasets/:id/datasetlifecycle": datasets.change_lifecycle,
            "POST datasets/:id/origdatablocks": blocks.create,
            "GET datasets/:id/origdatablocks": blocks.find,
            "POST origdatablocks": blocks.create,
            "GET origdatablocks": blocks.find,
            "PATCH origdatablocks/:id": blocks.change,
            "DELETE origdatablocks/:id": blocks.remove,
        }

    async def answer(self, request: Request) -> Response:
        """Answer one request, or fail as planned."""
        if len(request.scope["raw_path"]) + len(request.scope["query_string"]) > _ADDRESS_LIMIT:
            return Response(status_code=431)
        version, *parts = [unquote(part) for part in request.scope["raw_path"].decode().split("/")[2:]]
        parts[0] = parts[0].lower()
        shape = [parts[0], *(part.lower() if part.lower() in _WORDS else ":id" for part in parts[1:])]
        name = f"{request.method} {'/'.join(shape)}"
        body = await request.body()
        self.store.counts[name] += 1
        self.store.counts["bytes"] += len(body)
        fault = self.faults.take(lambda plan: plan.means(name, parts, body))
        if fault is not None and fault.comes_first:
            return await fault.answer(Response())
        answer = self._answered(request, name, version, parts, body, fault)
        self.store.counts["answered"] += len(answer.body)
        return await fault.answer(answer) if fault is not None else answer

    def _answered(
        self, request: Request, name: str, version: str, parts: list[str], body: bytes, fault: Fault | None
    ) -> Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if fault is not None and fault.kind is FaultKind.EXPIRED:
            self.store.tokens.pop(token, None)
        try:
            operation = self._operations.get(name)
            unknown = version not in {"v3", self.api} or (version == "v4" and parts[0] in _ONLY_OLD)
            if operation is None or unknown:
                raise Refusal(404, f"Cannot {request.method} {request.url.path}")  # noqa: TRY301 - one answer for all
            if len(body) > BODY_LIMIT:
                raise Refusal(413, "request entity too large")  # noqa: TRY301
            call = Call(
                request.method, version, parts, dict(request.query_params), _read(body), self.store.user_of(token),
                request.headers.get("If-Unmodified-Since", ""),
                request.headers.get("Content-Type", "") == "application/merge-patch+json",
            )  # fmt: skip
            status, answer = operation(call)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
            self.store.counts[str(status)] += 1
        return JSONResponse(answer, status) if answer is not None else Response(status_code=status)


def create(store: Store, api: str = "v4") -> ASGIApp:
    """Return the application over this store."""
    backend = Backend(store)
    backend.api = api
    switches = _switches(store, backend)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(b"/api/"):  # pids hold anything, as routes do not
            answer = await backend.answer(Request(scope, receive))
            await answer(scope, receive, send)
        else:
            await switches(scope, receive, send)

    return application


def _switches(store: Store, backend: Backend) -> FastAPI:
    app = FastAPI(title="SciCat double", openapi_url=None)

    @app.get("/_double/state")
    async def state() -> dict[str, Any]:
        return store.state()

    @app.delete("/_double/state")
    async def forget() -> None:
        store.forget()
        backend.faults.plans.clear()

    @app.put("/_double/api/{api}")
    async def offer(api: str) -> None:
        backend.api = api

    @app.put("/_double/ttl/{seconds}")
    async def let_tokens_live(seconds: float) -> None:
        store.ttl = seconds

    @app.put("/_double/accounts/{account_id}/groups")
    async def set_groups(account_id: str, groups: tuple[str, ...]) -> None:
        store.accounts[account_id] = replace(store.accounts[account_id], groups=groups)

    @app.delete("/_double/tokens")
    async def expire() -> None:
        store.tokens = {token: kept for token, kept in store.tokens.items() if not kept[1]}

    backend.faults.add_switches(app)
    return app


def _read(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}", parse_int=_number)
    except ValueError as error:
        raise Refusal(400, f"Unexpected token in JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(400, "an object was expected")
    return value


def _number(digits: str) -> int:
    return int(digits) if abs(int(digits)) <= _EXACT else int(float(digits))
