"""The desktop's own page: where its files are, and the button that ends it; there only while it is one."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.desktop.one_time_login import DesktopAccess
from datauploader_gateway.errors import LinkUsed, NotAllowed, NotFound
from datauploader_gateway.http.dependencies import Site, UseSite, address_of, provided, use
from datauploader_gateway.http.rendering import templates

router = APIRouter(include_in_schema=False)

DOOR = "/desktop/open"
COOKIE = "datauploader-desktop"


async def door_of(request: Request) -> DesktopAccess:
    """Find the door.

    Raises:
        NotFound: this gateway serves a facility.
    """
    if DesktopAccess not in request.app.state.provided:
        raise NotFound("this page exists only in the desktop program")
    return provided(request, DesktopAccess)


UseDoor = Annotated[DesktopAccess, Depends(door_of)]


def _must_be_at_home(request: Request, site: Site, door: DesktopAccess) -> None:
    """Refuse whoever did not come through a link of this desktop's.

    Raises:
        NotAllowed: they have no cookie of this run.
    """
    check_origin(request.method, request.headers, site.own_origins, proven=True)
    if not door.login.admits(request.cookies.get(COOKIE, "")):
        raise NotAllowed("this page is for the person who started DataUploader on this computer", hint=LinkUsed.hint)


def _show(folder: Path) -> None:
    if sys.platform == "win32":
        os.startfile(folder)  # noqa: S606 - our own folder
        return
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    with suppress(OSError, subprocess.TimeoutExpired):  # a computer without a file manager
        subprocess.run([opener, folder], check=False, timeout=10)  # noqa: S603 - our own folder


@router.get(DOOR)
async def enter(request: Request, door: UseDoor, token: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Take the link's token, once, and give a cookie for it."""
    cookie = door.login.enter(token)
    if cookie is None:
        raise LinkUsed("this link was already used, or is from an earlier start")
    # a page of our own goes on: what follows is of this site then, not of the one that the link stood on
    answer = templates.TemplateResponse(request, "desktop-open.html")
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/desktop")
    return answer


@router.get("/desktop")
async def show(request: Request, site: UseSite, door: UseDoor) -> Response:
    """Say where the files are, and offer to end."""
    _must_be_at_home(request, site, door)
    return templates.TemplateResponse(request, "desktop.html", {"folder": door.folder, "ended": False})


@router.post("/desktop/folder")
async def open_folder(request: Request, site: UseSite, door: UseDoor) -> Response:
    """Show the folder in the system's own file manager."""
    _must_be_at_home(request, site, door)
    await run_in_threadpool(_show, door.folder)
    return RedirectResponse("/desktop", status_code=303)


@router.post("/desktop/quit")
async def leave(request: Request, site: UseSite, door: UseDoor, audit: Annotated[AuditLog, use(AuditLog)]) -> Response:
    """End the process; what is not uploaded yet goes on at the next start."""
    _must_be_at_home(request, site, door)
    await audit.record("desktop quit", who="the person who started it", address=address_of(request))
    door.end()
    return templates.TemplateResponse(request, "desktop.html", {"folder": door.folder, "ended": True})
