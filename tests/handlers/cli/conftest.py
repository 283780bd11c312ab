"""A small gateway for the command line's tests: real HTTP and requests as they must be, answers that a test sets."""

import asyncio
import io
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from datauploader.contracts import Person
from datauploader.contracts.rest.uploads import Amount, Counts, Upload
from datauploader.contracts.uploads import Action
from datauploader_client.cli import main
from datauploader_gateway.features.audits.api import AuditBody
from datauploader_gateway.features.descriptions.service import DatasetText
from datauploader_gateway.features.new_upload.requests import UploadBody
from datauploader_gateway.features.sign_in.api import TokenRequest
from datauploader_gateway.features.uploads.api import SteeringBody

TOKEN = "du_good"
PROBLEMS = "https://datauploader.ceric.eu/problems/"


def upload(upload_id: str = "u-0001", **changes: Any) -> dict[str, Any]:
    """Describe an upload; `stored`, `failed` and so on set the counts."""
    files = {name: changes.pop(name) for name in Counts.model_fields if name in changes}
    known = Upload(
        id=upload_id, state="open", over=False, needs_person=False, paused=False, closing=False, mode="batch",
        investigation="20250001", dataset="scan1", station="elettra.xrd1.ws01", path="/data/scan1", sources=(".",),
        remote="archive", location="20250001/scan1", requested_by=Person(id="1", name="Anna"),
        created="2026-05-01T10:00:00Z", updated="2026-05-01T10:00:00Z",
        counts=Counts(**{name: Amount(files=number, bytes=number * 1000) for name, number in files.items()}),
    )  # fmt: skip
    return known.model_dump(mode="json") | changes


def completed(files: int = 10, **changes: Any) -> dict[str, Any]:
    """Describe an upload that ended well."""
    counts = dict.fromkeys(("found", "ready", "stored", "verified", "catalogued"), files)
    return upload(state="completed", over=True, **{**counts, **changes})


