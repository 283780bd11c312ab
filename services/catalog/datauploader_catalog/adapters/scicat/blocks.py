"""Keeps a dataset's origdatablocks: each file stands in one of them, once, with its latest values.

SciCat has nothing unique in them: whoever sends a block again, because an answer was lost, has it twice. So the blocks
are read before anything is sent, always; what stands there already is not sent. Which blocks are the service's own is
known by `createdBy`, where SciCat writes the account that made them. Others' blocks are counted, and never changed.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from datauploader.plugins.catalogue.errors import BadAnswer, CatalogueRefused, ValueRefused
from datauploader.plugins.catalogue.port import Datafile
from datauploader_catalog.adapters.scicat.records import after, number, text
from datauploader_catalog.adapters.scicat.session import ScicatSession, address
from datauploader_catalog.settings import ScicatSettings

_ALGORITHM = "sha256"
_MOST_BLOCK = 200_000_000_000
"""Bytes that the files of one block have together, unless it is a single file: SciCat's own tools keep to that."""
_EXACT = 2**53
"""Beyond it, JavaScript does not know every whole number."""
_SMALL = 200
"""A block with fewer files than this is added to, where few files come at a time, so that blocks stay few."""
_TOGETHER = 10_000
"""Files that are read in one request, as far as the blocks' sizes are known by the settings."""
_MOST_IDS = 50
"""Blocks that are asked for in one address, which has a limit of 16 kB."""
_KEPT, _KEPT_DATASETS = 300_000, 1000
"""Files, and datasets, of which it is remembered in which blocks they stand, as long as those do not change."""
_TRIES = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW = frozenset(("path", "size", "time", "chk", "uid", "gid", "perm", "type"))
"""Fields of a file that may be sent; SciCat answers with an id besides, which it does not take back."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OrigDatablock:
    """One origdatablock as it was read."""

    id: str
    made_by: str
    updated: str
    size: int
    files: Mapping[str, Row]


class DatasetBlocks:
    """The blocks of datasets, remembered as long as SciCat says that they are unchanged."""

    def __init__(self, settings: ScicatSettings, session: ScicatSession) -> None:
        self._settings, self._session = settings, session
        self._known: OrderedDict[str, dict[str, OrigDatablock]] = OrderedDict()
        self._lock = threading.Lock()

    def register(self, pid: str, datafiles: Sequence[Datafile], *, complete: bool) -> list[OrigDatablock]:
        """Make the files stand in the dataset's blocks; return these.

        Raises:
            CatalogueRefused: the dataset is complete and would change, or a block that must change is another's.
        """
        wanted = {datafile.path: _row(datafile) for datafile in datafiles}
        for _ in range(_TRIES):
            blocks = self.blocks(pid)
            held = {path: row for block in reversed(blocks) for path, row in block.files.items()}
            if complete and any(path not in held or not _same(held[path], row) for path, row in wanted.items()):
                raise CatalogueRefused(f"Dataset {pid} is complete; put new files into another one.")
            done = self._carry_out(pid, blocks, wanted)
            if done is not None:
                self._keep(pid, done)
                return list(done.values())
        raise BadAnswer(f"Others change the files of dataset {pid} at the same time; it is retried.")

    def blocks(self, pid: str) -> list[OrigDatablock]:
        """Read the blocks of a dataset in the order of their making, and only those anew that have changed."""
        heads = self._heads(pid)
        with self._lock:
            known = dict(self._known.get(pid, {}))
        missing = [one for one, updated in heads.items() if one not in known or known[one].updated != updated]
        together = max(1, min(_MOST_IDS, _TOGETHER // self._settings.block_files))
        for start in range(0, len(missing), together):
            some = missing[start : start + together]
            asked = {"where": {"datasetId": pid, "_id": {"$in": some}}, "limits": {"limit": len(some)}}
            for record in self._session.records(f"{self._session.api()}/origdatablocks", {"filter": asked}):
                known[text(record, "_id")] = _read(record)
        if any(one not in known for one in heads):
            raise BadAnswer(f"The blocks of dataset {pid} change while they are read; it is retried.")
        found = {one: known[one] for one in heads}
        self._keep(pid, found)
        return list(found.values())

    def remove(self, pid: str) -> None:
        """Remove all blocks of a dataset, which needs DELETE_GROUPS."""
        for block in self.blocks(pid):
            self._change(pid, block, {})
        with self._lock:
            self._known.pop(pid, None)

    def make_twice(self, pid: str, datafile: Datafile) -> bool:
        """Send the same block twice, tell whether it is then there twice, and remove what has come of it.

        Raises:
            CatalogueRefused: the account may not remove a block.
        """
        made = {block.id: block for _ in range(2) for block in self._make(pid, [_row(datafile)])}
        for block in made.values():
            self._change(pid, block, {})
        return len(made) > 1

    def has(self, pid: str, path: str) -> bool:
        """Tell whether a file stands in one of the dataset's blocks; what was seen once is not looked up again."""
        with self._lock:
            known = self._known.get(pid, {})
        seen = any(path in block.files for block in known.values())
        return seen or any(path in block.files for block in self.blocks(pid))

    def _heads(self, pid: str) -> dict[str, str]:
        """Read which blocks there are, and when each was changed last, in the order of their making."""
        fields = ("_id", "updatedAt", "createdAt")
        wanted: dict[str, Any] = {"where": {"datasetId": pid}, "fields": list(fields)}
        wanted["limits"] = {"sort": {"createdAt": "asc"}}
        if self._session.api() == "v3":
            wanted |= {"fields": dict.fromkeys(fields, 1), "limits": {"order": "createdAt:asc"}}
        found = self._session.all(f"{self._session.api()}/origdatablocks", "filter", wanted, "_id")
        return {text(head, "_id"): text(head, "updatedAt") for head in found}

    def _carry_out(
        self, pid: str, blocks: Sequence[OrigDatablock], wanted: Mapping[str, Row]
    ) -> dict[str, OrigDatablock] | None:
        """Change blocks and make new ones; None where somebody else was quicker, and all must be read again."""
        edits, fresh = _plan(blocks, wanted, self._session.account)
        last = next((block for block in reversed(blocks) if block.made_by == self._session.account), None)
        if last is not None and 0 < len(fresh) <= _SMALL and len(last.files) < _SMALL:
            files = {**edits.get(last.id, last.files), **fresh}
            if _size(files.values()) <= _MOST_BLOCK and _bytes(files.values()) <= self._most_bytes:
                edits[last.id], fresh = files, {}
        result: dict[str, OrigDatablock] = {}
        for block in blocks:
            after_it = self._change(pid, block, edits[block.id]) if block.id in edits else block
            if after_it is None:
                return None
            if after_it.files:
                result[block.id] = after_it
        for some in self._cut(list(fresh.values())):
            result |= {block.id: block for block in self._make(pid, some)}
        return result

    def _change(self, pid: str, block: OrigDatablock, files: Mapping[str, Row]) -> OrigDatablock | None:
        """Give a block these files; one that would have none is removed."""
        if block.made_by != self._session.account:
            raise CatalogueRefused(
                f"Files of dataset {pid} stand with other values in origdatablock {block.id}, which "
                f"{block.made_by or 'somebody else'} has made. Have it mended there, then retry."
            )
        path = f"{self._session.api()}/{address('origdatablocks', block.id)}"
        if files:
            body = {"size": _size(files.values()), "dataFileList": list(files.values())}
            answer = self._session.tell("PATCH", path, body, after(block.updated))
        else:
            answer = self._session.tell("DELETE", path, {})
        if answer.status in {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.NOT_FOUND}:
            return None
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"a change of origdatablock {block.id}")
        return _read(answer.record()) if files else replace(block, files={})

    def _make(self, pid: str, files: list[Row]) -> list[OrigDatablock]:
        """Make one block; where a server on the way takes no requests as large as this, make two."""
        body = {"datasetId": pid, "size": _size(files), "chkAlg": _ALGORITHM, "dataFileList": files}
        answer = self._session.tell("POST", f"{self._session.api()}/origdatablocks", body)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(files) > 1:
            middle = len(files) // 2
            return [*self._make(pid, files[:middle]), *self._make(pid, files[middle:])]
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise answer.refusal(f"{len(files)} datafiles of dataset {pid}")
        return [_read(answer.record())]

    @property
    def _most_bytes(self) -> int:
        return self._settings.block_bytes - 1000

    def _cut(self, files: Sequence[Row]) -> Iterator[list[Row]]:
        """Cut files into blocks, by their number, by the bytes of the request and by their own."""
        block: list[Row] = []
        filled = stored = 0
        for row in files:
            size = _bytes([row])
            full = len(block) >= self._settings.block_files or filled + size > self._most_bytes
            if block and (full or stored + row["size"] > _MOST_BLOCK):
                yield block
                block, filled, stored = [], 0, 0
            block.append(row)
            filled += size
            stored += row["size"]
        if block:
            yield block

    def _keep(self, pid: str, blocks: dict[str, OrigDatablock]) -> None:
        with self._lock:
            self._known[pid] = blocks
            self._known.move_to_end(pid)
            kept = {one: sum(len(block.files) for block in held.values()) for one, held in self._known.items()}
            while len(self._known) > 1 and (sum(kept.values()) > _KEPT or len(kept) > _KEPT_DATASETS):
                oldest, _ = self._known.popitem(last=False)
                del kept[oldest]


