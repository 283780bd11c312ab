"""The consumer: one RO-Crate for each dataset that is complete, with the latest description."""

import re
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from datauploader.contracts import DatasetAnnotated, DatasetCompleted, Event
from datauploader.plugins.consumer import HandlerContext, consumer
from datauploader.runtime.config import SectionSettings
from datauploader_consumer_ro_crate.crates import crate_path, write_crate
from datauploader_consumer_ro_crate.receipts import GatewayReceipts


class RoCrateSettings(SectionSettings):
    """Where RO-Crates come from and go to: table `[ro_crate]`."""

    section: ClassVar[str] = "ro_crate"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_RO_CRATE_")

    folder: Path
    """The folder below which `<investigation>/<dataset>/ro-crate-metadata.json` is written; it must exist."""
    gateway: str
    """Address of the gateway, such as `https://datauploader.example.org`."""
    token: SecretStr
    """Token for the gateway, of an account that may see all uploads that are wanted: staff of their beamlines, or an
    operator. It belongs into a file: `DATAUPLOADER_RO_CRATE_TOKEN_FILE`."""
    timeout_s: float = Field(default=60.0, gt=0, le=600)
    """How long the gateway may take to connect, and between two parts of its answer."""

    @field_validator("gateway")
    @classmethod
    def _is_web_address(cls, gateway: str) -> str:
        parts = urlsplit(gateway)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the gateway's address must begin with https:// or http:// and name a host")
        return gateway

    @field_validator("token")
    @classmethod
    def _is_token(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("the token must be one line without spaces, as the page /token shows it")
        return token


app = consumer("ro-crate", RoCrateSettings)


@app.on(DatasetCompleted, DatasetAnnotated)
def describe_dataset(
    event: Event[DatasetCompleted | DatasetAnnotated], context: HandlerContext[RoCrateSettings]
) -> None:
    """Fetch the dataset's receipt as RO-Crate, and write it where the dataset's name says.

    What is said of a dataset before it is complete is in the crate that is written then.
    """
    settings, upload_id = context.settings, event.data.upload_id
    token = settings.token.get_secret_value()
    with GatewayReceipts(settings.gateway, token, settings.timeout_s, attempt=context.attempt) as receipts:
        found = receipts.dataset(upload_id)
        if isinstance(event.data, DatasetAnnotated) and found.state != "completed":
            return
        path = crate_path(settings.folder, found.investigation, found.dataset)
        changed = write_crate(path, receipts.crate(upload_id), key=context.key, stopping=context.stopping)
    context.log.info("crate_written" if changed else "crate_is_the_same", path=str(path))