class StandIn:
    """The gateway: what it was asked, what it answers, and its process, which can be stopped and started again."""

    def __init__(self) -> None:
        """Begin with one station and one upload."""
        self.upload, self.completed = upload, completed
        self.port = 0
        self._server: uvicorn.Server | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what an earlier test asked and set."""
        self.asked: list[tuple[str, str, Any]] = []
        self.connections: list[str | None] = []
        self.uploads: dict[str, dict[str, Any]] = {"u-0001": upload()}
        self.files: list[dict[str, Any]] = []
        self.stations: list[dict[str, Any]] = [{"station": "elettra.xrd1.ws01", "silent": False, "services": []}]
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.failing: tuple[int, dict[str, Any]] | None = None
        self.preview: dict[str, Any] = {}
        self.audits: list[dict[str, Any]] = []
        self.timing: dict[str, Any] = {"steps": []}
        self.ways: dict[str, Any] = {"local": True, "vuo": True, "oidc": None}

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, on the same port as before if there was one."""
        config = uvicorn.Config(
            _app(self), host="127.0.0.1", port=self.port, log_config=None, ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        for _ in range(1000):
            if self._server.started:
                break
            self._thread.join(0.01)
        assert self._server.started, "the stand-in did not start"
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """End."""
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(10)


def _problem(status: int, kind: str, detail: str, hint: str = "") -> JSONResponse:
    document = {"type": PROBLEMS + kind, "title": kind, "status": status, "detail": detail, "hint": hint}
    return JSONResponse(document, status, media_type="application/problem+json")


def _app(gateway: StandIn) -> FastAPI:  # noqa: C901 - a list of routes
    app = FastAPI()

    @app.middleware("http")
    async def guard(request: Request, call_next):
        body = await request.body()
        gateway.asked.append((request.method, request.url.path, json.loads(body) if body else None))
        if gateway.failing:
            status, document = gateway.failing
            return JSONResponse(document, status, media_type="application/problem+json")
        public = request.url.path.startswith("/health") or (request.method, request.url.path) in (
            ("POST", "/api/v1/tokens"),
            ("GET", "/api/v1/sign-in"),
        )
        if not public and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _problem(401, "not-signed-in", "the token is not valid", "Sign in again.")
        return await call_next(request)

    @app.get("/health/live")
    def live():
        return {"ok": True}

    @app.get("/health/ready")
    def ready():
        return {"ok": True, "checks": [{"name": "redis", "ok": True, "detail": ""}]}

    @app.get("/api/v1/sign-in")
    def ways():
        return gateway.ways

    @app.post("/api/v1/tokens", status_code=201)
    def tokens(asked: TokenRequest):
        secrets = [each.get_secret_value() for each in (asked.password, asked.vuo_session) if each]
        if secrets not in (["secret"], ["cookie"]):
            return _problem(401, "wrong-credentials", "the name or the password is wrong")
        return {"id": "t1", "token": TOKEN, "expires": "2099-01-01T00:00:00Z", "user": {"id": "1", "name": "Anna"}}

    @app.delete("/api/v1/tokens/current", status_code=204)
    def revoke():
        return Response(status_code=204)

    @app.get("/api/v1/me")
    def me():
        return {"user": {"id": "1", "name": "Anna Rossi", "role": "user"}, "expires": None, "signed_in_by": "token"}

    @app.get("/api/v1/investigations")
    def investigations():
        first = {"id": "20250001", "title": "Strain [red]in\x1b[31m films", "open": True, "new": 1}
        more = {"section": "today", "beamline": "XRD1", "start": "2026-03-04", "principal_investigator": "Anna Rossi"}
        shut = {"id": "7", "title": "Old", "open": False, "reason": "Its time is over.", "section": "closed"}
        return {"items": [first | more, shut], "total": 3}

    @app.get("/api/v1/uploads/{name}/dataset")
    def description(name: str):
        return {"description": "It was\x1b[31m cold.", "parameters": [], "state": "refused", "refusal": "[red]no"}

    @app.patch("/api/v1/uploads/{name}/dataset", status_code=202)
    def describe(name: str, asked: DatasetText):
        return {"description": "", "state": "waiting", **asked.model_dump(mode="json", exclude_unset=True)}

    @app.get("/api/v1/stations")
    def stations():
        return {"items": gateway.stations}

    @app.post("/api/v1/uploads", status_code=201)
    def create(asked: UploadBody):
        return gateway.uploads["u-0001"]

    @app.post("/api/v1/uploads/preview")
    def preview(asked: UploadBody):
        return gateway.preview

    @app.get("/api/v1/uploads")
    def uploads():
        return {"items": list(gateway.uploads.values()), "next": None}

    @app.get("/api/v1/uploads/{name}")
    def one(name: str):
        return gateway.uploads.get(name) or _problem(404, "not-found", f"there is no upload {name}")

    @app.get("/api/v1/uploads/{name}/files")
    def files(name: str, state: str = "", after: int = 0, limit: int = 500):
        chosen = [file for file in gateway.files if state in ("", file["state"])]
        page = chosen[after : after + min(limit, 2)]
        more = after + len(page) < len(chosen)
        return {"items": page, "next": str(after + len(page)) if more else None}

    @app.get("/api/v1/uploads/{name}/timing")
    def timing(name: str):
        return gateway.timing or _problem(404, "not-found", "there is no such address")

    @app.post("/api/v1/uploads/{name}/audits", status_code=202)
    def compare(name: str, asked: AuditBody):
        return {"audit": "audit-0001"}

    @app.get("/api/v1/uploads/{name}/audits")
    def audits(name: str):
        return {"items": gateway.audits, "asked": None}

    @app.post("/api/v1/uploads/{name}/{action}", status_code=202)
    def control(name: str, action: Action, asked: SteeringBody | None = None):
        return gateway.uploads[name]

    @app.get("/api/v1/uploads/{name}/events")
    def one_upload(name: str, request: Request):
        return events(request)

    @app.get("/api/v1/events")
    def events(request: Request):
        last = request.headers.get("Last-Event-ID")
        gateway.connections.append(last)
        return StreamingResponse(_events(gateway, int(last or 0)), media_type="text/event-stream")

    return app


async def _events(gateway: StandIn, position: int) -> AsyncIterator[str]:
    yield ": good day\n\n"
    while True:
        while position < len(gateway.events):
            kind, data = gateway.events[position]
            position += 1
            yield f"id: {position}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
            if kind == "end":
                return
        await asyncio.sleep(0.01)


@dataclass
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def served():
    """Serve a stand-in gateway on a free port."""
    gateway = StandIn()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(served):
    """Give a test the stand-in as if it were new."""
    served.reset()
    return served


@pytest.fixture
def surroundings(gateway, tmp_path, monkeypatch):
    """Set the environment of the command line: this gateway, an empty folder for its own files."""
    for name in [name for name in os.environ if name.startswith("DATAUPLOADER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAUPLOADER_GATEWAY", gateway.url)
    monkeypatch.setenv("DATAUPLOADER_CLIENT_DIR", str(tmp_path / "client"))
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ADAPTER", "memory")
    monkeypatch.setenv("DATAUPLOADER_STATE_DIR", str(tmp_path / "state"))
    return monkeypatch


@pytest.fixture
def run(surroundings, capsys, monkeypatch):
    """Run one command in this process, signed in or not, with something on standard input."""

    def run(*arguments: str, signed_in: bool = True, stdin: str = "") -> Ran:
        if signed_in:
            monkeypatch.setenv("DATAUPLOADER_TOKEN", TOKEN)
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()  # what the test itself has logged
        code = main(arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run