def _plan(
    blocks: Sequence[OrigDatablock], wanted: Mapping[str, Row], account: str
) -> tuple[dict[str, Mapping[str, Row]], dict[str, Row]]:
    """Return the files of the blocks that must change, by block, and the files that stand in none.

    A file that stands in several blocks stays in the first: a request that was given up too early has come after all.
    """
    seen: set[str] = set()
    edits: dict[str, Mapping[str, Row]] = {}
    for block in blocks:
        files = {path: row for path, row in block.files.items() if path not in seen}
        changed = {path: wanted[path] for path in files if path in wanted and not _same(files[path], wanted[path])}
        if changed or (len(files) < len(block.files) and block.made_by == account):
            edits[block.id] = {**files, **changed}
        seen |= files.keys()
    return edits, {path: row for path, row in wanted.items() if path not in seen}


def sizes_of(blocks: Sequence[OrigDatablock]) -> dict[str, int]:
    """Return what a dataset says that has these blocks."""
    return {"size": sum(block.size for block in blocks), "numberOfFiles": sum(len(block.files) for block in blocks)}


def files_of(block: OrigDatablock) -> Iterator[Datafile]:
    """Yield the datafiles that stand in a block; SciCat does not know where they lie."""
    for path, row in block.files.items():
        moment = datetime.fromisoformat(text(row, "time")) - _EPOCH
        nanoseconds = moment // timedelta(microseconds=1) * 1000
        yield Datafile(path, "", number(row, "size"), text(row, "chk"), nanoseconds)


