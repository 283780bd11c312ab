"""The consumer: which sentence the chat gets for which event."""

from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from datauploader.contracts import DatasetCompleted, DatasetRefused, Event
from datauploader.plugins.consumer import HandlerContext, consumer
from datauploader.runtime.config import SectionSettings
from datauploader.wording import count, size
from datauploader_consumer_notifier.chat import post_message


class NotifierSettings(SectionSettings):
    """Where the notifier's messages go: table `[notifier]`."""

    section: ClassVar[str] = "notifier"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_NOTIFIER_")

    url: SecretStr
    """Address of the chat's incoming webhook (Mattermost, Slack, Teams). Whoever knows it may write there, so it
    belongs into a file: `DATAUPLOADER_NOTIFIER_URL_FILE`."""
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    """How long the chat may take to connect, and between two parts of its answer."""

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: SecretStr) -> SecretStr:
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the webhook's address must begin with https:// or http:// and name a host")
        return url


app = consumer("notifier", NotifierSettings)


@app.on(DatasetCompleted)
def tell_completed(event: Event[DatasetCompleted], context: HandlerContext[NotifierSettings]) -> None:
    """Say that a dataset is complete, and where it is."""
    data = event.data
    where = data.doi or data.url
    _tell(
        f"{event.station}: dataset {data.dataset_id} is complete, {count(data.files, 'file')}, {size(data.bytes)}."
        f"{f' {where}' if where else ''}",
        context,
    )


@app.on(DatasetRefused)
def tell_refused(event: Event[DatasetRefused], context: HandlerContext[NotifierSettings]) -> None:
    """Say that the catalogue does not take a dataset, and what to do."""
    data = event.data
    what = f"the catalogue refuses the dataset of upload {data.upload_id}"
    _tell(f"{event.station}: {what}. {data.detail} {data.hint}", context)


def _tell(sentence: str, context: HandlerContext[NotifierSettings]) -> None:
    post_message(context.settings.url.get_secret_value(), sentence, timeout_s=context.settings.timeout_s)
    context.log.info("chat_told")
