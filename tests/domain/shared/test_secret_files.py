"""Secrets from files: what `NAME_FILE` names is read, and nothing else is taken for a secret."""

from pathlib import Path

import pytest

from datauploader.errors import ConfigurationError
from datauploader.runtime.config import Settings, load
from datauploader.runtime.settings_index import unknown_variables
from datauploader_catalog.settings import CatalogSettings
from datauploader_gateway.settings import GatewaySettings


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Write a file as an editor leaves it, with a line end."""
    path = tmp_path / "secret"
    path.write_text("amqp://me:pa ss@host\n", encoding="utf-8")
    return path


def test_a_secret_is_read_from_the_file_that_is_named(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    """At the top, in a table, in a table of a table, and among the secrets of a remote; without its line end."""
    for name in ("BROKER", "CATALOG_VUO__SECRET", "GATEWAY_REDIS", "REMOTES__ARCHIVE__SECRETS__PASS"):
        monkeypatch.setenv(f"DATAUPLOADER_{name}_FILE", str(secret))
    monkeypatch.setenv("DATAUPLOADER_REMOTES__ARCHIVE__TYPE", "webdav")
    monkeypatch.setenv("DATAUPLOADER_CATALOG_VUO__BASE_URL", "https://vuo.facility.eu")
    common, gateway = load(Settings), load(GatewaySettings)
    assert common.broker.get_secret_value() == "amqp://me:pa ss@host"
    assert common.remotes["archive"]["secrets"]["pass"] == "amqp://me:pa ss@host"
    assert load(CatalogSettings).vuo.secret.get_secret_value() == "amqp://me:pa ss@host"
    assert gateway.redis.get_secret_value() == "amqp://me:pa ss@host"


def test_what_is_no_secret_keeps_its_meaning(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    """A certificate is a file itself, and so is a key that rclone reads."""
    monkeypatch.setenv("DATAUPLOADER_CATALOG_VUO__BASE_URL", "https://vuo.facility.eu")
    monkeypatch.setenv("DATAUPLOADER_CATALOG_VUO__SECRET", "s")
    monkeypatch.setenv("DATAUPLOADER_CATALOG_VUO__CA_FILE", str(secret))
    monkeypatch.setenv("DATAUPLOADER_REMOTES__ARCHIVE__OPTIONS__KEY_FILE", str(secret))
    assert load(CatalogSettings).vuo.ca_file == secret
    assert load(Settings).remotes["archive"]["options"]["key_file"] == str(secret)


def test_a_file_that_cannot_be_read_is_a_sentence(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    """Nothing begins without the secret, or with one of two."""
    monkeypatch.setenv("DATAUPLOADER_BROKER_FILE", "/nowhere/secret")
    with pytest.raises(ConfigurationError, match="DATAUPLOADER_BROKER_FILE names /nowhere/secret, which cannot"):
        load(Settings)
    monkeypatch.setenv("DATAUPLOADER_BROKER_FILE", str(secret))
    monkeypatch.setenv("DATAUPLOADER_BROKER", "amqp://other")
    with pytest.raises(ConfigurationError, match="DATAUPLOADER_BROKER and DATAUPLOADER_BROKER_FILE are both set"):
        load(Settings)


def test_the_check_of_the_configuration_knows_them() -> None:
    """A misspelt one is still shown."""
    names = ["DATAUPLOADER_BROKER_FILE", "DATAUPLOADER_CATALOG_VUO__SECRET_FILE", "DATAUPLOADER_BROKR_FILE"]
    assert unknown_variables(names) == ["DATAUPLOADER_BROKR_FILE"]
