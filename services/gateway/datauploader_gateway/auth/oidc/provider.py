"""The identity provider as the gateway uses it: send people there, believe what comes back, sign them out there."""

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import structlog

from datauploader_gateway.auth.oidc.cached_document import CachedDocument
from datauploader_gateway.auth.oidc.keys import SigningKeys
from datauploader_gateway.auth.oidc.pending_logins import PendingLogin
from datauploader_gateway.auth.oidc.verifying import TokenVerifier, VerifiedToken
from datauploader_gateway.auth.oidc.wire import ProviderHttp, ProviderMetadata
from datauploader_gateway.errors import Forged, ProviderAway, SignInFailed
from datauploader_gateway.settings.oidc import OidcSettings

log = structlog.get_logger()

_BELIEVED_S = 10.0
_OF_ID_TOKENS = ("nonce", "at_hash", "c_hash")
"""Claims that only ID tokens have."""


class Provider:
    """One identity provider."""

    def __init__(
        self,
        settings: OidcSettings,
        own_url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Speak to it as the gateway at `own_url`; nothing is sent yet."""
        self.settings, self._own_url = settings, own_url
        self._http = ProviderHttp(settings)
        self._clock, self._asking, self._ask_again, self._away = clock, asyncio.Lock(), float("-inf"), ""
        self._metadata: CachedDocument[ProviderMetadata] = CachedDocument(self._http.metadata, clock)
        self._verifier = TokenVerifier(settings, SigningKeys(self._http, self._metadata, clock), now)

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to; it must be registered there."""
        return f"{self._own_url}/api/v1/oidc/callback"

    async def problem(self) -> str:
        """Say why the provider does not answer, "" when it does; asks at most every ten seconds."""
        async with self._asking:
            if self._clock() >= self._ask_again:
                try:
                    await self._http.metadata()
                    self._away = ""
                except ProviderAway as error:
                    self._away = error.detail
                self._ask_again = self._clock() + _BELIEVED_S
        return self._away

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def sign_in_url(self, state: str, attempt: PendingLogin, *, anew: bool) -> str:
        """Return where to send the browser; `anew` has the provider ask who it is, whoever is signed in there.

        Raises:
            ProviderAway: it is not known where, and the provider does not answer.
        """
        metadata = await self._metadata.get(patient=False)
        query = {
            "response_type": "code", "client_id": self.settings.client_id, "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.settings.scopes), "state": state, "nonce": attempt.nonce,
            "code_challenge": attempt.challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        return _with_query(metadata.authorization_endpoint, query | ({"prompt": "login"} if anew else {}))

    async def redeem(self, code: str, attempt: PendingLogin, issuer: str) -> tuple[dict[str, object], str]:
        """Trade the code for what the provider says of the person; return that and the ID token.

        Raises:
            SignInFailed: the answer is not genuine, or not to this sign-in.
            ProviderAway: it does not answer.
        """
        metadata = await self._metadata.get(patient=False)
        if issuer != metadata.issuer and (issuer or metadata.authorization_response_iss_parameter_supported):
            raise SignInFailed("the answer comes from another identity provider")
        answer = await self._http.redeem(
            metadata,
            {
                "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri,
                "code_verifier": attempt.verifier,
            },
        )  # fmt: skip
        client = self.settings.client_id
        try:
            claims = dict((await self._verifier.verify(answer.id_token, client, patient=False)).claims)
            _require_id_token(claims, client, attempt.nonce)
        except Forged as error:
            log.warning("id_token_refused", reason=str(error)[:300])
            raise SignInFailed("the identity provider's answer is not genuine, or is not for this sign-in") from error
        if metadata.userinfo_endpoint and answer.access_token:
            # for the claims that providers leave out of ID tokens; what is signed cannot be changed by them
            said = await self._http.userinfo(metadata.userinfo_endpoint, answer.access_token)
            if said.get("sub") != claims["sub"]:
                raise SignInFailed("the identity provider's answer names two different persons")
            claims |= {name: value for name, value in said.items() if name not in claims}
        return claims, answer.id_token

    async def sign_out_url(self, id_token: str) -> str:
        """Return where the browser ends its session at the provider (RP-initiated logout); "" where it cannot."""
        try:
            target = (await self._metadata.get(patient=False)).end_session_endpoint
        except ProviderAway:
            return ""
        back = {"client_id": self.settings.client_id, "post_logout_redirect_uri": f"{self._own_url}/"}
        hint = {"id_token_hint": id_token} if id_token else {}
        return _with_query(target, back | hint) if target and self.settings.trusts(target) else ""

    async def check_access_token(self, token: str) -> VerifiedToken | None:
        """Check an access token that a program brought; None for anything else.

        Raises:
            ProviderAway: its key is not known, and the provider does not answer.
        """
        if not self.settings.audience:
            return None
        try:
            found = await self._verifier.verify(token, self.settings.audience, patient=True)
            _require_access_token(found, self.settings.access_token_types)
        except Forged as error:
            log.info("access_token_refused", reason=str(error)[:300])
            return None
        return found


def _require_id_token(claims: Mapping[str, object], client: str, nonce: str) -> None:
    """See that a genuine token for us is the answer to this sign-in (OpenID Connect Core, section 3.1.3.7)."""
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise Forged("its nonce is of another sign-in")
    alone = claims["aud"] in (client, [client])
    if claims.get("azp", client if alone else "") != client:
        raise Forged("it was made for another client")


def _require_access_token(token: VerifiedToken, types: tuple[str, ...]) -> None:
    """See that a genuine token for us is an access token, and not an ID or refresh token of the same provider."""
    if token.type not in {name.lower() for name in types}:
        raise Forged(f"its type is {token.type[:40]!r}")
    if any(name in token.claims for name in _OF_ID_TOKENS) or token.claims.get("typ", "Bearer") != "Bearer":
        raise Forged("it is not an access token")


def time_of(claims: Mapping[str, object], name: str, latest: datetime) -> datetime:
    """Read a time of a verified token; no later than `latest`, because a number may mean a year that there is not."""
    seconds = claims.get(name)
    assert isinstance(seconds, int | float)
    return datetime.fromtimestamp(min(max(seconds, 0), latest.timestamp()), UTC)


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
