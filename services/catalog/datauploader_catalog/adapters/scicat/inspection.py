"""What a check asks of SciCat beside the port: what a dataset holds, its removal, and SciCat's own traps."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from datauploader.plugins.catalogue.errors import CatalogueRefused
from datauploader.plugins.catalogue.inspection import SCRATCH, Finding, Mark, RegisteredContents
from datauploader.plugins.catalogue.port import Datafile
from datauploader_catalog.adapters.scicat.blocks import DatasetBlocks, files_of
from datauploader_catalog.adapters.scicat.metadata import values_of
from datauploader_catalog.adapters.scicat.records import text
from datauploader_catalog.adapters.scicat.session import ScicatSession, address


class ScicatInspection:
    """Looks closer at a SciCat than uploads need."""

    def __init__(self, session: ScicatSession, blocks: DatasetBlocks) -> None:
        self._session, self._blocks = session, blocks

    def contents(self, record: Mapping[str, Any]) -> RegisteredContents:
        """Read what belongs to a dataset that was read."""
        held = record.get("scientificMetadata")
        values = values_of(held, self._session.api()) if isinstance(held, dict) else ()
        files = (one for block in self._blocks.blocks(text(record, "pid")) for one in files_of(block))
        return RegisteredContents(text(record, "description"), tuple(files), tuple(values))

    def remove(self, pid: str) -> str:
        """Remove a dataset; SciCat leaves its blocks where they are, so they are removed before."""
        self._blocks.remove(pid)
        answer = self._session.tell("DELETE", f"{self._session.api()}/{address('datasets', pid)}", {})
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"the removal of dataset {pid}")
        return ""

    def traps(self, pid: str | None) -> Iterator[Finding]:
        """Say which interface there is, and whether a block that came twice can be taken out again."""
        api = self._session.api()
        yield Finding("SciCat says which interfaces it has.", Mark.HOLDS, f"datasets are written by /api/{api}")
        duty = "An origdatablock that came twice can be removed."
        if pid is None:
            yield Finding(duty, Mark.NOT_TRIED, "it needs a dataset to write to")
            return
        try:
            twice = self._blocks.make_twice(pid, Datafile(f"{SCRATCH}twice", "", 1, "0" * 64, 0))
        except CatalogueRefused as error:
            then = "After a lost answer the upload is refused, with the sentence which block is to be removed."
            yield Finding(duty, Mark.FAILS, f"{error} It needs one of DELETE_GROUPS.", then)
        else:
            yield Finding(duty, Mark.HOLDS, "SciCat keeps both, so blocks are read before any is sent" if twice else "")
