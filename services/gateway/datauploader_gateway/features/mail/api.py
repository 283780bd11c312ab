"""Whether people get mail: altogether, and about one upload."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

from fastapi import APIRouter
from pydantic import BaseModel, Field

from datauploader_gateway.auth.dependency import Caller, SignedIn, UploadInSight
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.features.mail.addresses import Source
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.projection.summary import Upload

router = APIRouter(tags=["mail"])


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
async def my_mail(who: SignedIn, parts: UseParts) -> MailBody:
    """Say whether mail is sent to the caller, and where to."""
    found = await parts.post.addresses.address_of(who.user.id)
    on = await parts.post.addresses.wanted(who.user.id)
    return MailBody(sent_here=parts.settings.mail.on, on=on, address=found.address, source=found.source)


@router.put("/me/mail", responses=documented(401, 403, 413, 422, 503), summary="Switch my mail on or off")
async def choose_my_mail(choice: MailChoice, who: SignedIn, parts: UseParts) -> MailBody:
    """Switch all mail to the caller on or off."""
    await choose_mail(who, parts, on=choice.on)
    return await my_mail(who, parts)


@router.get("/uploads/{upload_id}/mail", responses=documented(401, 403, 404, 422, 503), summary="Mail about an upload")
async def upload_mail(upload: UploadInSight, who: SignedIn, parts: UseParts) -> MailChoice:  # noqa: ARG001 - checked by the upload
    """Say whether the person of the upload gets mail about it."""
    return MailChoice(on=await parts.post.addresses.wanted(upload.requested_by.id, upload.id))


@router.put(
    "/uploads/{upload_id}/mail",
    responses=documented(401, 403, 404, 413, 422, 503),
    summary="Switch mail about an upload on or off",
)
async def choose_upload_mail(choice: MailChoice, upload: UploadInSight, who: SignedIn, parts: UseParts) -> MailChoice:
    """Switch mail about one upload on or off; only its person can."""
    await choose_mail_about(upload, who, parts, on=choice.on)
    return await upload_mail(upload, who, parts)


async def choose_mail(who: Caller, parts: Parts, *, on: bool) -> None:
    """Switch all mail to somebody on or off, on the record."""
    await parts.post.addresses.choose(who.user.id, on=on)
    await parts.audit.record(f"mail {_word(on=on)}", who=who.user.id, address=who.address)


async def choose_mail_about(upload: Upload, who: Caller, parts: Parts, *, on: bool) -> None:
    """Switch mail about an upload on or off, on the record.

    Raises:
        NotAllowed: it is somebody else's mail.
    """
    if upload.requested_by.id != who.user.id:
        raise NotAllowed(
            "mail about this upload goes to the person who requested it; only that person can turn it on or off"
        )
    await parts.post.addresses.choose_for(upload.id, on=on)
    await parts.audit.record(f"upload mail {_word(on=on)}", who=who.user.id, address=who.address, upload_id=upload.id)


def _word(*, on: bool) -> str:
    return "switched on" if on else "switched off"
