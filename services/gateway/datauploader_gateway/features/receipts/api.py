"""Receipts over REST: as JSON, as a manifest for `sha256sum -c`, as an RO-Crate; streamed, however many files."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from datauploader.contracts.rest.files import File
from datauploader_gateway.features.receipts import crate, manifest
from datauploader_gateway.features.receipts.receipt import Receipt
from datauploader_gateway.features.receipts.service import ReceiptService
from datauploader_gateway.http.dependencies import UploadInSight, UseReader, use
from datauploader_gateway.http.problems import documented
from datauploader_gateway.projection.files import KnownFile, describe
from datauploader_gateway.projection.reader import LeftOutItem, ViewReader

router = APIRouter(prefix="/uploads/{upload_id}/receipt", tags=["receipts"])

UseReceipts = Annotated[ReceiptService, use(ReceiptService)]

_LEFT_OUT_PAGE = 1000


class ReceiptFile(File):
    """One file, and how it was verified."""

    verified_by: tuple[str, ...] = ()


class WholeReceipt(Receipt):
    """The receipt with every file, and everything that was left out."""

    file_list: list[ReceiptFile]
    left_out_list: list[LeftOutItem]


@router.get(
    "",
    response_model=WholeReceipt,
    responses=documented(401, 403, 404, 422, 503),
    summary="Receipt, with every file",
)
async def show_receipt(
    upload: UploadInSight, receipts: UseReceipts, reader: UseReader, files: bool = True
) -> StreamingResponse:
    """Say what is proven of an upload; `complete` is false while that is not all; `files=false` leaves lists out."""
    receipt = await receipts.receipt(upload)
    body = _document(receipt, receipts, reader) if files else _once(receipt.model_dump_json())
    return StreamingResponse(body, media_type="application/json", headers=_named(f"receipt-{upload.id}.json"))


@router.get(
    f"/{manifest.NAME}",
    response_class=StreamingResponse,
    responses=documented(401, 403, 404, 409, 422, 503) | {200: {"content": {"text/plain": {}}}},
    summary="Manifest for sha256sum -c",
)
async def show_manifest(upload: UploadInSight, receipts: UseReceipts) -> StreamingResponse:
    """List digest and name of every file of a complete dataset, as BagIt (RFC 8493) writes them."""
    receipt = await receipts.final(upload)
    body = (
        b"".join(manifest.line(file.path, file.facts.sha256) for file in files)
        async for files in receipts.proven(receipt)
    )
    return StreamingResponse(body, media_type="text/plain", headers=_named(manifest.NAME))


@router.get(
    f"/{crate.NAME}",
    response_class=StreamingResponse,
    responses=documented(401, 403, 404, 409, 422, 503) | {200: {"content": {crate.MEDIA_TYPE: {}}}},
    summary="RO-Crate",
)
async def show_crate(upload: UploadInSight, receipts: UseReceipts) -> StreamingResponse:
    """Describe a complete dataset and its files as RO-Crate 1.2."""
    receipt = await receipts.final(upload)
    return StreamingResponse(_crate(receipt, receipts), media_type=crate.MEDIA_TYPE, headers=_named(crate.NAME))


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


async def _once(text: str) -> AsyncIterator[str]:
    yield text


async def _document(receipt: Receipt, receipts: ReceiptService, reader: ViewReader) -> AsyncIterator[str]:
    yield receipt.model_dump_json()[:-1] + ',"file_list":['
    async for text in _joined(receipts.files(receipt.upload), _file):
        yield text
    yield '],"left_out_list":['
    after, comma = "", ""
    while True:
        items, cursor = await reader.left_out(receipt.upload, after, _LEFT_OUT_PAGE)
        if items:
            yield comma + ",".join(item.model_dump_json() for item in items)
            comma = ","
        if cursor is None:
            break
        after = cursor
    yield "]}"


def _file(file: KnownFile) -> str:
    said = describe(file).model_dump() | {"verified_by": file.facts.methods if file.facts.proof == "verified" else ()}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


async def _crate(receipt: Receipt, desk: ReceiptService) -> AsyncIterator[str]:
    yield crate.head(receipt)
    async for text in _joined(desk.proven(receipt), crate.part):
        yield text
    yield crate.tail(receipt)
    async for files in desk.proven(receipt):
        yield "".join(f",\n{crate.entity(file)}" for file in files)
    yield "\n]}\n"


async def _joined(chunks: AsyncIterator[list[KnownFile]], write: Callable[[KnownFile], str]) -> AsyncIterator[str]:
    comma = ""
    async for files in chunks:
        yield comma + ",\n".join(write(file) for file in files)
        comma = ",\n"
