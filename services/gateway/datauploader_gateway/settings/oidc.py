"""What an administrator says about the identity provider: table `[gateway.oidc]`, and the rules that give roles."""

import ipaddress
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, TypeAdapter, model_validator

from datauploader.contracts.rest.session import Role

Beamline = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}\.[a-z0-9_-]{1,63}$")]
"""`facility.beamline`."""
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Signatures with a public key alone: what could be signed with something that we know is no proof."""
_BEAMLINES = TypeAdapter(tuple[Beamline, ...])


class RoleRule(BaseModel):
    """Gives a role to everybody whose claim has a value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str = Field(default="groups", min_length=1)
    """Name of the claim; dots lead into it, as in `realm_access.roles`."""
    value: str = Field(min_length=1)
    """The value, or one of the values, that the claim must have."""
    role: Role
    """`user`, `staff` or `operator`."""
    beamlines: tuple[str, ...] = ()
    """`facility.beamline`, for staff."""

    @model_validator(mode="after")
    def _staff_has_beamlines(self) -> Self:
        if (self.role == "staff") != bool(self.beamlines):
            raise ValueError("beamlines belong to the role staff, and staff has at least one")
        _BEAMLINES.validate_python(self.beamlines)
        return self


class OidcSettings(BaseModel):
    """The identity provider that people sign in with."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: str = ""
    """Address of the provider, exactly as it writes itself; empty: no sign-in of this kind."""
    client_id: str = ""
    """The name that the provider knows the gateway by."""
    client_secret: SecretStr = SecretStr("")
    """What the gateway proves itself with; empty for a public client."""
    name: str = "your facility account"
    """What people know the provider by: the button reads "Sign in with …"."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What the provider is asked for; some want a scope of their own for groups."""
    user_claim: str = "sub"
    """The claim that is the person's identifier in the catalogue; one that people cannot change themselves."""
    name_claim: str = "name"
    """The claim that is shown as the person's name."""
    members_only: bool = False
    """Let in only people to whom one of the `roles` applies."""
    trusted_email: bool = False
    """The provider's mail addresses are right although it does not say `email_verified`, as with Entra ID."""
    proxy: str = ""
    """HTTP proxy on the way to the provider, such as `http://proxy.eu:3128`; those of the environment are not used."""
    token_days: int = Field(default=30, ge=1, le=365)
    """Longest life of a token that somebody makes who signed in this way."""
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "PS256", "ES256", "Ed25519"), min_length=1)
    """Signatures that are accepted."""
    audience: str = ""
    """Accept the provider's access tokens for this audience at the REST interface; empty: none."""
    access_token_types: tuple[str, ...] = Field(default=("at+jwt",), min_length=1)
    """What `typ` says in the head of such tokens (RFC 9068); Keycloak writes `JWT`."""
    cafile: Path | None = None
    """Certificates to trust instead of the system's."""
    allow_http: bool = False
    """Speak without TLS to a provider on another machine; for a sandbox network only."""
    timeout_s: float = Field(default=5.0, gt=0)
    """How long the provider may take to answer."""

    @property
    def on(self) -> bool:
        """People can sign in this way."""
        return bool(self.issuer)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.on:
            return self
        if not self.client_id:
            raise ValueError("client_id is missing: register the gateway with the provider")
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain openid")
        if self.audience == self.client_id:
            raise ValueError("audience must differ from client_id, or ID tokens would be taken for access tokens")
        try:
            ssl.create_default_context(cafile=self.cafile)
        except OSError as error:
            raise ValueError(f"the certificates in {self.cafile} cannot be used: {error}") from error
        if not self.trusts(self.issuer):
            raise ValueError(f"the issuer {self.issuer} needs https, or allow_http in a sandbox")
        return self

    def trusts(self, url: str) -> bool:
        """Tell whether secrets may be sent to this address of the provider."""
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("http", "https"):
            return False
        if parts.scheme == "https" or self.allow_http:
            return True
        try:
            return ipaddress.ip_address(parts.hostname).is_loopback
        except ValueError:
            return parts.hostname == "localhost"
