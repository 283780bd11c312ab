"""Signing in with the facility's identity provider, there and back again, and out."""

import re

import structlog

from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.audit_log import REFUSED, AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.oidc import roles
from datauploader_gateway.auth.oidc.pending_logins import PendingLogin, PendingLogins
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.auth.sessions import Sessions
from datauploader_gateway.auth.throttle import Throttle
from datauploader_gateway.errors import NotAllowed, NotFound, Problem, SignInFailed
from datauploader_gateway.features.mail.addresses import Addresses
from datauploader_gateway.features.sign_in.service import SignInService
from datauploader_gateway.settings import GatewaySettings

log = structlog.get_logger()

_ERROR = re.compile(r"[a-z_]{1,60}")


class OidcSignIn:
    """Signs people in with OpenID Connect."""

    def __init__(
        self, provider: Provider | None, pending: PendingLogins, throttle: Throttle, accounts: Accounts,
        sessions: Sessions, addresses: Addresses, audit: AuditLog, sign_in: SignInService, settings: GatewaySettings,
    ) -> None:  # fmt: skip
        """Ask this provider; None: nobody signs in this way."""
        self._known, self._pending, self._throttle, self._accounts = provider, pending, throttle, accounts
        self._sessions, self._addresses, self._audit = sessions, addresses, audit
        self._sign_in, self._settings = sign_in, settings

    async def begin(self, goal: str, address: str, *, switch: bool) -> tuple[str, str, str]:
        """Begin a sign-in; return its name, what the browser keeps of it, and where the browser goes.

        `switch` has the provider ask for credentials whoever is signed in there.

        Raises:
            Problem: there is no provider, or it does not answer, or this address begins too many.
        """
        provider = self._provider
        await self._throttle.admit_sign_in(address)
        state, browser, attempt = await self._pending.begin_login(goal)
        return state, browser, await provider.sign_in_url(state, attempt, anew=switch)

    async def pending(self, state: str, browser: str) -> PendingLogin:
        """Return the sign-in that the provider answers to, once.

        Raises:
            SignInFailed: there is none, or it is another browser's.
        """
        return await self._pending.pop_login(state, browser)

    async def finish(
        self, attempt: PendingLogin, *, code: str, error: str, issuer: str, address: str, former: str
    ) -> str:  # fmt: skip
        """Begin a session in place of the browser's former one; return the secret that it keeps.

        Why not is on the record; strangers' inventions do not come so far, or they filled the book.

        Raises:
            Problem: the provider's answer gives nobody a session.
        """
        try:
            if error or not code:
                word = error if _ERROR.fullmatch(error) else "without a reason"
                raise SignInFailed(
                    f"the identity provider did not sign you in ({word})", hint="Try again, or use another account."
                )
            claims, id_token = await self._provider.redeem(code, attempt, issuer)
            return await self._begin_session(claims, id_token, address, former)
        except Problem as problem:
            await self._audit.record(REFUSED, who="", address=address, method="oidc", why=problem.word)
            raise

    async def end_session(self, who: Caller) -> str:
        """End a session at once; return where the browser ends the one at the identity provider, "" for nowhere."""
        await self._sign_in.end_session(who)
        ends_there = self._known is not None and who.record.method == "oidc" and who.record.by == "session"
        return await self._provider.sign_out_url(who.record.id_token) if ends_there else ""

    @property
    def _provider(self) -> Provider:
        if self._known is None:
            raise NotFound(
                "no identity provider is configured here", hint="Sign in in another way; see /api/v1/sign-in."
            )
        return self._known

    async def _begin_session(self, claims: dict[str, object], id_token: str, address: str, former: str) -> str:
        kept = roles.kept_claims(claims, self._settings.roles)
        person = roles.identify(claims, self._settings.oidc)
        account = self._accounts.by_id(person.id)
        user = account.user if account else roles.with_role(person, kept, self._settings.roles, self._settings.oidc)
        missing = kept.get(roles.LEFT_OUT)
        if user is None and missing:
            raise NotAllowed(
                f"the identity provider did not send your {' and '.join(missing)}, because there are too many, so "
                "nobody knows here whether you may use this gateway",
                hint="Tell an operator: the provider can send only the groups that belong to this application.",
            )
        if user is None:
            raise NotAllowed(
                "your account is known, but none of your groups may use this gateway",
                hint="Ask the user office or an operator for access.",
            )
        if former:
            await self._sessions.end(former)
        secret, _ = await self._sessions.open(user, "oidc", kept, id_token)
        vouched = roles.vouches(claims, self._settings.oidc)
        if claims.get("email") and not vouched:
            log.warning("mail_address_not_verified", user=user.id, hint="gateway.oidc.trusted_email takes it as it is")
        if missing:
            log.warning("claims_missing", user=user.id, claims=missing, hint="see docs/deployment.md")
        await self._addresses.learn(user.id, claims, vouched=vouched)
        await self._audit.record("signed in", who=user.id, address=address, method="oidc")
        return secret
