"""The pages of the first start: questions, a trial of the answers, and the way on to the services."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import tomli_w
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader.runtime.service import Check
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.desktop.answers import WrongAnswers
from datauploader_gateway.desktop.configuration import (
    CATALOGUES,
    KINDS,
    SCICAT_SIGN_IN,
    configuration,
    defaults,
    examples,
)
from datauploader_gateway.desktop.one_time_login import OneTimeLogin
from datauploader_gateway.desktop.place import DesktopFolder
from datauploader_gateway.errors import AlreadySetUp, LinkUsed, NotAllowed
from datauploader_gateway.http import problems, rendering
from datauploader_gateway.http.middleware import RequestMiddleware
from datauploader_gateway.http.server import WebServer

COOKIE = "datauploader-setup"
DOOR = "/setup/open"
STOP_S = 2.0
TRIAL_S = 90.0
"""How long the trial of the answers may take."""
_TOLD = ("catalogue", "remote ", "upload folder ", "rclone")
"""What the doctor says of these is shown even where it is well."""
_STATIC = Path(rendering.__file__).parent / "static"


class Setup:
    """What the pages and the process that waits for the answers tell each other."""

    def __init__(self, place: DesktopFolder, secret: str) -> None:
        self.place = place
        self.login = OneTimeLogin(secret)
        self.saved = threading.Event()
        """A configuration was written: the services can be started."""
        self.shown = threading.Event()
        """The browser was told where to go on."""
        self.onward = ""
        """Where to go on; "" until the services run."""
        self.trouble = ""
        """Why they could not be started with the answers."""
        self.own_origins: frozenset[str] = frozenset()
        self.deciding = asyncio.Lock()
        """Held while answers are tried or kept, because a trial removes what it has made."""
        self.answers = defaults()
        """What the questions show."""

    def failed(self, trouble: str) -> None:
        """Ask again: the services could not be started."""
        self.place.remove_config()
        self.trouble = trouble
        self.saved.clear()


async def _setup_of(request: Request) -> Setup:
    """Find what the pages share, for those who may see them.

    Raises:
        NotAllowed: they did not come through the link, or by another address than this machine's own.
    """
    setup = request.app.state.setup
    assert isinstance(setup, Setup)
    if f"http://{request.headers.get('host', '')}" not in setup.own_origins:
        raise NotAllowed("this page is available only at its own address")
    if request.url.path != DOOR and not setup.login.admits(request.cookies.get(COOKIE, "")):
        raise NotAllowed("this page needs the link that DataUploader showed when it was started", hint=LinkUsed.hint)
    check_origin(request.method, request.headers, setup.own_origins, proven=True)
    return setup


UseSetup = Annotated[Setup, Depends(_setup_of)]
router = APIRouter(include_in_schema=False)


@router.get(DOOR)
async def enter(setup: UseSetup, token: str = "") -> Response:
    """Take the link's token, once, and give a cookie for it."""
    cookie = setup.login.enter(token)
    if cookie is None:
        raise LinkUsed("this link was already used, or is from an earlier start")
    answer = RedirectResponse("/setup", 303)
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/setup")
    return answer


@router.get("/setup")
async def ask(request: Request, setup: UseSetup) -> Response:
    """Show the questions."""
    if setup.saved.is_set():
        return RedirectResponse("/setup/starting", 303)
    return _questions(request, setup, setup.answers)


@router.post("/setup/try")
async def try_answers(request: Request, setup: UseSetup) -> Response:
    """Look whether the catalogue, the storage and the folders can be used as they were answered."""
    form = await _form(request)
    try:
        async with setup.deciding:
            checks = await asyncio.to_thread(_try_out, form, setup.place)
    except WrongAnswers as wrong:
        return _questions(request, setup, form, problems=wrong.problems)
    return _questions(request, setup, form, checks=checks)


