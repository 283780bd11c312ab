"""A part of the page of an upload: what is said of its dataset, and the form that changes it."""

# ruff: noqa: FAST003 - the dependency upload_on_page reads upload_id

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.responses import Response

from datauploader.contracts.rest.descriptions import Description
from datauploader.values import read_value, show_value
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.features.descriptions.service import (
    MOST_PARAMETERS,
    DatasetText,
    DescriptionService,
    may_describe,
)
from datauploader_gateway.features.new_upload.metadata import FIELD_PREFIX, MetadataForm
from datauploader_gateway.http.dependencies import use
from datauploader_gateway.http.problems import first_fault
from datauploader_gateway.http.rendering import asks_for_part, page, part, templates
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.http.visitor import UploadOnPage, Visitor

router = APIRouter(include_in_schema=False)

UseDescriptions = Annotated[DescriptionService, use(DescriptionService)]
UseMetadata = Annotated[MetadataForm, use(MetadataForm)]

_FREE_ROWS = 3
Texts = Annotated[list[str], Form(max_length=MOST_PARAMETERS + _FREE_ROWS)]

templates.env.filters["value"] = show_value


@router.get("/uploads/{upload_id}/dataset/description")
async def show(
    request: Request,
    upload: UploadOnPage,
    who: Visitor,
    descriptions: UseDescriptions,
    metadata: UseMetadata,
    edit: bool = False,
) -> Response:
    """Show description and parameters, or the form that changes them."""
    said = await descriptions.of_dataset(upload)
    address = f"/uploads/{upload.id}/dataset/description"
    may = may_describe(who, upload)
    keys = {field.key for field in metadata.fields}
    context: dict[str, Any] = {
        "fields": metadata.fields, "others": [one for one in said.parameters if one.name not in keys],
        "asked": {one.name: show_value(one.value) for one in said.parameters if one.name in keys},
        "said": said, "address": address, "change": address, "may": may, "edit": edit and may, "of_dataset": True,
        "free_rows": range(min(_FREE_ROWS, MOST_PARAMETERS - len(said.parameters))),
    }  # fmt: skip
    if asks_for_part(request):
        return part(request, "parts/describe.html", **context)
    return page(request, "describe.html", who=who, upload=upload, **context)


@router.post("/uploads/{upload_id}/dataset/description")
async def change(
    request: Request,
    upload: UploadOnPage,
    who: Visitor,
    descriptions: UseDescriptions,
    metadata: UseMetadata,
    description: Annotated[str, Form(max_length=10_000)] = "",
    based_on: Annotated[str, Form(max_length=200)] = "",
    name: Texts = [],  # noqa: B006 - FastAPI copies it
    value: Texts = [],  # noqa: B006 - likewise
    units: Texts = [],  # noqa: B006 - likewise
) -> Response:
    """Say what the dataset is."""
    known = await descriptions.of_dataset(upload)
    if not len(name) == len(value) == len(units):
        raise InvalidRequest("the form was incomplete", hint="Open the form again and fill it in again.")
    before = {each.name: (show_value(each.value), each.units) for each in known.parameters}
    changed = [  # what a person left alone keeps its kind of value
        {"name": one, "value": read_value(text.strip()), "units": unit}
        for one, text, unit in zip(name, value, units, strict=True)
        if (one.strip() or text.strip()) and before.get(one) != (text, unit)
    ]
    changed += _asked(known, await request.form(), metadata)
    try:
        asked = DatasetText.model_validate({"description": description, "parameters": changed, "based_on": based_on})
    except ValidationError as error:
        raise InvalidRequest(first_fault(error)) from error
    await descriptions.describe_dataset(upload, asked, who, traceparent(request.scope))
    if asks_for_part(request):
        return await show(request, upload, who, descriptions, metadata)
    return RedirectResponse(f"/uploads/{upload.id}/dataset/description", 303)


def _asked(known: Description, form: FormData, metadata: MetadataForm) -> list[dict[str, Any]]:
    """Return the values that the facility asks for and a person has changed, each of its own kind; emptied, "".

    Raises:
        InvalidRequest: one of them is no value of its kind.
    """
    before = {each.name: show_value(each.value) for each in known.parameters}
    typed = {
        field.key: str(form[name]).strip()
        for field in metadata.fields
        if (name := f"{FIELD_PREFIX}{field.key}") in form
    }
    changed = {key: text for key, text in typed.items() if text != before.get(key, "")}
    found, wrong = metadata.read(changed)
    if bad := {key: words for key, words in wrong.items() if changed.get(key)}:
        raise InvalidRequest("; ".join(f"{key}: {words}" for key, words in bad.items()), hint="Correct it.")
    values = {one.name: one.model_dump() for one in found}
    return [values.get(key, {"name": key, "value": "", "units": ""}) for key in changed]
