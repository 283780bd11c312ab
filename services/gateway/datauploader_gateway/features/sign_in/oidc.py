"""Signing in with the facility's identity provider: there and back again, which are pages for people, and out."""

import re
from typing import Annotated, NoReturn

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from redis.exceptions import RedisError
from starlette.responses import Response

from datauploader_gateway import metrics
from datauploader_gateway.auth.audit_log import REFUSED
from datauploader_gateway.auth.dependency import (
    Caller,
    SignedIn,
    address_of,
    check_visit,
    end_former,
    give_cookie,
    take_cookie,
)
from datauploader_gateway.auth.oidc import pending_logins, roles
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.auth.person import User
from datauploader_gateway.errors import NotAllowed, NotFound, Problem, ProblemResponse, SessionsAway, SignInFailed
from datauploader_gateway.http import rendering
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import trace_id

log = structlog.get_logger()

router = APIRouter(prefix="/oidc", tags=["session"])

_PAGE = re.compile(r"/(?![/\\])[\w/.?=&#%+-]{0,500}", re.ASCII)
_ERROR = re.compile(r"[a-z_]{1,60}")
Given = Annotated[str, Query(max_length=4096)]


class SignOutBody(BaseModel):
    """Where the browser ends its session at the provider; empty: there is nothing to end."""

    url: str


@router.get("/start", include_in_schema=False)
async def start(
    request: Request, parts: UseParts, goal: Annotated[str, Query(alias="next")] = "/", switch: bool = False
) -> Response:
    """Send the browser to the identity provider; `switch` has it ask for credentials whoever is signed in there."""
    try:
        check_visit(request, parts)
        return await _send(request, parts, goal if _PAGE.fullmatch(goal) else "/", switch=switch)
    except (Problem, RedisError) as error:
        return _failed(request, error)


async def _send(request: Request, parts: Parts, goal: str, *, switch: bool) -> Response:
    provider = _provider(parts)
    await parts.throttle.admit_sign_in(address_of(request))
    state, browser, attempt = await parts.attempts.begin_login(goal)
    response = RedirectResponse(await provider.sign_in_url(state, attempt, anew=switch), 303)
    secure = parts.settings.secure
    response.set_cookie(
        _cookie(state, secure=secure), browser, httponly=True, samesite="lax", secure=secure, path="/",
        max_age=pending_logins.LIFE_S,
    )  # fmt: skip
    return response


@router.get("/callback", include_in_schema=False)
async def callback(
    request: Request, parts: UseParts, state: Given = "", code: Given = "", error: Given = "", iss: Given = ""
) -> Response:
    """Take the identity provider's answer, begin a session, and go on where the sign-in began."""
    cookie = _cookie(state, secure=parts.settings.secure)
    try:
        attempt = await parts.attempts.pop_login(state, request.cookies.get(cookie, ""))
        response = await _finish(request, parts, attempt, code=code, error=error, issuer=iss)
    except (Problem, RedisError) as problem:
        metrics.SIGN_INS.labels("oidc", "wrong").inc()
        return _failed(request, problem)
    response.delete_cookie(cookie, path="/", secure=parts.settings.secure)
    metrics.SIGN_INS.labels("oidc", "right").inc()
    return response


async def _finish(
    request: Request, parts: Parts, attempt: pending_logins.PendingLogin, *, code: str, error: str, issuer: str
) -> Response:
    """Begin a session, or put on record why not; strangers' inventions do not come so far, or they filled the book."""
    try:
        if error or not code:
            _decline(error)
        claims, id_token = await _provider(parts).redeem(code, attempt, issuer)
        return await _begin_session(request, parts, attempt.goal, claims, id_token)
    except Problem as problem:
        address = address_of(request)
        await parts.audit.record(REFUSED, who="", address=address, method="oidc", why=problem.word)
        raise


async def _begin_session(
    request: Request, parts: Parts, goal: str, claims: dict[str, object], id_token: str
) -> Response:
    kept = roles.kept_claims(claims, parts.settings.roles)
    user = _welcome(roles.identify(claims, parts.settings.oidc), kept, parts)
    await end_former(request, parts)
    secret, _ = await parts.sessions.open(user, "oidc", kept, id_token)
    vouched = roles.vouches(claims, parts.settings.oidc)
    if claims.get("email") and not vouched:
        log.warning("mail_address_not_verified", user=user.id, hint="gateway.oidc.trusted_email takes it as it is")
    if missing := kept.get(roles.LEFT_OUT):
        log.warning("claims_missing", user=user.id, claims=missing, hint="see docs/deployment.md")
    await parts.post.addresses.learn(user.id, claims, vouched=vouched)
    await parts.audit.record("signed in", who=user.id, address=address_of(request), method="oidc")
    response = RedirectResponse(goal, 303)
    give_cookie(response, parts, secret)
    return response


def _welcome(user: User, kept: roles.Kept, parts: Parts) -> User:
    account = parts.accounts.by_id(user.id)
    welcome = account.user if account else roles.with_role(user, kept, parts.settings.roles, parts.settings.oidc)
    if welcome is None and (missing := kept.get(roles.LEFT_OUT)):
        raise NotAllowed(
            f"the identity provider did not send your {' and '.join(missing)}, because there are too many, so nobody "
            "knows here whether you may use this gateway",
            hint="Tell an operator: the provider can send only the groups that belong to this application.",
        )
    if welcome is None:
        raise NotAllowed(
            "your account is known, but none of your groups may use this gateway",
            hint="Ask the user office or an operator for access.",
        )
    return welcome


@router.post("/sign-out", responses=documented(401, 403, 503), summary="Sign out, at the provider too")
async def sign_out(who: SignedIn, response: Response, parts: UseParts) -> SignOutBody:
    """End the session here at once, and say where the browser ends the one at the identity provider."""
    url = await end_session(parts, who)
    take_cookie(response, parts)
    return SignOutBody(url=url)


async def end_session(parts: Parts, who: Caller) -> str:
    """End a session at once; return where the browser ends the one at the identity provider, "" for nowhere."""
    await parts.sessions.end(who.secret)
    await parts.audit.record("signed out", who=who.user.id, address=who.address)
    ends_there = parts.provider is not None and who.record.method == "oidc" and who.record.by == "session"
    return await _provider(parts).sign_out_url(who.record.id_token) if ends_there else ""


def _provider(parts: Parts) -> Provider:
    if parts.provider is None:
        raise NotFound("no identity provider is configured here", hint="Sign in in another way; see /api/v1/sign-in.")
    return parts.provider


def _cookie(state: str, *, secure: bool) -> str:
    """Name the cookie of one sign-in, so that two in two tabs do not disturb each other."""
    name = f"datauploader-sign-in-{re.sub(r'[^A-Za-z0-9]', '', state)[:8]}"
    return f"__Host-{name}" if secure else name


def _decline(error: str) -> NoReturn:
    word = error if _ERROR.fullmatch(error) else "without a reason"
    raise SignInFailed(f"the identity provider did not sign you in ({word})", hint="Try again, or use another account.")


def _failed(request: Request, error: Problem | RedisError) -> Response:
    """Show what went wrong as a page: a person looks at this, no program."""
    if isinstance(error, RedisError):
        log.warning("redis_unavailable", problem=str(error))
        error = SessionsAway("Redis, which keeps sessions and status, does not answer")
    return rendering.problem(request, ProblemResponse.of(error), trace_id(request.scope))
