"""From the claims of a provider to a person of ours: who they are, and what they may see."""

from collections.abc import Mapping, Sequence

from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.errors import NotAllowed, SignInFailed
from datauploader_gateway.settings.oidc import OidcSettings, RoleRule

Claims = Mapping[str, object]
Kept = dict[str, tuple[str, ...]]
"""The claims that rules ask for, as a session keeps them."""
_LONGEST = 200
LEFT_OUT = "left out by the provider"
"""Where the kept claims say which of those that rules ask for the provider has not sent, because they were too many."""


def kept_claims(claims: Claims, rules: Sequence[RoleRule]) -> Kept:
    """Take out of the claims what the rules ask for, so that a changed rule changes who is already signed in."""
    kept = {rule.claim: _values(claims, rule.claim) for rule in rules}
    # left out for their size: OpenID Connect Core 1.0, 5.6.2; Entra ID's `hasgroups`
    elsewhere = claims.get("_claim_names")
    named = set(elsewhere) if isinstance(elsewhere, Mapping) else set()
    if _is_true(claims.get("hasgroups")):
        named.add("groups")
    missing = tuple(name for name, values in kept.items() if not values and name in named)
    return {**kept, LEFT_OUT: missing} if missing else kept


def identify(claims: Claims, settings: OidcSettings) -> SignedInUser:
    """Find out who this is, without a role yet.

    Raises:
        SignInFailed: the claim that names the person is not there.
        NotAllowed: it is an address that nobody has checked.
    """
    found = _values(claims, settings.user_claim)
    if len(found) != 1 or not 0 < len(found[0]) <= _LONGEST or not found[0].isprintable():
        raise SignInFailed(
            f"the provider does not say who you are: there is no usable claim {settings.user_claim!r}",
            hint="Tell the operator: gateway.oidc.user_claim or gateway.oidc.scopes may have to change.",
        )
    if settings.user_claim == "email" and not vouches(claims, settings):
        raise NotAllowed(
            "the provider does not say that it has verified your mail address",
            hint="Verify it there, then sign in again. An operator whose provider never says so sets "
            "gateway.oidc.trusted_email.",
        )
    name = _values(claims, settings.name_claim)
    return SignedInUser(id=found[0], name=name[0][:_LONGEST] if name else "")


def vouches(claims: Claims, settings: OidcSettings) -> bool:
    """Tell whether the mail address among the claims is this person's, by the provider's word or the operator's."""
    return settings.trusted_email or _is_true(claims.get("email_verified"))


def _is_true(said: object) -> bool:
    return said is True or said == "true"  # some providers write all claims as text


def with_role(user: SignedInUser, kept: Kept, rules: Sequence[RoleRule], settings: OidcSettings) -> SignedInUser | None:
    """Give the person the role that the rules give them now; None where they are not let in any more."""
    apply = [rule for rule in rules if rule.value in kept.get(rule.claim, ())]
    if not settings.on or (settings.members_only and not apply):
        return None
    if any(rule.role == "operator" for rule in apply):
        return user.model_copy(update={"role": "operator", "beamlines": ()})
    beamlines = tuple(sorted({beamline for rule in apply for beamline in rule.beamlines}))
    return user.model_copy(update={"role": "staff" if beamlines else "user", "beamlines": beamlines})


def _values(claims: Claims, path: str) -> tuple[str, ...]:
    found: object = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    items = found if isinstance(found, list) else [found]
    return tuple(str(item) for item in items if isinstance(item, str | int) and not isinstance(item, bool))
