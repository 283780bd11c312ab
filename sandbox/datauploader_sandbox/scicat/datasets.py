"""Datasets in both interfaces, with SciCat's own surprises: see docs/catalogues/scicat.md."""

import json
from typing import Any
from uuid import uuid4

from datauploader_sandbox.scicat import dtos
from datauploader_sandbox.scicat.mongo import Record, decoded, encoded, in_si, parse, select
from datauploader_sandbox.scicat.refusals import Refusal, forbidden
from datauploader_sandbox.scicat.store import (
    ADMINS,
    DELETERS,
    PRIVILEGED,
    Call,
    Store,
    check_unmodified,
    is_in,
    may_change,
    may_read,
)

_SINGLE = {"proposalId": "proposalIds", "sampleId": "sampleIds", "instrumentId": "instrumentIds"}
_LEADER = ("principalInvestigator", "principalInvestigators")
_LIFECYCLE: Record = {
    "archivable": True, "retrievable": False, "publishable": False, "isOnCentralDisk": True,
    "archiveStatusMessage": "datasetCreated", "retrieveStatusMessage": "", "archiveReturnMessage": {},
    "retrieveReturnMessage": {}, "retrieveIntegrityCheck": False,
}  # fmt: skip
"""What a dataset is said to be unless somebody says otherwise: all of it there."""
_SIZES: Record = {"size": 0, "packedSize": 0, "numberOfFiles": 0}
"""What /api/v4 puts into every change of a dataset that does not say it (SciCatProject/backend#2746)."""


