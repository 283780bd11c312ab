"""Signing in with a password or a session of the catalogue, signing out, and tokens for programs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from datauploader.contracts.questions import CatalogueAbout
from datauploader.contracts.rest.session import Method
from datauploader_gateway import metrics
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.audit_log import REFUSED, AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.sessions import SessionRecord, Sessions
from datauploader_gateway.auth.throttle import Throttle
from datauploader_gateway.errors import (
    CatalogueAway,
    NotAllowed,
    NotFound,
    TooManyAttempts,
    TooManyTokens,
    WrongCredentials,
)
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.settings import GatewaySettings

LONGEST_DAYS = 365
"""Of a token."""
LONGEST_SESSION = 8192
"""Characters of a session of the catalogue's: tokens of SciCat hold what they say of a person."""
MOST_TOKENS = 50
"""Tokens that one person may have."""


class LocalCredentials(BaseModel):
    """Name and password of an account in the gateway's own file."""

    method: Literal["local"]
    username: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(max_length=1024)


class VuoCredentials(BaseModel):
    """A session of the catalogue: the value of VUO's cookie `vuo_session`, SciCat's token, ICAT's session."""

    method: Literal["vuo"]
    vuo_session: SecretStr = Field(min_length=1, max_length=LONGEST_SESSION)


class CatalogueCredentials(BaseModel):
    """Name and password of an account of the catalogue's."""

    method: Literal["catalogue"]
    username: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(min_length=1, max_length=1024)


Credentials = Annotated[LocalCredentials | VuoCredentials | CatalogueCredentials, Field(discriminator="method")]


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """For whom a token is made, and how they have signed in."""

    user: SignedInUser
    method: Method
    address: str
    claims: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, who: Caller) -> "TokenOwner":
        """Return the one who has a session.

        Raises:
            NotAllowed: it is no session, but a token: a stolen one must not beget others that outlive it.
        """
        if who.record.by != "session":
            raise NotAllowed(
                "a token cannot make tokens", hint="Sign in on the gateway's page, or send the credentials."
            )
        return cls(who.user, who.record.method, who.address, who.record.claims)


class SignInService:
    """Signs people in and out, and makes tokens."""

    def __init__(
        self, accounts: Accounts, questions: QueryClient, throttle: Throttle, sessions: Sessions, audit: AuditLog,
        settings: GatewaySettings,
    ) -> None:  # fmt: skip
        """Look accounts up in the file, and people of the catalogue through `questions`."""
        self._accounts, self._questions, self._throttle = accounts, questions, throttle
        self._sessions, self._audit, self._settings = sessions, audit, settings

    async def identify(self, credentials: Credentials, address: str) -> SignedInUser:
        """Find out whose credentials these are, within what the throttle allows.

        Raises:
            WrongCredentials: nobody's.
            TooManyAttempts: there were too many wrong ones.
            CatalogueAway: nobody can tell at the moment.
        """
        if not isinstance(credentials, VuoCredentials):
            account = f"{credentials.method}:{credentials.username}"
        else:  # it guesses at no account in particular
            secret = credentials.vuo_session.get_secret_value()
            account = f"vuo:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
        attempt = await self._throttle.admit_password(account, address)
        try:
            user = await self._verify(credentials)
        except WrongCredentials:
            metrics.SIGN_INS.labels(credentials.method, "wrong").inc()
            await self._audit.record(REFUSED, who=account, address=address, method=credentials.method)
            raise
        except (CatalogueAway, TooManyAttempts):
            await self._throttle.unjudged(attempt)
            raise
        await self._throttle.succeeded(attempt)
        metrics.SIGN_INS.labels(credentials.method, "right").inc()
        return user

    async def catalogue(self) -> CatalogueAbout | None:
        """Say how people sign in with the catalogue; None where they do not, or cannot."""
        about = await self._questions.learn_about()
        return about if self._settings.vuo and (about.session or about.password) else None

    async def _verify(self, credentials: Credentials) -> SignedInUser:
        if isinstance(credentials, LocalCredentials):
            password = credentials.password.get_secret_value()
            user = await self._accounts.verify_in_thread(credentials.username, password)
            if user is None:
                raise WrongCredentials("the name or the password is wrong")
            return user
        if not self._settings.vuo:
            raise NotAllowed("signing in with the catalogue is switched off here", hint="Use a local account.")
        if isinstance(credentials, CatalogueCredentials):
            password = credentials.password.get_secret_value()
            identity = await self._questions.sign_in(credentials.username, password)
        else:
            identity = await self._questions.who_is(credentials.vuo_session.get_secret_value())
        account = self._accounts.by_id(identity.user_id)
        return account.user if account else SignedInUser(id=identity.user_id, name=identity.name or identity.unix_user)

    async def begin_session(self, credentials: Credentials, address: str, former: str) -> tuple[str, SessionRecord]:
        """Check credentials and begin a session; return the secret that the browser keeps.

        `former` is the secret of the browser's former session: who signs in anew leaves none behind.

        Raises:
            Problem: as `identify`.
        """
        user = await self.identify(credentials, address)
        if former:
            await self._sessions.end(former)
        secret, record = await self._sessions.open(user, credentials.method)
        await self._audit.record("signed in", who=user.id, address=address, method=credentials.method)
        return secret, record

    async def end_session(self, who: Caller) -> None:
        """End a session at once and everywhere."""
        await self._sessions.end(who.secret)
        await self._audit.record("signed out", who=who.user.id, address=who.address)

    async def sign_out_everywhere(self, person_id: str, who: Caller) -> None:
        """Make all sessions and tokens of a person worthless at once.

        Raises:
            NotAllowed: it is somebody else, and the caller is no operator.
        """
        if who.user.role != "operator" and who.user.id != person_id:
            raise NotAllowed("signing others out is for operators", hint="Ask an operator.")
        await self._sessions.sign_out(person_id)
        await self._audit.record("signed out everywhere", who=who.user.id, address=who.address, person=person_id)

    async def make_token(self, owner: TokenOwner, name: str, days: int) -> tuple[str, SessionRecord]:
        """Make a token; return its secret, which is told once.

        Raises:
            TooManyTokens: they have enough of them.
        """
        if len(await self._sessions.tokens(owner.user)) >= MOST_TOKENS:
            raise TooManyTokens(f"you have {MOST_TOKENS} tokens already")
        # of the end of what they signed in with elsewhere we hear nothing: no token may outlive it for long
        ours = self._settings.vuo_token_days
        foreign = {"oidc": self._settings.oidc.token_days, "vuo": ours, "catalogue": ours}
        days = min(days, foreign.get(owner.method, LONGEST_DAYS))
        secret, record = await self._sessions.issue(owner.user, owner.method, name, days, owner.claims)
        await self._audit.record("token made", who=owner.user.id, address=owner.address, token_id=record.id, name=name)
        return secret, record

    async def tokens(self, who: Caller) -> Sequence[SessionRecord]:
        """Return the tokens of somebody that are still good."""
        return await self._sessions.tokens(who.user)

    async def revoke_token(self, token_id: str, who: Caller) -> None:
        """Revoke a token at once; `current` is the one that the request carries.

        Raises:
            NotFound: it is none of theirs.
        """
        wanted = who.record.id if token_id == "current" else token_id  # noqa: S105 - a word of the address
        if not wanted or not await self._sessions.revoke(who.user, wanted):
            raise NotFound(f"you have no token {token_id}", hint="GET /api/v1/tokens lists yours.")
        await self._audit.record("token revoked", who=who.user.id, address=who.address, token_id=wanted)
