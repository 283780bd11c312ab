"""The sign-in page, signing out, and changing places at a shared computer."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from datauploader_gateway.auth.dependency import give_cookie, optional_visitor, take_cookie
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.errors import InvalidRequest, Problem
from datauploader_gateway.features.sign_in.api import Credentials, begin_session
from datauploader_gateway.features.sign_in.oidc import end_session
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.rendering import page
from datauploader_gateway.http.visitor import Visitor

router = APIRouter(include_in_schema=False)

_PAGE = re.compile(r"/(?![/\\])[\w/.?=&#%+:@-]{0,500}", re.ASCII)
_CREDENTIALS: TypeAdapter[Credentials] = TypeAdapter(Credentials)
Given = Annotated[str, Form(max_length=1024)]


@router.get("/sign-in")
async def sign_in_page(
    request: Request, parts: UseParts, goal: Annotated[str, Query(alias="next", max_length=600)] = "/"
) -> Response:
    """Show the ways to sign in; who is signed in already goes on."""
    if await optional_visitor(request, parts) is not None:
        return RedirectResponse(_own(goal), 303)
    return page(request, parts, "sign-in.html", goal=_own(goal))


@router.post("/sign-in")
async def sign_in(
    request: Request,
    parts: UseParts,
    method: Given,
    goal: Annotated[str, Form(alias="next", max_length=600)] = "/",
    username: Given = "",
    password: Given = "",
    vuo_session: Given = "",
) -> Response:
    """Begin a session and go on, or show the form again and say why not."""
    check_origin("POST", request.headers, parts.own_origins, proven=False)
    said = {"method": method, "username": username, "password": password, "vuo_session": vuo_session}
    try:
        secret = await _begin(said, request, parts)
    except Problem as problem:
        return page(
            request, parts, "sign-in.html", status=problem.status, headers=_patience(problem),
            problem=problem, goal=_own(goal), username=username,
        )  # fmt: skip
    response = RedirectResponse(_own(goal), 303)
    give_cookie(response, parts, secret)
    return response


async def _begin(said: dict[str, str], request: Request, parts: Parts) -> str:
    try:
        credentials = _CREDENTIALS.validate_python({name: value for name, value in said.items() if value})
    except ValidationError:
        raise InvalidRequest("the form was not filled in", hint="Enter the name and the password.") from None
    secret, _ = await begin_session(parts, credentials, request)
    return secret


@router.post("/sign-out")
async def sign_out(request: Request, who: Visitor, parts: UseParts) -> Response:
    """End the session here, and at the identity provider, or the next person at this computer would be this one."""
    url = await end_session(parts, who)
    return _onward(request, parts, url or "/sign-in", "Signed out.")


@router.post("/switch-user")
async def switch_user(request: Request, who: Visitor, parts: UseParts) -> Response:
    """End the session here alone and ask who comes now; uploads go on."""
    await end_session(parts, who)
    again = "/api/v1/oidc/start?switch=true" if who.record.method == "oidc" else "/sign-in"
    return _onward(request, parts, again, "Signed out.")


def _onward(request: Request, parts: Parts, url: str, said: str) -> Response:
    """Go on by a page that leads on: `form-action` of our policy ends at other sites, and so would a redirect."""
    response = page(request, parts, "onward.html", url=url, said=said)
    take_cookie(response, parts)
    return response


def _own(goal: str) -> str:
    return goal if _PAGE.fullmatch(goal) else "/"


def _patience(problem: Problem) -> dict[str, str]:
    return {"Retry-After": str(problem.retry_after_s)} if problem.retry_after_s is not None else {}
