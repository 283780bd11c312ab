"""Where receipts are made: one survey at a time, remembered until the upload changes."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator

from datauploader.contracts.rest.uploads import Upload
from datauploader.contracts.uploads import manifest_entry
from datauploader_gateway.errors import ManifestChanged, NotComplete
from datauploader_gateway.features.receipts.receipt import Receipt, write
from datauploader_gateway.features.receipts.survey import Survey, survey
from datauploader_gateway.projection.files import KnownFile
from datauploader_gateway.projection.reader import ViewReader

KEPT = 200
"""Surveys that are remembered."""


class ReceiptService:
    """The receipt service: makes receipts from the view."""

    def __init__(self, reader: ViewReader) -> None:
        """Read through this reader."""
        self._reader = reader
        self._lock = asyncio.Lock()
        """A survey of a million files keeps the processor busy for seconds; many at once would leave nothing."""
        self._surveys: OrderedDict[str, tuple[str, Survey]] = OrderedDict()

    async def receipt(self, upload: Upload) -> Receipt:
        """Write the receipt of an upload as it is now."""
        registers = await self._reader.registers(upload.id)
        fingerprint = upload.model_dump_json(include={"updated", "state", "counts", "manifest_sha256"})
        async with self._lock:
            kept = self._surveys.get(upload.id)
            if kept is None or kept[0] != fingerprint:
                kept = fingerprint, await survey(self._reader.by_path(upload.id))
                self._surveys[upload.id] = kept
            self._surveys.move_to_end(upload.id)
            if len(self._surveys) > KEPT:
                self._surveys.popitem(last=False)
        return write(upload, registers, kept[1])

    async def final(self, upload: Upload) -> Receipt:
        """Write the receipt of a dataset that is complete.

        Raises:
            NotComplete: it is not known to be.
        """
        receipt = await self.receipt(upload)
        if not receipt.complete:
            raise NotComplete(f"there is no manifest of {upload.dataset} yet: {' '.join(receipt.doubts)}")
        return receipt

    async def files(self, upload_id: str) -> AsyncIterator[list[KnownFile]]:
        """Yield all files, whatever is known of them, in order of their paths."""
        async for files in self._reader.by_path(upload_id):
            yield files

    async def proven(self, receipt: Receipt) -> AsyncIterator[list[KnownFile]]:
        """Yield the files of a complete dataset in order of their paths.

        Raises:
            ManifestChanged: at the end, they were not those that the receipt speaks of.
        """
        digest = hashlib.sha256()
        async for files in self._reader.by_path(receipt.upload, ("catalogued",)):
            for file in files:
                digest.update(manifest_entry(file.path, file.facts.sha256))
            yield files
        if digest.hexdigest() != receipt.manifest.computed:
            raise ManifestChanged(f"the files of {receipt.upload} changed while their manifest was sent: ask again")
