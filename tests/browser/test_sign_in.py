"""Signing in, out, and changing places, as a browser goes through it with its cookies and its own headers."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from datauploader_sandbox.browser.site import Site
from datauploader_sandbox.browser.visitor import Visitor

Come = Callable[..., Visitor]
SITE = {"provider": True}


def test_a_wrong_password_keeps_the_name_and_the_right_one_leads_to_the_page(visitor: Come) -> None:
    """The form says so in a sentence, and the goal survives the second try."""
    anna = visitor()
    anna.open("/token")
    anna.fill_in("anna", "wrong")
    expect(anna.page.get_by_role("alert")).to_be_visible()
    expect(anna.page.get_by_label("Name", exact=True)).to_have_value("anna")
    expect(anna.page.get_by_label("Password")).to_be_focused()
    anna.fill_in("anna")
    expect(anna.heading("A token for the command line")).to_be_visible()
    expect(anna.page.locator(".whoami strong")).to_have_text("Anna Moretti")
    anna.excuse("status of 401 .*/sign-in")
    assert not [cookie for cookie in anna.context.cookies() if not cookie["httpOnly"]], "a script could read this"


def test_the_identity_provider_leads_back_to_the_page_that_was_wanted(visitor: Come, site: Site) -> None:
    """Another site's pages lie between; the browser says so in its fetch metadata, and the way ends well."""
    anna = visitor()
    seen: dict[str, Any] = {}
    anna.context.on(
        "request",
        lambda request: seen.update({request.url.partition("?")[0]: request}) if request.redirected_from else None,
    )
    anna.open("/token")
    anna.page.get_by_role("link", name="Sign in with Elettra").click()
    assert site.provider is not None
    expect(anna.page).to_have_url(re.compile(f"^{site.provider.issuer}/interaction/"))
    anna.sign_in_at_provider("anna")
    expect(anna.heading("A token for the command line")).to_be_visible()
    expect(anna.page.locator(".whoami strong")).to_have_text("Anna Moretti")
    back = seen[f"{site.url}/api/v1/oidc/callback"].all_headers()
    assert (back["sec-fetch-mode"], back["sec-fetch-site"]) == ("navigate", "cross-site")


def test_signing_out_ends_the_session_at_the_provider_too(visitor: Come, site: Site) -> None:
    """Else the next person at this computer would be this one after one click."""
    anna = visitor()
    anna.open("/")
    sign_in(anna, "anna")
    anna.button("Sign out").click()
    assert site.provider is not None
    expect(anna.page).to_have_url(re.compile(f"^{site.provider.issuer}/session/end"))
    anna.page.get_by_role("button", name="Yes, sign me out").click()
    expect(anna.heading("Sign in")).to_be_visible()
    anna.page.get_by_role("link", name="Sign in with Elettra").click()
    expect(anna.page.locator("input[name=login]")).to_be_visible()


def test_the_next_person_takes_the_place_of_the_one_before(visitor: Come) -> None:
    """The provider asks who comes, although it still knows who was there."""
    pc = visitor()
    pc.open("/")
    sign_in(pc, "anna")
    pc.button("Switch user").click()
    pc.sign_in_at_provider("ben")
    expect(pc.page.locator(".whoami strong")).to_have_text("Ben Okafor")
    expect(pc.heading("Now")).to_be_visible()


def sign_in(person: Visitor, name: str) -> None:
    """Go through the identity provider's pages and come back."""
    person.page.get_by_role("link", name="Sign in with Elettra").click()
    person.sign_in_at_provider(name)
    expect(person.page.locator(".whoami")).to_be_visible()
