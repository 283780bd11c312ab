"""On pages: the switches for mail, altogether and about one upload."""

# ruff: noqa: FAST003 - the dependency upload_on_page reads upload_id

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader_gateway.features.mail.service import MailService
from datauploader_gateway.http.dependencies import use
from datauploader_gateway.http.visitor import UploadOnPage, Visitor

router = APIRouter(include_in_schema=False)

UseMail = Annotated[MailService, use(MailService)]


@router.post("/uploads/{upload_id}/mail")
async def upload_mail(upload: UploadOnPage, who: Visitor, mail: UseMail, on: Annotated[bool, Form()]) -> Response:
    """Switch mail about this upload on or off."""
    await mail.choose_about(upload, who, on=on)
    return RedirectResponse(f"/uploads/{upload.id}/receipt#mail", 303)


@router.post("/mail")
async def all_mail(who: Visitor, mail: UseMail, on: Annotated[bool, Form()]) -> Response:
    """Switch all mail to the visitor on or off."""
    await mail.choose(who, on=on)
    return RedirectResponse("/history#mail", 303)
