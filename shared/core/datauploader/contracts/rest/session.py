"""Sessions in REST: who is signed in, how one can, and tokens for programs."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from datauploader.contracts.rest.model import Needed, RestModel

Role = Literal["user", "staff", "operator"]
Method = Literal["local", "vuo", "catalogue", "oidc"]
"""How somebody has signed in."""


class User(RestModel):
    """Somebody who has signed in."""

    id: Needed[str]
    """The identifier that the catalogue knows."""
    name: str = ""
    role: Role = "user"
    beamlines: tuple[str, ...] = ()
    """`facility.beamline`, for staff."""


class SessionBody(RestModel):
    """Who signed in, and until when."""

    user: Needed[User]
    expires: datetime


class MeBody(SessionBody):
    """Who is asking, by what, and how they signed in."""

    signed_in_by: Literal["session", "token", "access-token"]
    method: Method


class ProviderBody(RestModel):
    """The identity provider, as people know it, and where signing in with it begins."""

    name: str
    start: str = "/api/v1/oidc/start"


class CatalogueBody(RestModel):
    """The catalogue, as people know it, and what it knows them by."""

    name: str
    """Such as `SciCat`."""
    session: str
    """What people call a session of it, such as `SciCat token`: method `vuo`; "" where there is none."""
    password: bool
    """Whether their name and password of it will do: method `catalogue`."""


class SignInBody(RestModel):
    """The ways to sign in here."""

    local: Needed[bool]
    vuo: bool
    oidc: ProviderBody | None
    catalogue: CatalogueBody | None = None
    """None where nobody signs in with the catalogue."""


class TokenBody(RestModel):
    """What may be shown of a token at any time."""

    id: Needed[str]
    name: str
    created: datetime
    expires: datetime
    last_used: datetime | None = None


class NewToken(TokenBody):
    """A token as it is told once."""

    token: Needed[str] = Field(repr=False)
    user: Needed[User]
