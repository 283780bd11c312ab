"""Signing in and out, who one is, and tokens for the command line and for scripts, over REST."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field, SecretStr, model_validator

from datauploader.contracts.rest.session import (
    CatalogueBody,
    MeBody,
    NewToken,
    ProviderBody,
    SessionBody,
    SignInBody,
    TokenBody,
)
from datauploader_gateway.auth.origin import check_origin
from datauploader_gateway.auth.sessions import SessionRecord
from datauploader_gateway.features.sign_in.oidc import OidcSignIn
from datauploader_gateway.features.sign_in.service import (
    LONGEST_DAYS,
    LONGEST_SESSION,
    CatalogueCredentials,
    Credentials,
    LocalCredentials,
    SignInService,
    TokenOwner,
    VuoCredentials,
)
from datauploader_gateway.http.dependencies import (
    SignedIn,
    UseAuthentication,
    UseSite,
    address_of,
    caller,
    cookie_of,
    give_cookie,
    take_cookie,
    use,
)
from datauploader_gateway.http.problems import documented

router = APIRouter(tags=["session"])
provider = APIRouter(prefix="/oidc", tags=["session"])
tokens = APIRouter(prefix="/tokens", tags=["tokens"])
people = APIRouter(prefix="/people", tags=["people"])

UseSignIn = Annotated[SignInService, use(SignInService)]


class SignOutBody(BaseModel):
    """Where the browser ends its session at the provider; empty: there is nothing to end."""

    url: str


class TokenRequest(BaseModel):
    """What the token is called and how long it is good; with credentials, unless one is signed in already."""

    name: str = Field(default="command line", min_length=1, max_length=100)
    days: int = Field(default=30, ge=1, le=LONGEST_DAYS)
    method: Literal["local", "vuo", "catalogue"] | None = None
    username: str | None = Field(default=None, min_length=1, max_length=200)
    password: SecretStr | None = Field(default=None, max_length=1024)
    vuo_session: SecretStr | None = Field(default=None, min_length=1, max_length=LONGEST_SESSION)

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> "TokenRequest":
        if self.method in ("local", "catalogue") and (self.username is None or not self.password):
            raise ValueError(f"method {self.method} needs username and password")
        if self.method == "vuo" and self.vuo_session is None:
            raise ValueError("method vuo needs vuo_session")
        return self

    @property
    def credentials(self) -> Credentials | None:
        """The credentials, if there are any."""
        if self.username is not None and self.password is not None:
            if self.method == "local":
                return LocalCredentials(method="local", username=self.username, password=self.password)
            if self.method == "catalogue":
                return CatalogueCredentials(method="catalogue", username=self.username, password=self.password)
        if self.method == "vuo" and self.vuo_session is not None:
            return VuoCredentials(method="vuo", vuo_session=self.vuo_session)
        return None


class Tokens(BaseModel):
    """Somebody's tokens."""

    items: list[TokenBody]


@router.get("/sign-in", summary="Ways to sign in")
async def ways(authentication: UseAuthentication, sign_in: UseSignIn) -> SignInBody:
    """Say how one can sign in here; anybody may ask."""
    known, about = authentication.ways, await sign_in.catalogue()
    return SignInBody(
        local=known.local,
        vuo=known.vuo,
        oidc=ProviderBody(name=known.oidc) if known.oidc else None,
        catalogue=CatalogueBody(name=about.system, session=about.session, password=about.password) if about else None,
    )


@router.post("/session", responses=documented(401, 403, 413, 422, 429, 503), summary="Sign in")
async def open_session(
    credentials: Credentials, request: Request, response: Response, site: UseSite, sign_in: UseSignIn
) -> SessionBody:
    """Check the credentials, begin a session and set its cookie."""
    check_origin(request.method, request.headers, site.own_origins, proven=False)
    secret, record = await sign_in.begin_session(credentials, address_of(request), cookie_of(request, site))
    give_cookie(response, site, secret)
    return SessionBody(user=record.user, expires=record.expires)


@router.delete("/session", status_code=204, responses=documented(401, 403, 503), summary="Sign out")
async def close_session(who: SignedIn, response: Response, site: UseSite, sign_in: UseSignIn) -> None:
    """End the session that the request carries, at once and everywhere."""
    await sign_in.end_session(who)
    take_cookie(response, site)


@router.get("/me", responses=documented(401, 403, 503), summary="Who am I")
async def me(who: SignedIn) -> MeBody:
    """Say who is signed in."""
    return MeBody(user=who.user, expires=who.record.expires, signed_in_by=who.record.by, method=who.record.method)


@provider.post("/sign-out", responses=documented(401, 403, 503), summary="Sign out, at the provider too")
async def sign_out(
    who: SignedIn, response: Response, site: UseSite, oidc: Annotated[OidcSignIn, use(OidcSignIn)]
) -> SignOutBody:
    """End the session here at once, and say where the browser ends the one at the identity provider."""
    url = await oidc.end_session(who)
    take_cookie(response, site)
    return SignOutBody(url=url)


@tokens.post("", status_code=201, responses=documented(401, 403, 409, 413, 422, 429, 503), summary="Make a token")
async def make_token(
    asked: TokenRequest, request: Request, site: UseSite, authentication: UseAuthentication, sign_in: UseSignIn
) -> NewToken:
    """Make a bearer token for the one who has a session, or whose credentials come along."""
    credentials = asked.credentials
    if credentials is not None:
        check_origin(request.method, request.headers, site.own_origins, proven=False)
        address = address_of(request)
        owner = TokenOwner(await sign_in.identify(credentials, address), credentials.method, address)
    else:
        owner = TokenOwner.of(await caller(request, site, authentication))
    secret, record = await sign_in.make_token(owner, asked.name, asked.days)
    return NewToken(**_shown(record).model_dump(), token=secret, user=owner.user)


@tokens.get("", responses=documented(401, 403, 503), summary="List my tokens")
async def list_tokens(who: SignedIn, sign_in: UseSignIn) -> Tokens:
    """List the tokens that are still good; the secrets themselves are not known any more."""
    return Tokens(items=[_shown(record) for record in await sign_in.tokens(who)])


@tokens.delete("/{token_id}", status_code=204, responses=documented(401, 403, 404, 503), summary="Revoke a token")
async def revoke_token(token_id: str, who: SignedIn, sign_in: UseSignIn) -> None:
    """Revoke one of my tokens at once; `current` is the one that the request carries."""
    await sign_in.revoke_token(token_id, who)


def _shown(record: SessionRecord) -> TokenBody:
    return TokenBody(
        id=record.id, name=record.name, created=record.created, expires=record.expires, last_used=record.last_used
    )


@people.post(
    "/{person_id:path}/sign-out",
    status_code=204,
    responses=documented(401, 403, 404, 422, 503),
    summary="Sign out everywhere",
    name="sign_out",
)
async def sign_out_everywhere(
    person_id: Annotated[str, Path(min_length=1, max_length=200)], who: SignedIn, sign_in: UseSignIn
) -> None:
    """Make all sessions and tokens of a person worthless at once; running uploads go on. For operators, or oneself."""
    await sign_in.sign_out_everywhere(person_id, who)
