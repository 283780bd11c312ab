"""Signing in and out, and who one is."""

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, SecretStr

from datauploader_gateway import metrics
from datauploader_gateway.auth.audit_log import REFUSED
from datauploader_gateway.auth.dependency import SignedIn, address_of, end_former, give_cookie, take_cookie
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.auth.person import Method, User
from datauploader_gateway.auth.sessions import SessionRecord
from datauploader_gateway.errors import CatalogueAway, NotAllowed, TooManyAttempts, WrongCredentials
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented

router = APIRouter(tags=["session"])


class LocalCredentials(BaseModel):
    """Name and password of an account in the gateway's own file."""

    method: Literal["local"]
    username: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(max_length=1024)


class VuoCredentials(BaseModel):
    """The value of the `vuo_session` cookie."""

    method: Literal["vuo"]
    vuo_session: SecretStr = Field(min_length=1, max_length=1024)


Credentials = Annotated[LocalCredentials | VuoCredentials, Field(discriminator="method")]


class SessionBody(BaseModel):
    """Who signed in, and until when."""

    user: User
    expires: datetime


class MeBody(SessionBody):
    """Who is asking, by what, and how they signed in."""

    signed_in_by: Literal["session", "token", "access-token"]
    method: Method


class ProviderBody(BaseModel):
    """The identity provider, as people know it, and where signing in with it begins."""

    name: str
    start: str = "/api/v1/oidc/start"


class SignInBody(BaseModel):
    """The ways to sign in here."""

    local: bool
    vuo: bool
    oidc: ProviderBody | None


@router.get("/sign-in", summary="Ways to sign in")
async def ways(parts: UseParts) -> SignInBody:
    """Say how one can sign in here; anybody may ask."""
    provider = ProviderBody(name=parts.settings.oidc.name) if parts.provider else None
    return SignInBody(local=parts.accounts.any, vuo=parts.settings.vuo, oidc=provider)


async def sign_in(parts: Parts, credentials: LocalCredentials | VuoCredentials, address: str) -> User:
    """Find out whose credentials these are, within what the throttle allows.

    Raises:
        WrongCredentials: nobody's.
        TooManyAttempts: there were too many wrong ones.
        CatalogueAway: nobody can tell at the moment.
    """
    account = _account(credentials)
    attempt = await parts.throttle.admit_password(account, address)
    try:
        user = await _verify(parts, credentials)
    except WrongCredentials:
        metrics.SIGN_INS.labels(credentials.method, "wrong").inc()
        await parts.audit.record(REFUSED, who=account, address=address, method=credentials.method)
        raise
    except (CatalogueAway, TooManyAttempts):
        await parts.throttle.unjudged(attempt)
        raise
    await parts.throttle.succeeded(attempt)
    metrics.SIGN_INS.labels(credentials.method, "right").inc()
    return user


def _account(credentials: LocalCredentials | VuoCredentials) -> str:
    """Name what is being guessed; a VUO session guesses at no account in particular."""
    if isinstance(credentials, LocalCredentials):
        return f"local:{credentials.username}"
    return f"vuo:{hashlib.sha256(credentials.vuo_session.get_secret_value().encode()).hexdigest()[:16]}"


async def _verify(parts: Parts, credentials: LocalCredentials | VuoCredentials) -> User:
    if isinstance(credentials, LocalCredentials):
        password = credentials.password.get_secret_value()
        user = await parts.accounts.verify_in_thread(credentials.username, password)
        if user is None:
            raise WrongCredentials("the name or the password is wrong")
        return user
    if not parts.settings.vuo:
        raise NotAllowed("signing in with a VUO session is switched off here", hint="Use a local account.")
    identity = await parts.questions.who_is(credentials.vuo_session.get_secret_value())
    account = parts.accounts.by_id(identity.user_id)
    return account.user if account else User(id=identity.user_id, name=identity.name or identity.unix_user)


@router.post("/session", responses=documented(401, 403, 413, 422, 429, 503), summary="Sign in")
async def open_session(credentials: Credentials, request: Request, response: Response, parts: UseParts) -> SessionBody:
    """Check the credentials, begin a session and set its cookie."""
    check_origin(request.method, request.headers, parts.own_origins, proven=False)
    secret, record = await begin_session(parts, credentials, request)
    give_cookie(response, parts, secret)
    return SessionBody(user=record.user, expires=record.expires)


async def begin_session(
    parts: Parts, credentials: LocalCredentials | VuoCredentials, request: Request
) -> tuple[str, SessionRecord]:
    """Check credentials and begin a session in place of the browser's former one; return the secret that it keeps.

    Raises:
        Problem: as `sign_in`.
    """
    address = address_of(request)
    user = await sign_in(parts, credentials, address)
    await end_former(request, parts)
    secret, record = await parts.sessions.open(user, credentials.method)
    await parts.audit.record("signed in", who=user.id, address=address, method=credentials.method)
    return secret, record


@router.delete("/session", status_code=204, responses=documented(401, 403, 503), summary="Sign out")
async def close_session(who: SignedIn, response: Response, parts: UseParts) -> None:
    """End the session that the request carries, at once and everywhere."""
    await parts.sessions.end(who.secret)
    take_cookie(response, parts)
    await parts.audit.record("signed out", who=who.user.id, address=who.address)


@router.get("/me", responses=documented(401, 403, 503), summary="Who am I")
async def me(who: SignedIn) -> MeBody:
    """Say who is signed in."""
    return MeBody(user=who.user, expires=who.record.expires, signed_in_by=who.record.by, method=who.record.method)
