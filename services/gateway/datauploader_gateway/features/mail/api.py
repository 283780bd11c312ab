"""Whether people get mail: altogether, and about one upload."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from datauploader_gateway.features.mail.addresses import Source
from datauploader_gateway.features.mail.service import MailService
from datauploader_gateway.http.dependencies import SignedIn, UploadInSight, use
from datauploader_gateway.http.problems import documented

router = APIRouter(tags=["mail"])

UseMail = Annotated[MailService, use(MailService)]


class MailChoice(BaseModel):
    """Mail or no mail."""

    on: bool


class MailBody(BaseModel):
    """What becomes of mail to the caller."""

    sent_here: bool = Field(description="A mail server is configured.")
    on: bool
    address: str = Field(description="Where it goes; empty: no address is known.")
    source: Source = Field(description="Who says so.")


@router.get("/me/mail", responses=documented(401, 403, 503), summary="Do I get mail")
async def my_mail(who: SignedIn, mail: UseMail) -> MailBody:
    """Say whether mail is sent to the caller, and where to."""
    found = await mail.of(who)
    return MailBody(sent_here=mail.on, on=found.on, address=found.address, source=found.to.source)


@router.put("/me/mail", responses=documented(401, 403, 413, 422, 503), summary="Switch my mail on or off")
async def choose_my_mail(choice: MailChoice, who: SignedIn, mail: UseMail) -> MailBody:
    """Switch all mail to the caller on or off."""
    await mail.choose(who, on=choice.on)
    return await my_mail(who, mail)


@router.get("/uploads/{upload_id}/mail", responses=documented(401, 403, 404, 422, 503), summary="Mail about an upload")
async def upload_mail(upload: UploadInSight, who: SignedIn, mail: UseMail) -> MailChoice:  # noqa: ARG001 - checked by the upload
    """Say whether the person of the upload gets mail about it."""
    return MailChoice(on=await mail.wanted_about(upload))


@router.put(
    "/uploads/{upload_id}/mail",
    responses=documented(401, 403, 404, 413, 422, 503),
    summary="Switch mail about an upload on or off",
)
async def choose_upload_mail(choice: MailChoice, upload: UploadInSight, who: SignedIn, mail: UseMail) -> MailChoice:
    """Switch mail about one upload on or off; only its person can."""
    await mail.choose_about(upload, who, on=choice.on)
    return await upload_mail(upload, who, mail)
