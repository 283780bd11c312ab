"""What a route needs to know about its caller: signed in or not, as whom, and which upload they may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Path, Request, Response

from datauploader_gateway.auth.oidc import roles
from datauploader_gateway.auth.oidc.provider import time_of
from datauploader_gateway.auth.origin import check_origin, is_visit
from datauploader_gateway.auth.person import User
from datauploader_gateway.auth.sessions import TOKEN_PREFIX, SessionRecord
from datauploader_gateway.errors import NotFound, NotSignedIn, Problem
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.projection.summary import Upload


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, by what, and from where."""

    user: User
    record: SessionRecord
    secret: str
    address: str


async def still_signed_in(parts: Parts, callers: Sequence[Caller]) -> list[bool]:
    """Tell whose session or token is still good, and its person still who they were, without prolonging it."""
    standing = await parts.sessions.standing([(who.secret, who.record) for who in callers])
    return [stands and as_now(parts, who.record) == who.user for stands, who in zip(standing, callers, strict=True)]


def cookie_name(*, secure: bool) -> str:
    """Name the session cookie; the prefix makes browsers keep it to this host and to https."""
    return "__Host-datauploader" if secure else "datauploader"


def give_cookie(response: Response, parts: Parts, secret: str) -> None:
    """Let the browser keep its session's secret until it is closed: the next person at the computer is another one."""
    secure = parts.settings.secure
    response.set_cookie(
        cookie_name(secure=secure), secret, httponly=True, samesite="lax", secure=secure, path="/"
    )  # fmt: skip


def take_cookie(response: Response, parts: Parts) -> None:
    """Let the browser forget its session's secret."""
    response.delete_cookie(cookie_name(secure=parts.settings.secure), path="/", secure=parts.settings.secure)


def address_of(request: Request) -> str:
    """Return where the request comes from; a trusted proxy's word was already taken."""
    return request.client.host if request.client else "unknown"


def secret_of(request: Request, parts: Parts) -> tuple[str, bool]:
    """Return what the request proves itself with, and whether that is a cookie."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip(), False
    return request.cookies.get(cookie_name(secure=parts.settings.secure), ""), True


async def caller(request: Request, parts: UseParts) -> Caller:
    """Find out who is asking.

    Raises:
        NotSignedIn: nobody that we know.
        ForeignOrigin: another site's page.
    """
    found = await optional_caller(request, parts)
    if found is None:
        raise NotSignedIn("you need a session or a token that is still valid")
    return found


async def optional_caller(request: Request, parts: UseParts) -> Caller | None:
    """Find out who is asking, None for nobody.

    Raises:
        ForeignOrigin: another site's page.
    """
    secret, is_cookie = secret_of(request, parts)
    check_origin(request.method, request.headers, parts.own_origins, proven=is_cookie and bool(secret))
    return await _known(secret, parts, address_of(request), is_cookie=is_cookie)


async def optional_visitor(request: Request, parts: UseParts) -> Caller | None:
    """Find out who comes to a page, None for nobody; a link may lead here from anywhere.

    Raises:
        ForeignOrigin: another site's page asks, and no person.
    """
    if not is_visit(request.method, request.headers):
        return await optional_caller(request, parts)
    secret, is_cookie = secret_of(request, parts)
    return await _known(secret, parts, address_of(request), is_cookie=is_cookie)


def check_visit(request: Request, parts: Parts) -> None:
    """See that a person comes to a page, by whatever link, and not what another site's page loads.

    Raises:
        ForeignOrigin: another site's page asks, and no person.
    """
    if not is_visit(request.method, request.headers):
        check_origin(request.method, request.headers, parts.own_origins, proven=False)


async def end_former(request: Request, parts: Parts) -> None:
    """End the session that the browser had: who signs in anew leaves none behind."""
    if former := request.cookies.get(cookie_name(secure=parts.settings.secure)):
        await parts.sessions.end(former)


async def _known(secret: str, parts: Parts, address: str, *, is_cookie: bool) -> Caller | None:
    record = await _record(secret, parts, is_cookie=is_cookie) if secret else None
    if record is None or is_cookie != (record.by == "session"):
        return None
    user = as_now(parts, record)
    return Caller(user, record, secret, address) if user else None


async def _record(secret: str, parts: Parts, *, is_cookie: bool) -> SessionRecord | None:
    if is_cookie or secret.startswith(TOKEN_PREFIX) or parts.provider is None:
        return await parts.sessions.authenticate(secret)
    record = await _of_access_token(secret, parts)
    return None if record is None or await parts.sessions.signed_out(record) else record


async def _of_access_token(secret: str, parts: Parts) -> SessionRecord | None:
    """Take the identity provider's word for who brings one of its access tokens."""
    assert parts.provider is not None
    found = await parts.provider.check_access_token(secret)
    if found is None:
        return None
    try:
        user = roles.identify(found.claims, parts.provider.settings)
    except Problem:
        return None
    latest = datetime.now(UTC) + timedelta(seconds=parts.settings.session_longest_s)
    return SessionRecord(
        user=user, by="access-token", method="oidc", claims=roles.kept_claims(found.claims, parts.settings.roles),
        created=time_of(found.claims, "iat", latest), expires=time_of(found.claims, "exp", latest),
    )  # fmt: skip


def as_now(parts: Parts, record: SessionRecord) -> User | None:
    """Give the person the role that they have now; a local account that was removed is nobody."""
    account = parts.accounts.by_id(record.user.id)
    if account is not None:
        return account.user
    if record.method == "local":
        return None
    if record.method == "oidc":
        return roles.with_role(record.user, record.claims, parts.settings.roles, parts.settings.oidc)
    return record.user.model_copy(update={"role": "user", "beamlines": ()})


SignedIn = Annotated[Caller, Depends(caller)]


async def upload_in_sight(
    upload_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$")], who: SignedIn, parts: UseParts
) -> Upload:
    """Find the upload that a route is about.

    Raises:
        NotFound: there is none, or it is none of the caller's business.
    """
    found = await parts.reader.upload(upload_id)
    if found is None or not who.user.may_see(found):
        raise NotFound(f"there is no upload {upload_id} of yours", hint="GET /api/v1/uploads lists yours.")
    return found


UploadInSight = Annotated[Upload, Depends(upload_in_sight)]
