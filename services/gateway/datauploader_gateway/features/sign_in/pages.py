"""The sign-in page, the way to the identity provider and back, signing out, and the page that makes tokens."""

import re
from typing import Annotated

import structlog
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import TypeAdapter, ValidationError
from redis.exceptions import RedisError
from starlette.responses import Response

from datauploader_gateway import metrics
from datauploader_gateway.auth.oidc import pending_logins
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.errors import InvalidRequest, Problem, ProblemResponse, SessionsAway
from datauploader_gateway.features.sign_in.oidc import OidcSignIn
from datauploader_gateway.features.sign_in.service import LONGEST_SESSION, Credentials, SignInService
from datauploader_gateway.http import rendering
from datauploader_gateway.http.dependencies import (
    Site,
    UseAuthentication,
    UseSite,
    address_of,
    check_visit,
    cookie_of,
    give_cookie,
    optional_visitor,
    take_cookie,
    use,
)
from datauploader_gateway.http.rendering import page
from datauploader_gateway.http.trace import trace_id
from datauploader_gateway.http.visitor import Visitor

log = structlog.get_logger()


router = APIRouter(include_in_schema=False)
provider = APIRouter(prefix="/oidc", include_in_schema=False)
"""On the way to the identity provider and back: below the API, because providers know these addresses."""

_PAGE = re.compile(r"/(?![/\\])[\w/.?=&#%+:@-]{0,500}", re.ASCII)
_GOAL = re.compile(r"/(?![/\\])[\w/.?=&#%+-]{0,500}", re.ASCII)
_CREDENTIALS: TypeAdapter[Credentials] = TypeAdapter(Credentials)
Given = Annotated[str, Form(max_length=LONGEST_SESSION)]
Said = Annotated[str, Query(max_length=4096)]
UseSignIn = Annotated[SignInService, use(SignInService)]
UseOidc = Annotated[OidcSignIn, use(OidcSignIn)]


@router.get("/sign-in")
async def sign_in_page(
    request: Request,
    site: UseSite,
    authentication: UseAuthentication,
    service: UseSignIn,
    goal: Annotated[str, Query(alias="next", max_length=600)] = "/",
) -> Response:
    """Show the ways to sign in; who is signed in already goes on."""
    if await optional_visitor(request, site, authentication) is not None:
        return RedirectResponse(_own(goal), 303)
    return page(request, "sign-in.html", goal=_own(goal), catalogue=await service.catalogue())


@router.post("/sign-in")
async def sign_in(
    request: Request,
    site: UseSite,
    service: UseSignIn,
    method: Given,
    goal: Annotated[str, Form(alias="next", max_length=600)] = "/",
    username: Given = "",
    password: Given = "",
    vuo_session: Given = "",
) -> Response:
    """Begin a session and go on, or show the form again and say why not."""
    check_origin("POST", request.headers, site.own_origins, proven=False)
    said = {"method": method, "username": username, "password": password, "vuo_session": vuo_session}
    try:
        try:
            credentials = _CREDENTIALS.validate_python({name: value for name, value in said.items() if value})
        except ValidationError:
            raise InvalidRequest("the form was not filled in", hint="Enter the name and the password.") from None
        secret, _ = await service.begin_session(credentials, address_of(request), cookie_of(request, site))
    except Problem as problem:
        patience = {"Retry-After": str(problem.retry_after_s)} if problem.retry_after_s is not None else {}
        return page(request, "sign-in.html", status=problem.status, headers=patience,
            problem=problem, goal=_own(goal), username=username, method=method, catalogue=await service.catalogue(),
        )  # fmt: skip
    response = RedirectResponse(_own(goal), 303)
    give_cookie(response, site, secret)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, who: Visitor, site: UseSite, oidc: UseOidc) -> Response:
    """End the session here, and at the identity provider, or the next person at this computer would be this one."""
    url = await oidc.end_session(who)
    return _onward(request, site, url or "/sign-in", "Signed out.")


@router.post("/switch-user")
async def switch_user(request: Request, who: Visitor, site: UseSite, oidc: UseOidc) -> Response:
    """End the session here alone and ask who comes now; uploads go on."""
    await oidc.end_session(who)
    again = "/api/v1/oidc/start?switch=true" if who.record.method == "oidc" else "/sign-in"
    return _onward(request, site, again, "Signed out.")


def _onward(request: Request, site: Site, url: str, said: str) -> Response:
    """Go on by a page that leads on: `form-action` of our policy ends at other sites, and so would a redirect."""
    response = page(request, "onward.html", url=url, said=said)
    take_cookie(response, site)
    return response


def _own(goal: str) -> str:
    return goal if _PAGE.fullmatch(goal) else "/"


@router.get("/token")
async def token_page(request: Request, who: Visitor) -> Response:
    """Show the form that makes a token; the token comes from the REST interface and is shown once."""
    return page(request, "token.html", who=who)


@provider.get("/start")
async def start(
    request: Request,
    site: UseSite,
    oidc: UseOidc,
    goal: Annotated[str, Query(alias="next")] = "/",
    switch: bool = False,
) -> Response:
    """Send the browser to the identity provider; `switch` has it ask for credentials whoever is signed in there."""
    try:
        check_visit(request, site)
        goal = goal if _GOAL.fullmatch(goal) else "/"
        state, browser, url = await oidc.begin(goal, address_of(request), switch=switch)
    except (Problem, RedisError) as error:
        return _failed(request, error)
    response = RedirectResponse(url, 303)
    response.set_cookie(
        _cookie(state, secure=site.secure), browser, httponly=True, samesite="lax", secure=site.secure, path="/",
        max_age=pending_logins.LIFE_S,
    )  # fmt: skip
    return response


@provider.get("/callback")
async def callback(
    request: Request,
    site: UseSite,
    oidc: UseOidc,
    state: Said = "",
    code: Said = "",
    error: Said = "",
    iss: Said = "",
) -> Response:
    """Take the identity provider's answer, begin a session, and go on where the sign-in began."""
    cookie = _cookie(state, secure=site.secure)
    try:
        attempt = await oidc.pending(state, request.cookies.get(cookie, ""))
        secret = await oidc.finish(
            attempt, code=code, error=error, issuer=iss, address=address_of(request), former=cookie_of(request, site)
        )
    except (Problem, RedisError) as problem:
        metrics.SIGN_INS.labels("oidc", "wrong").inc()
        return _failed(request, problem)
    response = RedirectResponse(attempt.goal, 303)
    give_cookie(response, site, secret)
    response.delete_cookie(cookie, path="/", secure=site.secure)
    metrics.SIGN_INS.labels("oidc", "right").inc()
    return response


def _cookie(state: str, *, secure: bool) -> str:
    """Name the cookie of one sign-in, so that two in two tabs do not disturb each other."""
    name = f"datauploader-sign-in-{re.sub(r'[^A-Za-z0-9]', '', state)[:8]}"
    return f"__Host-{name}" if secure else name


def _failed(request: Request, error: Problem | RedisError) -> Response:
    """Show what went wrong as a page: a person looks at this, no program."""
    if isinstance(error, RedisError):
        log.warning("redis_unavailable", problem=str(error))
        error = SessionsAway("Redis, which keeps sessions and status, does not answer")
    return rendering.problem(request, ProblemResponse.of(error), trace_id(request.scope))
