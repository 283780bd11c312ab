"""Origdatablocks in both interfaces: nothing is unique in them."""

from typing import Any
from uuid import uuid4

from datauploader_sandbox.scicat import dtos
from datauploader_sandbox.scicat.mongo import Record, parse, select
from datauploader_sandbox.scicat.refusals import Refusal, forbidden
from datauploader_sandbox.scicat.store import (
    DELETERS,
    PRIVILEGED,
    Call,
    Store,
    check_unmodified,
    is_in,
    may_change,
    may_read,
)

MOST_FILES, MOST_BYTES = 20_000, 200_000_000_000
"""What SciCat's own command line keeps to; the backend checks neither, facilities rely on both."""
_COUNTED = {"v3": 100, "v4": 10}
"""Of how many blocks the backend makes up the size of a dataset: of as many as a list without a limit has."""


class Blocks:
    """Answers about origdatablocks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, call: Call) -> tuple[int, Any]:
        """POST /origdatablocks, and POST /datasets/:pid/origdatablocks."""
        if call.user is None:
            raise forbidden()
        body = dict(call.body)
        if call.parts[0] == "datasets":
            body["datasetId"] = call.parts[1]
        if found := dtos.problems(body, {**dtos.BLOCK, "datasetId": "text!"}):
            raise Refusal(400, found)
        self._check_limits(body["dataFileList"])
        dataset = self._store.datasets.get(body["datasetId"])
        if dataset is None:
            raise Refusal(404, f"Dataset: {body['datasetId']} not found for attaching an origdatablock")
        if not (may_change(call.user, dataset) or (call.version == "v3" and is_in(call.user, PRIVILEGED))):
            raise forbidden("Unauthorized access")
        owned = {name: dataset[name] for name in ("ownerGroup", "accessGroups", "isPublished")}
        block = {"_id": str(uuid4()), **body, **owned, "dataFileList": _files(body["dataFileList"])}
        self._store.blocks[block["_id"]] = self._store.stamped(block, call.user)
        self._count(call, dataset)
        return 201, block

    def find(self, call: Call) -> tuple[int, Any]:
        """GET /origdatablocks, and GET /datasets/:pid/origdatablocks."""
        if call.user is None:
            raise forbidden()
        asked = parse(call.query.get("filter"))
        if call.parts[0] == "datasets":
            asked = {"where": {"datasetId": call.parts[1]}}
        seen = [one for one in self._store.blocks.values() if may_read(call.user, one)]
        return 200, select(seen, asked, limit=_COUNTED[call.version])

    def change(self, call: Call) -> tuple[int, Any]:
        """PATCH /origdatablocks/:id."""
        if call.user is None:
            raise forbidden()
        if found := dtos.problems(call.body, dtos.BLOCK, partial=True):
            raise Refusal(400, found)
        block = self._of(call)
        if not may_change(call.user, block):
            raise forbidden("Unauthorized access")
        check_unmodified(block, call.unmodified_since)
        self._check_limits(call.body.get("dataFileList") or ())
        block.update(call.body)
        block["dataFileList"] = _files(block["dataFileList"])
        self._store.stamped(block, call.user, new=False)
        self._count(call, self._store.datasets[block["datasetId"]])
        return 200, block

    def remove(self, call: Call) -> tuple[int, Any]:
        """DELETE /origdatablocks/:id, for the groups that may delete alone."""
        if not is_in(call.user, DELETERS):
            raise forbidden()
        block = self._of(call)
        del self._store.blocks[block["_id"]]
        self._count(call, self._store.datasets[block["datasetId"]])
        return 200, block

    def _of(self, call: Call) -> Record:
        if call.parts[1] not in self._store.blocks:
            raise Refusal(404, f"OrigDatablock: {call.parts[1]} not found")
        return self._store.blocks[call.parts[1]]

    def _count(self, call: Call, dataset: Record) -> None:
        """Make up the size of a dataset as the backend does: wrong where there are many blocks."""
        counted = self._store.blocks_of(dataset["pid"])[::-1][: _COUNTED[call.version]]
        dataset["size"] = sum(block["size"] for block in counted)
        dataset["numberOfFiles"] = sum(len(block["dataFileList"]) for block in counted)
        if call.user is not None:
            self._store.stamped(dataset, call.user, new=False)

    @staticmethod
    def _check_limits(files: Any) -> None:
        if len(files) > MOST_FILES or (len(files) > 1 and sum(one["size"] for one in files) > MOST_BYTES):
            raise Refusal(400, f"a block holds at most {MOST_FILES} files and {MOST_BYTES} bytes")


def _files(files: list[Record]) -> list[Record]:
    """Write files as they are given back: with an id of their own, which no request may carry."""
    return [
        {**{name: value for name, value in one.items() if name != "_id"}, "time": dtos.instant(one["time"]),
         "_id": one.get("_id") or uuid4().hex[:24]}
        for one in files
    ]  # fmt: skip
