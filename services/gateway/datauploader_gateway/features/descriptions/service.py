"""What is said about the dataset of an upload: read it, complete it, correct it, during the upload and after it."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from datauploader.contracts import DatasetDescribed, Event, Parameter, Station, encode
from datauploader.contracts.envelope import LARGEST
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import ChangedMeanwhile, InvalidRequest, NotAllowed
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.settings import SERVICE

MOST_PARAMETERS = 200
_LONGEST_INT = 2**63
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _readable(text: str) -> str:
    if _CONTROLS.search(text):
        raise ValueError("this must not hold control characters, save tabs and line breaks")
    return text


def _with_line_feeds(value: object) -> object:
    """Take a browser's line breaks for what it counted them as: one character each."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_with_line_feeds), Field(max_length=4000), AfterValidator(_readable)]
BasedOn = Annotated[
    str | None,
    Field(
        max_length=200,
        description="`word` of what this corrects: 409 if it is not the last. Null: whatever it is.",
    ),
]
Value = (
    bool
    | Annotated[int, Field(ge=-_LONGEST_INT, lt=_LONGEST_INT)]
    | float
    | Annotated[str, Field(max_length=2000), AfterValidator(_readable)]
)


class ParameterBody(BaseModel):
    """One piece of metadata."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_readable)
    ]
    value: Value
    units: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60), AfterValidator(_readable)] = ""


class DatasetText(BaseModel):
    """What is to be said of a dataset; what is null stays as it is."""

    model_config = ConfigDict(extra="forbid")

    description: Text | None = None
    parameters: tuple[ParameterBody, ...] | None = Field(
        default=None, max_length=MOST_PARAMETERS, description="Set by their names; parameters that are not named stay."
    )
    based_on: BasedOn = None


class DescriptionService:
    """Reads descriptions, and publishes what people say."""

    def __init__(
        self, reader: ViewReader, publisher: CommandPublisher, metadata: MetadataForm, audit: AuditLog
    ) -> None:
        """Publish through `publisher` what `metadata` allows."""
        self._reader, self._publisher, self._metadata, self._audit = reader, publisher, metadata, audit

    async def of_dataset(self, upload: Upload) -> Description:
        """Return what is said of an upload's dataset."""
        return await self._reader.description(upload.id) or Description()

    async def describe_dataset(self, upload: Upload, asked: DatasetText, who: Caller, trace: str) -> Description:
        """Say what an upload's dataset is; it is kept until the catalogue has it.

        Raises:
            NotAllowed: the person is neither the requester nor staff.
            ChangedMeanwhile: somebody has said something else since.
            InvalidRequest: there is nothing to say, or too much, or a parameter is not as the facility wants it.
        """
        if not may_describe(who, upload):
            raise NotAllowed(
                "only the person who requested this upload, and staff, may describe its dataset",
                hint=f"Ask {upload.requested_by.name or upload.requested_by.id}.",
            )
        if asked.description is None and asked.parameters is None:
            raise InvalidRequest("there is neither a description nor a parameter", hint="Send at least one of them.")
        known = await self.of_dataset(upload)
        check_based_on(asked.based_on, known)
        given = asked.parameters or ()
        if len({one.name for one in given}) != len(given):
            raise InvalidRequest("parameters: a name appears twice", hint="Give each parameter once.")
        changed = {one.name: Parameter.model_validate(one.model_dump()) for one in given}
        parameters = tuple(({one.name: one for one in known.parameters} | changed).values())
        if len(parameters) > MOST_PARAMETERS:
            raise InvalidRequest(
                f"parameters: a dataset has at most {MOST_PARAMETERS}, these would be {len(parameters)}"
            )
        if given:
            self._metadata.validate_parameters([one for one in parameters if one.value != ""])
        data = DatasetDescribed(
            upload_id=upload.id,
            description=known.description if asked.description is None else asked.description,
            parameters=parameters,
            requested_by=who.user.person,
        )
        event = Event(data=data, station=Station.parse(upload.station), service=SERVICE, traceparent=trace)
        await self.publish(event)
        await self._audit.record(
            "dataset described", who=who.user.id, address=who.address, upload_id=upload.id, word=event.id
        )
        return await self.of_dataset(upload)

    async def publish(self, event: Event[Any]) -> None:
        """Keep a word until the catalogue has it, and show it at once; the queue brings it to the view once more.

        Raises:
            InvalidRequest: it is more than an event may hold.
        """
        if len(encode(event)) > LARGEST:
            raise InvalidRequest(
                "the description and the parameters together are too long",
                hint="Shorten them; put long values into a file of the dataset.",
            )
        about = event.data
        last = await self._reader.last_description(about.upload_id, getattr(about, "investigation", ""))
        await self._publisher.show_event(self._publisher.publish_event(event, after=last))


def may_describe(who: Caller, upload: Upload) -> bool:
    """Tell whether a person may describe an upload that they may see: the requester, and staff."""
    return upload.requested_by.id == who.user.id or who.user.role in ("staff", "operator")


def check_based_on(word: str | None, known: Description) -> None:
    """Let nobody correct what they have not seen.

    Raises:
        ChangedMeanwhile: somebody has said something else since.
    """
    if word is not None and word != known.word:
        by = known.by.name or known.by.id if known.by else "somebody"
        raise ChangedMeanwhile(f"{by} has changed the description in the meantime")
