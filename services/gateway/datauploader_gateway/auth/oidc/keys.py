"""The provider's public keys, found by what a token's head says of its own."""

from collections.abc import Callable
from contextlib import suppress
from typing import cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from datauploader_gateway.auth.oidc.cached_document import CachedDocument
from datauploader_gateway.auth.oidc.wire import ProviderHttp, ProviderMetadata

PublicKey = RSAKey | ECKey | OKPKey
_KINDS: dict[str, type[PublicKey]] = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}


class SigningKeys:
    """The signing keys as last fetched; asked for again when a token names one that is not among them."""

    def __init__(
        self, wire: ProviderHttp, metadata: CachedDocument[ProviderMetadata], clock: Callable[[], float]
    ) -> None:
        """Fetch them over this wire."""
        self._http, self._metadata = wire, metadata
        self._known = CachedDocument(self._fetch, clock)

    async def find(self, kid: str | None, algorithm: str, *, patient: bool) -> PublicKey | None:
        """Return the key that a token must have been signed with; `patient` when a stranger brought the token.

        Raises:
            ProviderAway: no keys were ever fetched, and the provider is away.
        """
        known = await self._known.get(patient=patient)
        key = _choose(known, kid, algorithm)
        if key is None and kid is not None:
            key = _choose(await self._known.renew(patient=patient), kid, algorithm)
        return key

    async def _fetch(self) -> tuple[PublicKey, ...]:
        address = (await self._metadata.get(patient=True)).jwks_uri
        found: list[PublicKey] = []
        for entry in await self._http.jwks(address):
            # what is no public key for signatures is passed over, as RFC 7517 wants unknown ones to be
            if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use") == "enc":
                continue
            with suppress(JoseError, ValueError, TypeError, KeyError):
                found.append(cast("PublicKey", JWKRegistry.import_key(entry)))
        return tuple(found)


def _choose(known: tuple[PublicKey, ...], kid: str | None, algorithm: str) -> PublicKey | None:
    """Return the key of this name; a token that names none is only beyond doubt where one key fits."""
    fitting = [
        key
        for key in known
        if isinstance(key, _KINDS[algorithm[:2]])
        and key.get("alg") in (None, algorithm)
        and (kid is None or key.kid == kid)
    ]
    return fitting[0] if fitting and (kid is not None or len(fitting) == 1) else None
