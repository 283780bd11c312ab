"""Which gateway, and the token for it: environment, configuration file, then what `login` has stored."""

import os
import tempfile
from pathlib import Path

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from datauploader.errors import BadRequest, ConfigurationError, SignInNeeded
from datauploader.runtime.config import ClientSettings, load
from datauploader_client.gateway_client import GatewayClient

SIGN_IN = "Sign in with: datauploader login"


class StoredLogin(BaseModel):
    """What `login` writes, readable by its owner only."""

    model_config = ConfigDict(frozen=True)

    gateway: str
    token: str


def stored_path(settings: ClientSettings) -> Path:
    """Name the file of the stored token."""
    return (settings.client_dir or Path(typer.get_app_dir("datauploader"))) / "login.json"


def read_login(settings: ClientSettings) -> StoredLogin | None:
    """Read the stored token, if there is one.

    Raises:
        ConfigurationError: the file is there and cannot be read.
    """
    path = stored_path(settings)
    try:
        return StoredLogin.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigurationError(f"{path} cannot be read; remove it and sign in again") from error


def store_login(settings: ClientSettings, login: StoredLogin) -> Path:
    """Write the token; at no moment can anybody else read it.

    Raises:
        ConfigurationError: the folder cannot be written to.
    """
    path = stored_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, draft = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(login.model_dump_json())
        Path(draft).replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}); name another folder in DATAUPLOADER_CLIENT_DIR"
        ) from error
    return path


def forget_login(settings: ClientSettings) -> None:
    """Remove the stored token."""
    stored_path(settings).unlink(missing_ok=True)


def gateway_url(settings: ClientSettings, given: str = "") -> str:
    """Decide which gateway is meant.

    Raises:
        BadRequest: none is named anywhere.
    """
    stored = read_login(settings)
    url = given or settings.gateway or (stored.gateway if stored else "")
    if not url:
        raise BadRequest("no gateway is configured", f"Set DATAUPLOADER_GATEWAY, or give --gateway URL. {SIGN_IN} URL")
    return url.rstrip("/")


def open_gateway(given: str = "") -> GatewayClient:
    """Connect to the gateway with the token that belongs to it, and to no other gateway.

    Raises:
        SignInNeeded: there is no token for this gateway.
    """
    settings = load(ClientSettings)
    url = gateway_url(settings, given)
    token = settings.token.get_secret_value()
    if not token:
        stored = read_login(settings)
        token = stored.token if stored and stored.gateway == url else ""
    if not token:
        raise SignInNeeded(f"you are not signed in at {url}", SIGN_IN)
    return GatewayClient(url, token)
