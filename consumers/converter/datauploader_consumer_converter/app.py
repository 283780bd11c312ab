"""The consumer: one command for each dataset that is complete."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from datauploader.contracts import DatasetCompleted, Event
from datauploader.plugins.consumer import HandlerContext, consumer
from datauploader.runtime.config import SectionSettings
from datauploader_consumer_converter.command import run_command

PLACES = ("upload_id", "dataset_id", "station", "key")


class ConverterSettings(SectionSettings):
    """What the converter starts: table `[converter]`."""

    section: ClassVar[str] = "converter"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_CONVERTER_")

    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments, in which `{upload_id}`, `{dataset_id}`, `{station}` (facility.beamline.station)
    and `{key}` (the same whenever it is started for the same event) are replaced; no shell sees them."""
    folder: Path = Path()
    """Where it is started."""
    seconds: float = Field(default=3600.0, gt=0, le=7 * 24 * 3600)
    """How long it may take; then it is ended, and started again later."""

    @field_validator("command")
    @classmethod
    def _knows_its_places(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        for word in command:
            try:
                word.format(**dict.fromkeys(PLACES, ""))
            except (LookupError, ValueError, AttributeError):
                raise ValueError(
                    f"{word!r} can hold {', '.join(f'{{{place}}}' for place in PLACES)}; other braces are written twice"
                ) from None
        return command


app = consumer("converter", ConverterSettings)


@app.on(DatasetCompleted)
def convert(event: Event[DatasetCompleted], context: HandlerContext[ConverterSettings]) -> None:
    """Start the command, and wait for its end."""
    data, settings = event.data, context.settings
    known = dict(zip(PLACES, (data.upload_id, data.dataset_id, event.station.key, context.key), strict=True))
    words = [word.format(**known) for word in settings.command]
    run_command(words, settings.folder, seconds=settings.seconds, log=context.log, stopping=context.stopping)
