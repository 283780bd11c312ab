"""Bearer tokens for the command line and for scripts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, SecretStr, model_validator

from datauploader_gateway.auth.dependency import SignedIn, address_of, caller
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.auth.person import Method, User
from datauploader_gateway.auth.sessions import SessionRecord
from datauploader_gateway.errors import NotAllowed, NotFound, TooManyTokens
from datauploader_gateway.features.sign_in.api import LocalCredentials, VuoCredentials, sign_in
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented

router = APIRouter(prefix="/tokens", tags=["tokens"])

LONGEST_DAYS = 365
MOST_TOKENS = 50
"""Tokens that one person may have."""


class TokenRequest(BaseModel):
    """What the token is called and how long it is good; with credentials, unless one is signed in already."""

    name: str = Field(default="command line", min_length=1, max_length=100)
    days: int = Field(default=30, ge=1, le=LONGEST_DAYS)
    method: Literal["local", "vuo"] | None = None
    username: str | None = Field(default=None, min_length=1, max_length=200)
    password: SecretStr | None = Field(default=None, max_length=1024)
    vuo_session: SecretStr | None = Field(default=None, min_length=1, max_length=1024)

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> "TokenRequest":
        if self.method == "local" and (self.username is None or self.password is None):
            raise ValueError("method local needs username and password")
        if self.method == "vuo" and self.vuo_session is None:
            raise ValueError("method vuo needs vuo_session")
        return self

    @property
    def credentials(self) -> LocalCredentials | VuoCredentials | None:
        """The credentials, if there are any."""
        if self.method == "local" and self.username is not None and self.password is not None:
            return LocalCredentials(method="local", username=self.username, password=self.password)
        if self.method == "vuo" and self.vuo_session is not None:
            return VuoCredentials(method="vuo", vuo_session=self.vuo_session)
        return None


class TokenBody(BaseModel):
    """What may be shown of a token at any time."""

    id: str
    name: str
    created: datetime
    expires: datetime
    last_used: datetime | None = None


class NewToken(TokenBody):
    """A token as it is told once."""

    token: str
    user: User


class Tokens(BaseModel):
    """Somebody's tokens."""

    items: list[TokenBody]


@dataclass(frozen=True, slots=True)
class _Owner:
    user: User
    method: Method
    address: str
    claims: dict[str, tuple[str, ...]] = field(default_factory=dict)


async def _whose(asked: TokenRequest, request: Request, parts: Parts) -> _Owner:
    credentials = asked.credentials
    if credentials is not None:
        check_origin(request.method, request.headers, parts.own_origins, proven=False)
        address = address_of(request)
        return _Owner(await sign_in(parts, credentials, address), credentials.method, address)
    who = await caller(request, parts)
    if who.record.by != "session":  # a stolen token must not beget others that outlive it
        raise NotAllowed("a token cannot make tokens", hint="Sign in on the gateway's page, or send the credentials.")
    return _Owner(who.user, who.record.method, who.address, who.record.claims)


def _longest_days(method: Method, parts: Parts) -> int:
    """Say how long a token may outlive what somebody signed in with, of which we hear nothing when it ends."""
    foreign = {"oidc": parts.settings.oidc.token_days, "vuo": parts.settings.vuo_token_days}
    return foreign.get(method, LONGEST_DAYS)


@router.post("", status_code=201, responses=documented(401, 403, 409, 413, 422, 429, 503), summary="Make a token")
async def make_token(asked: TokenRequest, request: Request, parts: UseParts) -> NewToken:
    """Make a bearer token for the one who has a session, or whose credentials come along."""
    owner = await _whose(asked, request, parts)
    if len(await parts.sessions.tokens(owner.user)) >= MOST_TOKENS:
        raise TooManyTokens(f"you have {MOST_TOKENS} tokens already")
    days = min(asked.days, _longest_days(owner.method, parts))
    secret, record = await parts.sessions.issue(owner.user, owner.method, asked.name, days, owner.claims)
    await parts.audit.record(
        "token made", who=owner.user.id, address=owner.address, token_id=record.id, name=asked.name
    )
    return NewToken(**_shown(record).model_dump(), token=secret, user=owner.user)


@router.get("", responses=documented(401, 403, 503), summary="List my tokens")
async def list_tokens(who: SignedIn, parts: UseParts) -> Tokens:
    """List the tokens that are still good; the secrets themselves are not known any more."""
    return Tokens(items=[_shown(record) for record in await parts.sessions.tokens(who.user)])


@router.delete("/{token_id}", status_code=204, responses=documented(401, 403, 404, 503), summary="Revoke a token")
async def revoke_token(token_id: str, who: SignedIn, parts: UseParts) -> None:
    """Revoke one of my tokens at once; `current` is the one that the request carries."""
    wanted = who.record.id if token_id == "current" else token_id  # noqa: S105 - a word of the address
    if not wanted or not await parts.sessions.revoke(who.user, wanted):
        raise NotFound(f"you have no token {token_id}", hint="GET /api/v1/tokens lists yours.")
    await parts.audit.record("token revoked", who=who.user.id, address=who.address, token_id=wanted)


def _shown(record: SessionRecord) -> TokenBody:
    return TokenBody(
        id=record.id, name=record.name, created=record.created, expires=record.expires, last_used=record.last_used
    )
