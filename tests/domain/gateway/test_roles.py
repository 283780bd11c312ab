"""What an identity provider says of somebody, and who that is here."""

from typing import Any

import pytest
from pydantic import ValidationError

from datauploader_gateway.auth.oidc.roles import LEFT_OUT, identify, kept_claims, with_role
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.errors import NotAllowed, SignInFailed
from datauploader_gateway.settings.oidc import OidcSettings, RoleRule

KEYCLOAK = RoleRule(claim="realm_access.roles", value="operator", role="operator")
XRD1 = RoleRule(value="xrd1", role="staff", beamlines=("elettra.xrd1",))
BOTH = RoleRule(value="scattering", role="staff", beamlines=("elettra.xrd1", "elettra.saxs"))
URL = RoleRule(claim="https://facility.eu/groups", value="xrd1", role="staff", beamlines=("elettra.xrd1",))
FLAG = RoleRule(claim="is_operator", value="1", role="operator")


def settings(**changes: Any) -> OidcSettings:
    """Return settings of a provider."""
    return OidcSettings(**{"issuer": "https://id.facility.eu", "client_id": "datauploader", **changes})


def role(claims: dict[str, Any], *rules: RoleRule, **changes: Any) -> tuple[str, tuple[str, ...]] | None:
    """Return the role and the beamlines that somebody with these claims has."""
    user = with_role(SignedInUser(id="anna"), kept_claims(claims, rules), rules, settings(**changes))
    return (user.role, user.beamlines) if user else None


@pytest.mark.parametrize(
    ("claims", "rules", "expected"),
    [
        ({}, (XRD1, KEYCLOAK), ("user", ())),
        ({"groups": ["xrd1", "x"]}, (XRD1,), ("staff", ("elettra.xrd1",))),
        ({"groups": "xrd1"}, (XRD1,), ("staff", ("elettra.xrd1",))),
        ({"groups": "xrd1 x"}, (XRD1,), ("user", ())),
        ({"groups": ["XRD1"]}, (XRD1,), ("user", ())),
        ({"groups": ["xrd1", "scattering"]}, (XRD1, BOTH), ("staff", ("elettra.saxs", "elettra.xrd1"))),
        ({"realm_access": {"roles": ["operator"]}, "groups": ["xrd1"]}, (XRD1, KEYCLOAK), ("operator", ())),
        ({"realm_access": ["operator"]}, (KEYCLOAK,), ("user", ())),
        ({"realm_access.roles": ["operator"]}, (KEYCLOAK,), ("operator", ())),
        ({"https://facility.eu/groups": ["xrd1"]}, (URL,), ("staff", ("elettra.xrd1",))),
        ({"is_operator": True}, (FLAG,), ("user", ())),
        ({"is_operator": 1}, (FLAG,), ("operator", ())),
        ({"groups": [["xrd1"], {"xrd1": 1}, None]}, (XRD1,), ("user", ())),
    ],
)
def test_rules_find_their_values(claims: dict[str, Any], rules: tuple[RoleRule, ...], expected: Any) -> None:
    """One value or several, deep or flat, never by accident."""
    assert role(claims, *rules) == expected


def test_members_only_needs_a_rule_that_applies() -> None:
    """Also one that gives no more than the role user."""
    member = RoleRule(value="users", role="user")
    assert role({"groups": []}, member, members_only=True) is None
    assert role({"groups": ["users"]}, member, members_only=True) == ("user", ())


def test_without_a_provider_nobody_is_let_in_who_came_from_it() -> None:
    """A session of before is over when the administrator takes the provider away."""
    assert with_role(SignedInUser(id="anna"), {}, (), OidcSettings()) is None


@pytest.mark.parametrize("found", [None, "", "a" * 201, "a\nb", ["a", "b"], {"x": 1}, True])
def test_who_has_no_usable_identifier_is_nobody(found: Any) -> None:
    """Missing, empty, endless, with control characters, several, or no text at all."""
    with pytest.raises(SignInFailed, match="vuo_id"):
        identify({"vuo_id": found, "sub": "s"}, settings(user_claim="vuo_id"))


def test_a_number_is_an_identifier_as_the_catalogue_writes_it() -> None:
    """The VUO's identifiers are numbers, and text everywhere here."""
    found = identify({"vuo_id": 1234, "name": "Anna"}, settings(user_claim="vuo_id"))
    assert found == SignedInUser(id="1234", name="Anna")


@pytest.mark.parametrize("verified", [None, False, "false", "yes", 1])
def test_a_mail_address_that_nobody_has_checked_is_no_identity(verified: Any) -> None:
    """Anybody could have written it into their profile."""
    claims = {"email": "anna@facility.eu", "email_verified": verified}
    with pytest.raises(NotAllowed):
        identify(claims, settings(user_claim="email"))
    for word in (True, "true"):
        assert identify(claims | {"email_verified": word}, settings(user_claim="email")).id == "anna@facility.eu"
    assert identify(claims, settings(user_claim="email", trusted_email=True)).id == "anna@facility.eu"


@pytest.mark.parametrize(
    ("claims", "missing"),
    [
        ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}, ("groups",)),
        ({"hasgroups": "true"}, ("groups",)),
        ({"groups": ["staff"], "hasgroups": True}, None),
        ({"groups": []}, None),
        ({}, None),
    ],
)
def test_groups_that_the_provider_has_left_out_are_not_taken_for_none(
    claims: dict[str, Any], missing: tuple[str, ...] | None
) -> None:
    """There were too many for a token; a person without groups is another thing."""
    kept = kept_claims(claims, (RoleRule(value="staff", role="operator"),))
    assert kept.get(LEFT_OUT) == missing


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://id.facility.eu"},
        {"issuer": "id.facility.eu"},
        {"client_id": ""},
        {"scopes": ("profile",)},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"audience": "datauploader"},
        {"access_token_types": ()},
    ],
)
def test_a_provider_that_could_not_be_trusted_is_refused_at_the_start(wrong: dict[str, Any]) -> None:
    """No plain HTTP, no symmetric or missing signatures, no audience that ID tokens have."""
    with pytest.raises(ValidationError):
        settings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "staff"},
        {"role": "operator", "beamlines": ("elettra.xrd1",)},
        {"role": "staff", "beamlines": ("xrd1",)},
        {"role": "root"},
    ],
)
def test_a_rule_that_means_nothing_is_refused_at_the_start(wrong: dict[str, Any]) -> None:
    """Staff of no beamline, beamlines for others, beamlines without a facility, roles that are none."""
    with pytest.raises(ValidationError):
        RoleRule(value="x", **wrong)
