"""The receipt as a page: what a scientist shows, prints and keeps."""

# ruff: noqa: FAST003 - the dependency upload_on_page reads upload_id

import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from datauploader_gateway.features.mail.service import MailService
from datauploader_gateway.features.receipts import crate, manifest
from datauploader_gateway.features.receipts.service import ReceiptService
from datauploader_gateway.http.dependencies import UseHarvests, UseReader, use
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import UploadOnPage, Visitor
from datauploader_gateway.projection.files import describe
from datauploader_gateway.projection.paging import pack_cursor, unpack_cursor

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
    request: Request,
    upload: UploadOnPage,
    who: Visitor,
    receipts: Annotated[ReceiptService, use(ReceiptService)],
    mail: Annotated[MailService, use(MailService)],
    reader: UseReader,
    harvests: UseHarvests,
    after: After = "",
) -> Response:
    """Show what is proven of an upload, and how anybody can check it."""
    _, start = unpack_cursor(after)
    found, _ = await reader.next_by_path(upload.id, start, _FILES + 1)
    following = pack_cursor("receipt", found[_FILES - 1].path) if len(found) > _FILES else None
    context: dict[str, Any] = {
        "upload": upload, "files": [describe(known) for known in found[:_FILES]], "following": following,
        "after": after,
    }  # fmt: skip
    if asks_for_part(request) and after:
        return part(request, "parts/receipt-files.html", **context)
    doi = f"https://doi.org/{quote(upload.doi)}" if _DOI.fullmatch(upload.doi) else ""
    left_out, more = await reader.left_out(upload.id, "", _LEFT_OUT)
    told = None  # where the visitor has no part in the mail about the upload
    if mail.on and upload.requested_by.id == who.user.id:
        person = await mail.of(who)
        told = {"address": person.address, "on": await mail.wanted_about(upload), "any": person.on}
    return page(request, "receipt.html", who=who, receipt=await receipts.receipt(upload), ways=WAYS,
        doi=doi, downloads=(manifest.NAME, crate.NAME), left_out=left_out, more_left_out=more,
        mail=told, harvest=await harvests.files(upload), **context,
    )  # fmt: skip
