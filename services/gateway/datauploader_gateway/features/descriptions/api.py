"""What is said about the dataset of an upload: read it, complete it, correct it, during the upload and after it."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from datauploader.contracts import DatasetDescribed, Event, Parameter, Station, encode
from datauploader.contracts.envelope import LARGEST
from datauploader_gateway.auth.dependency import Caller, SignedIn, UploadInSight
from datauploader_gateway.errors import ChangedMeanwhile, InvalidRequest, NotAllowed
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.projection.description import Description
from datauploader_gateway.projection.summary import Upload
from datauploader_gateway.settings import SERVICE

router = APIRouter(prefix="/uploads", tags=["uploads"])

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


@router.get(
    "/{upload_id}/dataset", responses=documented(401, 403, 404, 422, 503), summary="What is said of the dataset"
)
async def show_description(upload: UploadInSight, parts: UseParts) -> Description:
    """Show description and parameters, and whether the catalogue has them."""
    return await described(upload, parts)


@router.patch(
    "/{upload_id}/dataset", status_code=202, responses=documented(401, 403, 404, 409, 422, 503), summary="Describe it"
)
async def patch_description(
    upload: UploadInSight, asked: DatasetText, request: Request, who: SignedIn, parts: UseParts
) -> Description:
    """Complete or correct description and parameters; shown at once, and told to the catalogue until that has it."""
    return await describe(upload, asked, who, parts, traceparent=traceparent(request.scope))


def first_fault(error: ValidationError) -> str:
    """Say what is wrong with the first field of a form."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{' '.join(str(place) for place in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"


def may_describe(who: Caller, upload: Upload) -> bool:
    """Tell whether a person may describe an upload that they may see: the requester, and staff."""
    return upload.requested_by.id == who.user.id or who.user.role in ("staff", "operator")


async def described(upload: Upload, parts: Parts) -> Description:
    """Return what is said of an upload's dataset."""
    return await parts.reader.description(upload.id) or Description()


async def describe(upload: Upload, asked: DatasetText, who: Caller, parts: Parts, *, traceparent: str) -> Description:
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
    known = await described(upload, parts)
    check_based_on(asked.based_on, known)
    parameters = _merged(known.parameters, asked.parameters or ())
    if asked.parameters:
        parts.metadata.validate_parameters([one for one in parameters if one.value != ""])
    data = DatasetDescribed(
        upload_id=upload.id,
        description=known.description if asked.description is None else asked.description,
        parameters=parameters,
        requested_by=who.user.person,
    )
    event = Event(data=data, station=Station.parse(upload.station), service=SERVICE, traceparent=traceparent)
    await say(event, parts)
    await parts.audit.record(
        "dataset described", who=who.user.id, address=who.address, upload_id=upload.id, word=event.id
    )
    return await described(upload, parts)


def check_based_on(word: str | None, known: Description) -> None:
    """Let nobody correct what they have not seen.

    Raises:
        ChangedMeanwhile: somebody has said something else since.
    """
    if word is not None and word != known.word:
        by = known.by.name or known.by.id if known.by else "somebody"
        raise ChangedMeanwhile(f"{by} has changed the description in the meantime")


async def say(event: Event[Any], parts: Parts) -> None:
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
    last = await parts.reader.last_description(about.upload_id, getattr(about, "investigation", ""))
    event = parts.intake.publish_event(event, after=last)
    try:
        await run_in_threadpool(parts.writer.apply, event)
    except RedisError:
        return


def _merged(known: Sequence[Parameter], given: Sequence[ParameterBody]) -> tuple[Parameter, ...]:
    named = {parameter.name: parameter for parameter in given}
    if len(named) != len(given):
        raise InvalidRequest("parameters: a name appears twice", hint="Give each parameter once.")
    changed = {name: Parameter.model_validate(one.model_dump()) for name, one in named.items()}
    merged = {parameter.name: parameter for parameter in known} | changed
    if len(merged) > MOST_PARAMETERS:
        raise InvalidRequest(f"parameters: a dataset has at most {MOST_PARAMETERS}, these would be {len(merged)}")
    return tuple(merged.values())
