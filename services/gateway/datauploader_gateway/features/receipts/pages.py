"""The receipt as a page: what a scientist shows, prints and keeps."""

# ruff: noqa: FAST003 - the dependency upload_on_page reads upload_id

import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader_gateway.features.mail.api import choose_mail, choose_mail_about
from datauploader_gateway.features.receipts import crate, manifest
from datauploader_gateway.features.uploads.pages import UploadOnPage
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import Visitor
from datauploader_gateway.projection.files import describe
from datauploader_gateway.projection.paging import pack_cursor, unpack_cursor
from datauploader_gateway.projection.summary import Upload

router = APIRouter(include_in_schema=False)

_FILES, _LEFT_OUT = 100, 20
_DOI = re.compile(r"10\.\d{4,9}/\S+")
WAYS = {
    "backend sha256": "the storage computed the SHA-256 of the stored file, and it equals that of the source",
    "backend sha1": "the storage computed the SHA-1 of the stored file, and it equals that of the source",
    "backend md5": "the storage computed the MD5 of the stored file, and it equals that of the source",
    "read back": "every byte was read back from the storage, and equals that of the source",
}
After = Annotated[str, Query(max_length=20_000)]


@router.get("/uploads/{upload_id}/receipt")
async def receipt_page(
    request: Request, upload: UploadOnPage, who: Visitor, parts: UseParts, after: After = ""
) -> Response:
    """Show what is proven of an upload, and how anybody can check it."""
    context = {"upload": upload, **await _files(upload, parts, after)}
    if asks_for_part(request) and after:
        return part(request, "parts/receipt-files.html", **context)
    left_out, more = await parts.reader.left_out(upload.id, "", _LEFT_OUT)
    return page(
        request, parts, "receipt.html", who=who, receipt=await parts.receipts.receipt(upload), ways=WAYS,
        doi=_link_of(upload.doi), downloads=(manifest.NAME, crate.NAME), left_out=left_out, more_left_out=more,
        mail=await _mail(upload, who, parts), **context,
    )  # fmt: skip


@router.post("/uploads/{upload_id}/mail")
async def upload_mail(upload: UploadOnPage, who: Visitor, parts: UseParts, on: Annotated[bool, Form()]) -> Response:
    """Switch mail about this upload on or off."""
    await choose_mail_about(upload, who, parts, on=on)
    return RedirectResponse(f"/uploads/{upload.id}/receipt#mail", 303)


@router.post("/mail")
async def all_mail(who: Visitor, parts: UseParts, on: Annotated[bool, Form()]) -> Response:
    """Switch all mail to the visitor on or off."""
    await choose_mail(who, parts, on=on)
    return RedirectResponse("/history#mail", 303)


async def _files(upload: Upload, parts: Parts, after: str) -> dict[str, Any]:
    _, start = unpack_cursor(after)
    found, _ = await parts.reader.next_by_path(upload.id, start, _FILES + 1)
    following = pack_cursor("receipt", found[_FILES - 1].path) if len(found) > _FILES else None
    return {"files": [describe(known) for known in found[:_FILES]], "following": following, "after": after}


async def _mail(upload: Upload, who: Visitor, parts: Parts) -> dict[str, Any] | None:
    """Say what becomes of mail about the upload; None where the visitor has no part in that."""
    if not parts.settings.mail.on or upload.requested_by.id != who.user.id:
        return None
    addresses = parts.post.addresses
    return {
        "address": (await addresses.address_of(who.user.id)).address,
        "on": await addresses.wanted(who.user.id, upload.id),
        "any": await addresses.wanted(who.user.id),
    }


def _link_of(doi: str) -> str:
    return f"https://doi.org/{quote(doi)}" if _DOI.fullmatch(doi) else ""