@router.post("/setup")
async def keep(request: Request, setup: UseSetup) -> Response:
    """Keep the answers, once, and start."""
    form = await _form(request)
    async with setup.deciding:
        if setup.place.configured:
            raise AlreadySetUp(f"{setup.place.config} already exists, so the setup is done")
        try:
            chosen = configuration(form, setup.place)
            chosen.make_mark()
        except WrongAnswers as wrong:
            return _questions(request, setup, form, problems=wrong.problems)
        setup.place.write_config(tomli_w.dumps(chosen.document), chosen.accounts)
        setup.answers, setup.trouble = form, ""
        setup.saved.set()
    return RedirectResponse("/setup/starting", 303)


@router.get("/setup/starting")
async def starting(request: Request, setup: UseSetup) -> Response:
    """Wait with the browser until the services run, and send it there."""
    if setup.trouble:
        return RedirectResponse("/setup", 303)
    if setup.onward:
        setup.shown.set()
    return rendering.templates.TemplateResponse(request, "setup-starting.html", {"onward": setup.onward})


async def _form(request: Request) -> dict[str, str]:
    async with request.form(max_files=0, max_fields=100) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


def _questions(
    request: Request, setup: Setup, form: Mapping[str, str], *,
    problems: Mapping[str, str] | None = None, checks: list[Check] | None = None,
) -> Response:  # fmt: skip
    context = {
        "answers": form, "problems": problems or {}, "checks": checks, "trouble": setup.trouble,
        "catalogues": CATALOGUES, "scicat_sign_in": SCICAT_SIGN_IN, "kinds": KINDS,
        "folder": str(setup.place.folder), "examples": examples(),
    }  # fmt: skip
    return rendering.templates.TemplateResponse(request, "setup.html", context, 422 if problems else 200)


def _try_out(form: Mapping[str, str], place: DesktopFolder) -> list[Check]:
    """Run `datauploader doctor` on a configuration that is not kept; return what it says, what is wrong first.

    A process of its own: what is tried stays out of this one's settings, and the secrets out of every argument.

    Raises:
        WrongAnswers: some answers cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="trial-", dir=place.folder) as name:
        trial = DesktopFolder(Path(name))
        chosen = configuration(form, trial)
        trial.write_config(tomli_w.dumps(chosen.document | {"state_dir": name, "broker": "memory://"}), chosen.accounts)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DATAUPLOADER_")}
        environment = kept | {CONFIG_VARIABLE: str(trial.config), "DATAUPLOADER_CLIENT_DIR": name}
        chosen.make_mark()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "datauploader", "doctor", "--json"],
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [Check("trial", ok=False, detail=f"no answer within {TRIAL_S:.0f} s")]
        finally:
            if chosen.mark:
                chosen.mark.unlink(missing_ok=True)
    try:
        checks = [Check(each["name"], each["ok"], each["detail"]) for each in json.loads(done.stdout)["checks"]]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode(errors="replace")[-300:].strip()
        return [Check("trial", ok=False, detail=said or "it gave no message")]
    told = [check for check in checks if not check.ok or check.name.startswith(_TOLD)]
    return sorted(told, key=lambda check: check.ok)


class SetupServer:
    """Serves the questions on this machine's own address until the block ends."""

    def __init__(self, place: DesktopFolder, secret: str) -> None:
        """Take a free port.

        Raises:
            ConfigurationError: there is none.
        """
        self.setup = Setup(place, secret)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.state.setup = self.setup
        app.include_router(router)
        app.mount("/static", StaticFiles(directory=_STATIC), name="static")
        problems.install(app)
        app.add_middleware(RequestMiddleware, secure=False)
        self._web = WebServer(app, "127.0.0.1", 0, trusted_proxies=())
        self.setup.own_origins = frozenset(f"http://{host}:{self._web.port}" for host in ("127.0.0.1", "localhost"))

    @property
    def door(self) -> str:
        """The address that links begin with."""
        return f"{self._web.url}{DOOR}"

    def __enter__(self) -> Self:
        self._web.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._web.stop(STOP_S)
