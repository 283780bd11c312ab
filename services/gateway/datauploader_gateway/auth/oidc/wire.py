"""HTTP to the identity provider and to nobody else: no redirects, small answers, a sentence for each failure."""

import ssl
from collections.abc import Mapping

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from datauploader_gateway.errors import ProviderAway, SignInFailed
from datauploader_gateway.settings.oidc import OidcSettings

log = structlog.get_logger()

LARGEST_ANSWER = 512 * 1024
_CONFIGURED = "/.well-known/openid-configuration"


class ProviderMetadata(BaseModel):
    """Metadata of the provider, what it says of itself (OpenID Connect Discovery 1.0), as far as it matters here."""

    model_config = ConfigDict(frozen=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class TokenAnswer(BaseModel):
    """What a code is redeemed for; a refresh token that comes along is not kept."""

    model_config = ConfigDict(frozen=True)

    id_token: str
    access_token: str = ""


class ProviderHttp:
    """HTTP connections to one provider."""

    def __init__(self, settings: OidcSettings) -> None:
        """Prepare them; nothing is sent yet."""
        self._settings = settings
        self._http = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=settings.cafile),
            timeout=settings.timeout_s,
            follow_redirects=False,
            trust_env=False,
            proxy=settings.proxy or None,
            headers={"User-Agent": "DataUploader", "Accept": "application/json"},
        )

    async def close(self) -> None:
        """Close them."""
        await self._http.aclose()

    async def metadata(self) -> ProviderMetadata:
        """Ask the provider what it is.

        Raises:
            ProviderAway: it does not answer, or says that it is another one.
        """
        said = await self._json("GET", self._settings.issuer.rstrip("/") + _CONFIGURED)
        try:
            found = ProviderMetadata.model_validate(said)
        except ValidationError as error:
            raise self._odd(f"its description lacks {_first_place(error)}") from None
        if found.issuer != self._settings.issuer:
            raise self._odd(f"it calls itself {found.issuer[:200]!r}")
        for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
            if url and not self._settings.trusts(url):
                raise self._odd(f"its address {url[:200]!r} is not https")
        return found

    async def jwks(self, url: str) -> list[object]:
        """Fetch the provider's public keys.

        Raises:
            ProviderAway: it does not answer, or not with keys.
        """
        keys = (await self._json("GET", url)).get("keys")
        if not isinstance(keys, list):
            raise self._odd("its key set has no keys")
        return keys

    async def redeem(self, metadata: ProviderMetadata, form: Mapping[str, str]) -> TokenAnswer:
        """Trade a code for tokens.

        Raises:
            SignInFailed: the provider says no.
            ProviderAway: it does not answer.
        """
        client, secret = self._settings.client_id, self._settings.client_secret.get_secret_value()
        basic = "client_secret_basic" in metadata.token_endpoint_auth_methods_supported
        body = {**form, "client_id": client}
        if secret and not basic:
            body["client_secret"] = secret
        auth = (_form_quoted(client), _form_quoted(secret)) if secret and basic else None
        said = await self._json("POST", metadata.token_endpoint, form=body, auth=auth)
        try:
            return TokenAnswer.model_validate(said)
        except ValidationError as error:
            raise self._odd(f"its answer to the code lacks {_first_place(error)}") from None

    async def userinfo(self, url: str, access_token: str) -> dict[str, object]:
        """Ask who the access token is of.

        Raises:
            ProviderAway: it does not answer, or not in JSON.
        """
        return await self._json("GET", url, headers={"Authorization": f"Bearer {access_token}"})

    async def _json(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        try:
            async with self._http.stream(method, url, data=form, auth=auth, headers=headers) as answer:
                content = await _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderAway(
                f"the identity provider {self._settings.issuer} does not answer ({error or type(error).__name__})"
            ) from error
        try:
            said = _Anything.model_validate_json(content).model_extra
        except ValidationError:
            said = None
        if form is not None and answer.is_client_error:
            log.warning("identity_provider_refused", status=answer.status_code, said=str(said)[:500])
            word = str((said or {}).get("error", ""))[:60]  # the provider's own sentences stay in the log
            reason = word if word.replace("_", "").isalpha() else "without a reason"
            raise SignInFailed(f"the identity provider refused the sign-in ({reason})")
        if answer.status_code != httpx.codes.OK or said is None:
            raise self._odd(f"it answered {answer.status_code} to {method} {url[:200]}")
        return said

    def _odd(self, how: str) -> ProviderAway:
        return ProviderAway(
            f"the identity provider {self._settings.issuer} does not answer as one: {how}",
            hint="Check gateway.oidc.issuer; people who are signed in stay signed in.",
        )


async def _read(answer: httpx.Response) -> bytes:
    content = b""
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise httpx.DecodingError(f"more than {LARGEST_ANSWER} bytes")
    return content


class _Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


def _first_place(error: ValidationError) -> str:
    return str(error.errors(include_url=False, include_input=False)[0]["loc"][0])


def _form_quoted(text: str) -> str:
    """Write a part of Basic authentication as RFC 6749, section 2.3.1, has it."""
    return str(httpx.QueryParams({"": text}))[1:]
