"""Settings refuse what would not work or would not be safe, in words, without showing the secret."""

import pytest
from pydantic import ValidationError

from datauploader_catalog.settings import CatalogSettings, VuoProcedures, VuoSettings

CANARY = "canary-secret"


@pytest.mark.parametrize(
    "url", ["https://vuo.example.org", "http://127.0.0.1:8080", "http://[::1]:80", "http://localhost"]
)
def test_tls_is_needed_beyond_this_machine(url: str) -> None:
    """HTTPS anywhere, plain HTTP on loopback."""
    assert VuoSettings(base_url=url, secret=CANARY).base_url


def test_plain_http_to_another_machine_is_refused_without_showing_the_secret() -> None:
    """The sentence names the remedy; the secret stays out of it."""
    with pytest.raises(ValidationError, match="use https") as error:
        VuoSettings(base_url="http://vuo.example.org", secret=CANARY)
    assert CANARY not in str(error.value)
    assert VuoSettings(base_url="http://vuo.example.org", secret=CANARY, allow_http=True)


def test_vuo_without_an_address_says_what_to_set() -> None:
    """The sentence names the variables."""
    with pytest.raises(ValidationError, match="DATAUPLOADER_CATALOG_VUO__BASE_URL"):
        CatalogSettings()


@pytest.mark.parametrize("name", ["../admin", "a/b", "a?b", "http://evil", "", "a.b.c"])
def test_a_procedure_name_cannot_leave_its_place(name: str) -> None:
    """A procedure is one name, or a package and a name."""
    with pytest.raises(ValidationError):
        VuoProcedures(find_dataset=name)
