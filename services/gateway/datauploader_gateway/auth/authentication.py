"""Authentication: who somebody is by what they bring, a session's secret, a token, or a provider's access token."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.oidc import roles
from datauploader_gateway.auth.oidc.provider import Provider, time_of
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.sessions import TOKEN_PREFIX, SessionRecord, Sessions
from datauploader_gateway.errors import Problem
from datauploader_gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, by what, and from where."""

    user: SignedInUser
    record: SessionRecord
    secret: str
    address: str


@dataclass(frozen=True, slots=True)
class SignInOptions:
    """The ways to sign in here."""

    local: bool
    vuo: bool
    oidc: str
    """The identity provider, as people know it; "" where there is none."""


class Authentication:
    """Finds out who somebody is, and what their role is now."""

    def __init__(
        self, sessions: Sessions, accounts: Accounts, provider: Provider | None, settings: GatewaySettings
    ) -> None:
        """Ask these."""
        self._sessions, self._accounts, self._provider, self._settings = sessions, accounts, provider, settings

    @property
    def ways(self) -> SignInOptions:
        """How one can sign in here."""
        provider = self._settings.oidc.name if self._provider else ""
        return SignInOptions(local=self._accounts.any, vuo=self._settings.vuo, oidc=provider)

    async def authenticate(self, secret: str, address: str, *, is_cookie: bool) -> Caller | None:
        """Return who brings this secret, None for nobody that we know."""
        if not secret:
            return None
        if is_cookie or secret.startswith(TOKEN_PREFIX) or self._provider is None:
            record = await self._sessions.authenticate(secret)
        else:
            record = await self._of_access_token(secret, self._provider)
            if record is not None and await self._sessions.signed_out(record):
                return None
        if record is None or is_cookie != (record.by == "session"):
            return None
        user = self._as_now(record)
        return Caller(user, record, secret, address) if user else None

    async def still_signed_in(self, callers: Sequence[Caller]) -> list[bool]:
        """Tell whose session or token is still good, and its person still who they were, without prolonging it."""
        standing = await self._sessions.standing([(who.secret, who.record) for who in callers])
        return [stands and self._as_now(who.record) == who.user for stands, who in zip(standing, callers, strict=True)]

    async def _of_access_token(self, secret: str, provider: Provider) -> SessionRecord | None:
        """Take the identity provider's word for who brings one of its access tokens."""
        found = await provider.check_access_token(secret)
        if found is None:
            return None
        try:
            user = roles.identify(found.claims, provider.settings)
        except Problem:
            return None
        latest = datetime.now(UTC) + timedelta(seconds=self._settings.session_longest_s)
        return SessionRecord(
            user=user, by="access-token", method="oidc",
            claims=roles.kept_claims(found.claims, self._settings.roles),
            created=time_of(found.claims, "iat", latest), expires=time_of(found.claims, "exp", latest),
        )  # fmt: skip

    def _as_now(self, record: SessionRecord) -> SignedInUser | None:
        """Give the person the role that they have now; a local account that was removed is nobody."""
        account = self._accounts.by_id(record.user.id)
        if account is not None:
            return account.user
        if record.method == "local":
            return None
        if record.method == "oidc":
            return roles.with_role(record.user, record.claims, self._settings.roles, self._settings.oidc)
        return record.user.model_copy(update={"role": "user", "beamlines": ()})
