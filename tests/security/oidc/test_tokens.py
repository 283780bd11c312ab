"""S2 to S4: tokens that look like the identity provider's and are not, or not for us, or not of now."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from datauploader_gateway.auth.oidc.verifying import SKEW_S, TokenVerifier
from datauploader_gateway.errors import Forged
from datauploader_gateway.settings.oidc import OidcSettings

Make = Callable[[Any], str]
STRANGER = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
"""A key that the issuer does not have, under a name that it has."""


def encoded(value: object) -> str:
    """Write a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def encoded_claims(token: str) -> str:
    """Return the middle part of a token."""
    return token.split(".")[1]


def by_hand(issuer: Any, head: object, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """Write a token that no library would."""
    text = f"{encoded(head)}.{encoded(issuer.claims())}"
    return f"{text}.{base64.urlsafe_b64encode(sign(text.encode())).rstrip(b'=').decode()}"


def with_public_key(issuer: Any, secret: bytes) -> str:
    """Sign with what everybody knows, as if it were a secret."""
    head = {"alg": "HS256", "kid": "first", "typ": "at+jwt"}
    return by_hand(issuer, head, lambda text: hmac.digest(secret, text, hashlib.sha256))


def by_stranger(issuer: Any, **head: Any) -> str:
    """Sign with a key of one's own, and bring it along."""
    plain = {"alg": "RS256", "kid": "first", "typ": "at+jwt"}
    return by_hand(issuer, plain | head, lambda text: _rs256(STRANGER, text))


def by_issuer(issuer: Any, **head: Any) -> str:
    """Sign with the right key, under a head that is not right."""
    plain = {"alg": "RS256", "kid": "first", "typ": "at+jwt"}
    return by_hand(issuer, plain | head, lambda text: _rs256(issuer.key, text))


def _rs256(key: RSAKey, text: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return key.private_key.sign(text, PKCS1v15(), SHA256())


FORGED: dict[str, Make] = {
    "alg none": lambda i: by_hand(i, {"alg": "none", "kid": "first", "typ": "at+jwt"}),
    "alg None": lambda i: by_hand(i, {"alg": "None", "kid": "first", "typ": "at+jwt"}),
    "alg empty": lambda i: by_hand(i, {"alg": "", "kid": "first", "typ": "at+jwt"}),
    "alg missing": lambda i: by_hand(i, {"kid": "first", "typ": "at+jwt"}),
    "alg a list": lambda i: by_issuer(i, alg=["RS256"]),
    "alg not in the list": lambda i: jwt.encode({"alg": "RS384", "kid": "first"}, i.claims(), i.key, ["RS384"]),
    "HS256 with the public key": lambda i: with_public_key(i, i.key.as_pem(private=False)),
    "HS256 with the key set": lambda i: with_public_key(i, json.dumps(i.pages()["/jwks"]).encode()),
    "HS256 with the modulus": lambda i: with_public_key(i, i.key.as_dict(private=False)["n"].encode()),
    "key of a stranger": by_stranger,
    "jwk": lambda i: by_stranger(i, jwk=STRANGER.as_dict(private=False)),
    "jku": lambda i: by_stranger(i, jku=f"{i.url}/evil-jwks"),
    "x5u": lambda i: by_stranger(i, x5u=f"{i.url}/evil-chain"),
    "x5c": lambda i: by_stranger(i, x5c=["MIIB"]),
    "jwk beside a right signature": lambda i: by_issuer(i, jwk=STRANGER.as_dict(private=False)),
    "jku beside a right signature": lambda i: by_issuer(i, jku=f"{i.url}/evil-jwks"),
    "x5u beside a right signature": lambda i: by_issuer(i, x5u=f"{i.url}/evil-chain"),
    "kid of a file": lambda i: by_stranger(i, kid="../../../../dev/null"),
    "kid of a query": lambda i: by_stranger(i, kid="x' UNION SELECT 'secret"),
    "kid a number": lambda i: by_issuer(i, kid=1),
    "kid nothing": lambda i: by_issuer(i, kid=None),
    "kid a list": lambda i: by_issuer(i, kid=["first"]),
    "kid long": lambda i: by_issuer(i, kid="k" * 300),
    "kid with a line feed": lambda i: by_issuer(i, kid="first\n"),
    "kid unknown": lambda i: by_issuer(i, kid="second"),
    "crit unknown": lambda i: by_issuer(i, crit=["urn:example:more"], **{"urn:example:more": True}),
    "crit known": lambda i: by_issuer(i, crit=["alg"]),
    "crit empty": lambda i: by_issuer(i, crit=[]),
    "b64 false": lambda i: by_issuer(i, b64=False, crit=["b64"]),
    "head a list": lambda i: by_hand(i, ["alg"]),
    "head a number": lambda i: by_hand(i, 7),
    "head deep": lambda i: f"{base64.urlsafe_b64encode(b'[' * 300).decode()}.e30.AA",
    "payload changed": lambda i: i.token().replace(encoded_claims(i.token()), encoded(i.claims(sub="otto"))),
    "payload a list": lambda i: _signed(i, b"[]"),
    "payload deep": lambda i: _signed(i, b"[" * 5000),
    "payload no UTF-8": lambda i: _signed(i, b"\xff"),
    "signature missing": lambda i: i.token().rpartition(".")[0] + ".",
    "a part too few": lambda i: i.token().rpartition(".")[0],
    "a part too many": lambda i: i.token() + ".AA",
    "long": lambda i: i.token(more="x" * 20_000),
    "encrypted": lambda i: f"{encoded({'alg': 'RSA-OAEP', 'enc': 'A256GCM', 'kid': 'first'})}.AA.AA.AA.AA",
}  # fmt: skip


def _signed(issuer: Any, payload: bytes) -> str:
    from joserfc import jws

    return jws.serialize_compact({"alg": "RS256", "kid": "first", "typ": "at+jwt"}, payload, issuer.key)


@pytest.mark.attack("S2")
def test_no_forged_token_opens_the_door_or_makes_the_gateway_ask_anybody(door: Any, issuer: Any) -> None:
    """A good one does; each of the others is 401, and nothing is fetched for any of them."""
    assert door.status(issuer.token()) == 200
    asked = list(issuer.asked)
    answers = {name: door.status(make(issuer)) for name, make in FORGED.items()}
    assert {name: status for name, status in answers.items() if status != 401} == {}
    assert issuer.asked == asked
    assert door.status(issuer.token()) == 200


@pytest.mark.attack("S2")
def test_a_symmetric_key_in_the_key_set_is_no_key(door: Any, issuer: Any) -> None:
    """What everybody can read in the key set cannot sign."""
    secret = OctKey.generate_key(256, {"kid": "shared"})
    pages = issuer.pages()
    pages["/jwks"]["keys"].append(secret.as_dict(private=True))
    issuer.pages = lambda: pages
    token = jwt.encode({"alg": "HS256", "kid": "shared", "typ": "at+jwt"}, issuer.claims(), secret)
    assert door.status(token) == 401
    assert door.status(issuer.token()) == 200


REFUSED_CLAIMS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://other.facility.eu"},
    "several other audiences": {"aud": ["https://other.facility.eu", "account"]},
    "no audience": {"aud": None},
    "an audience that begins alike": {"aud": "https://upload.facility.eu/api/v2"},
    "another issuer": {"iss": "https://evil.example"},
    "an issuer that begins alike": {"iss": "{issuer}.evil.example"},
    "an issuer with a slash": {"iss": "{issuer}/"},
    "no issuer": {"iss": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a number as subject": {"sub": 7},
    "no end": {"exp": None},
    "an end that is no number": {"exp": "never"},
    "an end that is not a number": {"exp": float("nan")},
    "no beginning": {"iat": None},
}


@pytest.mark.attack("S3")
def test_a_token_for_others_or_by_others_is_refused(door: Any, issuer: Any) -> None:
    """Audience, issuer, subject and times must be there and right; one audience among several is enough."""
    assert door.status(issuer.token(aud=["account", "https://upload.facility.eu/api"])) == 200
    for name, claims in REFUSED_CLAIMS.items():
        changed = {k: v.format(issuer=issuer.url) if isinstance(v, str) else v for k, v in claims.items()}
        assert door.status(issuer.token(**changed)) == 401, name


@pytest.mark.attack("S3")
def test_a_token_without_a_subject_is_refused_whatever_names_the_person(open_door: Any, issuer: Any) -> None:
    """Where the catalogue knows people by another claim, the subject must be there all the same."""
    door = open_door(oidc={"user_claim": "vuo_id"})
    assert door.status(issuer.token(vuo_id=7)) == 200
    assert door.status(issuer.token(vuo_id=7, sub=None)) == 401


@pytest.mark.attack("S3")
def test_id_and_refresh_tokens_are_no_access_tokens(door: Any, issuer: Any, scene: Any) -> None:
    """Not even with the right audience in them, and not under the right type."""
    both = [scene.CLIENT, scene.AUDIENCE]
    assert door.status(issuer.id_token("n")) == 401
    assert door.status(issuer.id_token("n", aud=both)) == 401
    assert door.status(issuer.token(nonce="n", at_hash="x")) == 401
    assert door.status(issuer.token({"typ": "JWT"}, typ="Refresh")) == 401
    assert door.status(issuer.token({"typ": "logout+jwt"})) == 401
    assert door.status(issuer.token({"typ": "application/at+JWT"})) == 200


@pytest.mark.attack("S3")
def test_where_access_tokens_have_no_type_of_their_own_the_others_are_still_told_apart(
    open_door: Any, issuer: Any, scene: Any
) -> None:
    """As Keycloak has it: `JWT` in the head of all, and `typ` among the claims."""
    door = open_door(oidc={"access_token_types": ("JWT",)})
    assert door.status(issuer.token({"typ": "JWT"}, typ="Bearer", azp=scene.CLIENT)) == 200
    assert door.status(issuer.token({"typ": "JWT"}, typ="ID")) == 401
    assert door.status(issuer.token({"typ": "JWT"}, typ="Refresh")) == 401
    assert door.status(issuer.id_token("n", aud=[scene.CLIENT, scene.AUDIENCE])) == 401


@pytest.mark.attack("S3")
def test_the_audience_cannot_be_configured_to_take_id_tokens(issuer: Any, scene: Any) -> None:
    """The gateway does not start so."""
    with pytest.raises(ValueError, match="audience must differ"):
        OidcSettings(issuer=issuer.url, client_id=scene.CLIENT, audience=scene.CLIENT)


class _Known:
    """Knows the issuer's key."""

    def __init__(self, key: RSAKey) -> None:
        self._key = key

    async def find(self, _kid: str | None, _algorithm: str, *, patient: bool) -> RSAKey:
        """Return it."""
        return self._key


@pytest.mark.attack("S4")
@pytest.mark.parametrize(("off_s", "accepted"), [(0, True), (SKEW_S, True), (61, False), (-SKEW_S, True), (-61, False)])
def test_clocks_may_differ_by_half_a_minute(issuer: Any, scene: Any, off_s: int, accepted: bool) -> None:
    """To the second: 30 s too late or too early is accepted, 61 s is not."""
    import asyncio

    settings = OidcSettings(issuer=issuer.url, client_id=scene.CLIENT, audience=scene.AUDIENCE)
    made = int(time.time())
    times = {"iat": made, "nbf": made, "exp": made + 300} if off_s < 0 else {"iat": made - 300, "exp": made}
    verifier = TokenVerifier(settings, _Known(issuer.key), lambda: made + off_s)  # type: ignore[arg-type]
    check = verifier.verify(issuer.token(**times), scene.AUDIENCE, patient=True)
    if accepted:
        assert asyncio.run(check).claims["sub"] == "anna"
    else:
        with pytest.raises(Forged):
            asyncio.run(check)


@pytest.mark.attack("S4")
def test_the_gateway_keeps_to_it(door: Any, issuer: Any) -> None:
    """The same at the door, with a second or two to spare; a year that there is not is no error."""
    now = int(time.time())
    assert door.status(issuer.token(exp=now - 28)) == 200
    assert door.status(issuer.token(exp=now - 61)) == 401
    assert door.status(issuer.token(nbf=now + 28)) == 200
    assert door.status(issuer.token(nbf=now + 62)) == 401
    assert door.status(issuer.token(iat=now + 62)) == 401
    assert door.status(issuer.token(exp=10**18)) == 200