class Datasets:
    """Answers about datasets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, call: Call) -> tuple[int, Any]:
        """POST /datasets."""
        if call.user is None:
            raise forbidden()
        body, pid = dict(call.body), call.body.get("pid") or ""
        self._check(call, body, new=True)
        own = body["ownerGroup"] in call.user.groups and not pid
        if not (is_in(call.user, ADMINS, PRIVILEGED) or own):
            raise forbidden("Unauthorized access" if call.version == "v4" else "Unauthorized to create this dataset")
        if "owner" not in body:
            raise Refusal(500, "Something went wrong. Please try again later.")
        pid = pid or f"20.500.12345/{uuid4()}"
        if pid in self._store.datasets:
            self._store.counts["conflict"] += 1
            raise Refusal(409, f"A dataset with pid {pid} already exists!")
        folder = body["sourceFolder"]
        made = {
            "_id": pid, "accessGroups": [], "proposalIds": [], "instrumentIds": [], "isPublished": False,
            "keywords": [], "description": "", **_SIZES, "numberOfFilesArchived": 0, **_current(body), "pid": pid,
            "sourceFolder": folder if folder == "/" else folder.removesuffix("/"),
            "datasetlifecycle": {**_LIFECYCLE, **(body.get("datasetlifecycle") or {})},
            "scientificMetadata": encoded(in_si(body.get("scientificMetadata") or {})), "version": call.version,
        }  # fmt: skip
        made.setdefault("datasetName", "/".join(part for part in folder.split("/") if part)[-200:])
        self._store.datasets[pid] = self._store.stamped(made, call.user)
        return 201, self._shown(call, made)

    def get(self, call: Call) -> tuple[int, Any]:
        """GET /datasets/:pid, with its origdatablocks where that is asked for."""
        record = self._store.datasets.get(call.parts[1])
        if call.version == "v4" and call.user is None:
            raise forbidden()
        if record is None:
            raise Refusal(404, f"dataset: {'null' if call.version == 'v4' else call.parts[1]} not found")
        if not may_read(call.user, record):
            raise forbidden("Unauthorized access")
        included = {"origdatablocks": self._store.blocks_of(record["pid"])} if "include" in call.query else {}
        return 200, {**self._shown(call, record), **included}

    def find(self, call: Call) -> tuple[int, Any]:
        """GET /datasets: the old interface answers a stranger with what is public, the new one not at all."""
        if call.version == "v4" and call.user is None:
            raise forbidden()
        return 200, self._select(call, parse(call.query.get("filter")), 10 if call.version == "v4" else 100)

    def fullquery(self, call: Call) -> tuple[int, Any]:
        """GET /datasets/fullquery."""
        asked = {
            "where": parse(call.query.get("fields"), "fields"),
            "limits": parse(call.query.get("limits"), "limits"),
        }
        return 200, self._select(call, asked, 100)

    def change(self, call: Call) -> tuple[int, Any]:
        """PATCH /datasets/:pid."""
        if call.user is None:
            raise forbidden()
        record, body = self._of(call.parts[1]), dict(call.body)
        self._check(call, body, new=False)
        if not may_change(call.user, record):
            raise forbidden("Unauthorized access")
        check_unmodified(record, call.unmodified_since)
        metadata = body.pop("scientificMetadata", None)
        if metadata is not None:
            metadata = encoded(in_si(metadata))
            record["scientificMetadata"] = {**record["scientificMetadata"], **metadata} if call.merges else metadata
        if (lifecycle := body.pop("datasetlifecycle", None)) is not None:
            record["datasetlifecycle"] = {**_LIFECYCLE, **lifecycle}
        record.update({**(_SIZES if call.version == "v4" else {}), **_current(body)})
        return 200, self._shown(call, self._store.stamped(record, call.user, new=False))

    def remove(self, call: Call) -> tuple[int, Any]:
        """DELETE /datasets/:pid, for the groups that may delete alone; origdatablocks stay where they are."""
        if not is_in(call.user, DELETERS):
            raise forbidden()
        return 200, self._shown(call, self._store.datasets.pop(self._of(call.parts[1])["pid"]))

    def change_lifecycle(self, call: Call) -> tuple[int, Any]:
        """PATCH /datasets/:pid/datasetlifecycle."""
        if call.user is None:
            raise forbidden()
        if found := dtos.problems(call.body, dtos.LIFECYCLE, partial=True):
            raise Refusal(400, found)
        if not call.body:
            raise Refusal(400, "dataset lifecycle DTO must not be empty")
        record = self._of(call.parts[1])
        if not may_change(call.user, record):
            raise forbidden("Unauthorized access")
        record["datasetlifecycle"].update(call.body)
        return 200, self._store.stamped(record, call.user, new=False)["datasetlifecycle"]

    def _of(self, pid: str) -> Record:
        if pid not in self._store.datasets:
            raise Refusal(404, "Dataset not found")
        return self._store.datasets[pid]

    def _select(self, call: Call, asked: Record, limit: int) -> list[Record]:
        seen = [self._shown(call, one) for one in self._store.datasets.values() if may_read(call.user, one)]
        return select(seen, asked, limit=limit)

    @staticmethod
    def _check(call: Call, body: Record, *, new: bool) -> None:
        fields = dtos.DATASET_V4 if call.version == "v4" else dtos.DATASET_V3
        if found := dtos.problems(body, fields | (dtos.NEW_DATASET if new else {}), partial=not new):
            old = {"status": 400, "message": json.dumps(found)}
            raise Refusal(400, found, old if call.version == "v3" else None)

    @staticmethod
    def _shown(call: Call, record: Record) -> Record:
        if call.version == "v4":
            return dict(record)
        old = {name: (record.get(many) or [None])[0] for name, many in (*_SINGLE.items(), _LEADER)}
        kept = {name: value for name, value in record.items() if name not in {*_SINGLE.values(), _LEADER[1]}}
        return {**kept, **old, "scientificMetadata": decoded(record["scientificMetadata"]), "history": []}


def _current(body: Record) -> Record:
    """Write the single values of the old interface as the lists that are stored."""
    many = dict((*_SINGLE.items(), _LEADER))
    return {
        many.get(name, name): [value] if name in many else dtos.instant(value) if name.endswith("Time") else value
        for name, value in body.items()
        if value is not None
    }
