"""Settings of the user office's broker refuse what would not be safe, in words, without showing the password."""

import pytest
from pydantic import ValidationError

from datauploader_catalog.settings import CatalogSettings, UserOfficeSettings
from datauploader_catalog.useroffice import broker_url

CANARY = "canary-secret"


@pytest.mark.parametrize("url", [f"amqps://u:{CANARY}@broker.eu/v", "amqp://127.0.0.1/v", "amqp://u:p@[::1]:5672"])
def test_tls_is_needed_beyond_this_machine(url: str) -> None:
    """AMQP over TLS anywhere, without it on loopback."""
    assert UserOfficeSettings.model_validate({"url": url}).url.get_secret_value() == url


@pytest.mark.parametrize("url", [f"amqp://u:{CANARY}@broker.eu/v", f"amqp://u:{CANARY}@[broker.eu/v"])
def test_a_broker_without_tls_is_refused_without_showing_the_password(url: str) -> None:
    """Whoever could write on the way would say who may upload."""
    with pytest.raises(ValidationError, match="amqps") as error:
        UserOfficeSettings.model_validate({"url": url})
    assert CANARY not in str(error.value)
    assert UserOfficeSettings.model_validate({"url": "amqp://broker.eu/v", "allow_plain": True})


def test_certificates_of_the_facility_go_into_the_address() -> None:
    """Beside what stands there already."""
    for url, expected in (
        ("amqps://broker.eu/v", "amqps://broker.eu/v?cafile=%2Fetc%2Fca+1.pem"),
        ("amqps://broker.eu/v?heartbeat=5", "amqps://broker.eu/v?heartbeat=5&cafile=%2Fetc%2Fca+1.pem"),
    ):
        settings = UserOfficeSettings.model_validate({"url": url, "ca_file": "/etc/ca 1.pem"})
        assert broker_url(settings) == expected


def test_investigations_are_not_made_beside_the_user_office() -> None:
    """Somebody could make one with the code of another's proposal."""
    office = {"url": "amqps://broker.eu/v"}
    with pytest.raises(ValidationError, match="create_investigations cannot be on"):
        CatalogSettings.model_validate({"adapter": "memory", "useroffice": office, "create_investigations": True})


def test_somebody_must_decide() -> None:
    """All switched off would let nobody in."""
    with pytest.raises(ValidationError, match="decides"):
        UserOfficeSettings.model_validate({"url": "amqps://broker.eu/v", "decides": []})