def _row(datafile: Datafile) -> Row:
    """Write a datafile; SciCat knows neither where the bytes lie nor times below a millisecond."""
    if datafile.size > _EXACT:
        raise ValueRefused(f"SciCat does not know exactly how large {datafile.path!r} is with {datafile.size} bytes.")
    try:
        moment = _EPOCH + timedelta(microseconds=datafile.mtime_ns // 1000)
    except OverflowError as error:
        raise ValueRefused(f"SciCat does not know the time {datafile.mtime_ns} ns of {datafile.path!r}.") from error
    time = moment.replace(microsecond=moment.microsecond // 1000 * 1000).isoformat(timespec="milliseconds")
    stamp = time.replace("+00:00", "Z")
    return {"path": datafile.path, "size": datafile.size, "time": stamp, "chk": datafile.checksum}


def _read(record: Mapping[str, Any]) -> OrigDatablock:
    files, block_id = record.get("dataFileList"), text(record, "_id")
    if not block_id or not isinstance(files, list) or not all(isinstance(row, dict) for row in files):
        raise BadAnswer("SciCat's answer holds an origdatablock without id or files; it is retried.")
    rows = {text(row, "path"): {name: value for name, value in row.items() if name in _ROW} for row in files}
    made_by, updated = text(record, "createdBy"), text(record, "updatedAt")
    return OrigDatablock(block_id, made_by, updated, number(record, "size"), rows)


def _same(held: Row, wanted: Row) -> bool:
    return all(held.get(name) == wanted[name] for name in ("size", "time", "chk"))


def _size(files: Any) -> int:
    return sum(row["size"] for row in files)


def _bytes(files: Any) -> int:
    return sum(len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()) + 1 for row in files)
