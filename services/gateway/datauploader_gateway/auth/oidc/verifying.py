"""Decides whether a token of the provider's is genuine, ours, and of now; trusts nothing that it says before that."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from datauploader_gateway.auth.oidc.keys import SigningKeys
from datauploader_gateway.errors import Forged
from datauploader_gateway.settings.oidc import OidcSettings

SKEW_S = 30
"""Seconds that clocks may differ by."""
_ROUNDED_S = 1
"""Times in tokens are whole seconds."""
_LARGEST = 16 * 1024
_KID = re.compile(r"[\w.:+/=@~-]{1,256}", re.ASCII)
_REFUSED = ("jwk", "jku", "x5u", "x5c", "crit", "b64")
"""Heads that bring a key of their own or demand an extension; no extension is understood here."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A verified token."""

    type: str
    """What its head says that it is, in small letters, without `application/`."""
    claims: Mapping[str, object]


class TokenVerifier:
    """Verifies tokens of one provider."""

    def __init__(self, settings: OidcSettings, keys: SigningKeys, now: Callable[[], float]) -> None:
        """Take keys from `keys`, and the time in seconds since 1970 from `now`."""
        self._settings, self._signing_keys, self._now = settings, keys, now
        refused = {name: HeaderParameter(name, "none") for name in _REFUSED}
        self._registry = JWSRegistry(refused, settings.algorithms, strict_check_header=False)

    async def verify(self, token: str, audience: str, *, patient: bool) -> VerifiedToken:
        """Check signature, issuer, audience and times.

        Args:
            token: as it came.
            audience: whom it must be for.
            patient: a stranger brought it, so that it cannot make us ask the provider at will.

        Raises:
            Forged: it is not genuine, not for us, or not of now.
            ProviderAway: its key is not known, and the provider is away.
        """
        kid, algorithm = self._head(token)
        key = await self._signing_keys.find(kid, algorithm, patient=patient)
        if key is None:
            raise Forged(f"no key {kid!r} for {algorithm}")
        expected = jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=SKEW_S + _ROUNDED_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            found = jwt.decode(token, key, registry=self._registry)
            expected.validate(found.claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Forged(str(error) or type(error).__name__) from error
        said = str(found.header.get("typ", "")).lower()
        return VerifiedToken(said.removeprefix("application/"), found.claims)

    def _head(self, token: str) -> tuple[str | None, str]:
        """Read which key is meant, after all that can be refused without one."""
        if len(token) > _LARGEST:
            raise Forged("it is too long")
        try:
            head = jws.extract_compact(token.encode(), registry=self._registry).headers()
            self._registry.check_header(head)
            self._registry.get_alg(head["alg"])
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Forged(str(error) or type(error).__name__) from error
        kid = head.get("kid")
        if kid is not None and not _KID.fullmatch(kid):
            raise Forged("its kid is none")
        return kid, head["alg"]
