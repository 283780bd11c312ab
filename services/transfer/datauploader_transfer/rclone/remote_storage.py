"""One remote as the mover needs it: look, copy, hash, remove, each for many objects in one call."""

import re
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from datauploader_transfer.domain.leftovers import beside, leftovers
from datauploader_transfer.domain.names import needs_bytes, plain_path, standard_path
from datauploader_transfer.domain.remotes import SOURCE, RemoteDefinition
from datauploader_transfer.domain.tuning import PREFERRED, StorageTuning
from datauploader_transfer.errors import RcloneRefused
from datauploader_transfer.ports import Listed, Stored
from datauploader_transfer.rclone.bulk import BulkCalls, Sending
from datauploader_transfer.rclone.private_folder import FolderOnDemand
from datauploader_transfer.rclone.rpc import Answer, Call, RcloneRpc, read_entries
from datauploader_transfer.rclone.stall_detector import StallDetector

__all__ = ["Entries", "ObjectFailure", "RemoteStorage"]

Entries = list[tuple[str, int | None]]
"""Names in a folder with their sizes, None for a folder."""

_HASHING = 20e6  # bytes a second that the slowest storage hashes
_ASSEMBLING = 100e6  # bytes a second at which the slowest storage puts a sent file together
_LISTING_S = 600.0  # how long a storage may list, and hash what it lists, without a word
_FEW = 4
_CROWDED = 20
_REMEMBERED = 10_000
_HEX = re.compile("[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")
_PLAIN = {"noModTime": True, "noMimeType": True, "filesOnly": True}
_OVERWRITE = {"IgnoreExisting": False, "IgnoreTimes": True}
_OVER = {"NoCheckDest": True}
"""Makes rclone move an object over another as if there were none: else it deletes that one first."""


@dataclass(frozen=True, slots=True)
class ObjectFailure:
    """A failure of one object: the text of what went wrong with it."""

    text: str


class RemoteStorage:
    """A remote storage: one configured remote of rclone."""

    def __init__(self, rc: RcloneRpc, remote: RemoteDefinition, tuning: StorageTuning, scratch: FolderOnDemand) -> None:
        """Take a private folder for what a call is given in a file."""
        self._rpc = rc
        self._remote = remote
        self._tuning = tuning
        self._bulk = BulkCalls(rc, remote, tuning, scratch)
        self._kinds: tuple[str, ...] | None = None
        self._slow_hashes = True
        self._crowds: Counter[str] = Counter()
        self._folders: set[str] = set()
        self._making = threading.Lock()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the hashes that both the storage and we know, best first; asked once."""
        if self._kinds is None:
            about = self._rpc.call("operations/fsinfo", fs=self._remote.fs)
            self._slow_hashes = bool(about["Features"].get("SlowHash"))
            self._kinds = tuple(kind for kind in PREFERRED if kind in (about["Hashes"] or []))
        return self._kinds

    def object_sizes(self, targets: Sequence[str], detector: StallDetector) -> list[int | ObjectFailure | None]:
        """Return the size of each object, or None where there is none.

        Folders of which many objects are asked are listed (0.016 ms a file instead of 0.11), unless they
        held far more than was asked when they were listed last.
        """
        detector.begin_call()
        places = [target.rpartition("/") for target in targets]
        asked = Counter(
            folder for (folder, _, _), target in zip(places, targets, strict=True) if not needs_bytes(target)
        )
        listed = [name for name, count in asked.items() if count >= _FEW and not self._crowded(name, count)]
        found = self._list(listed, detector)
        single = [
            target
            for (folder, _, _), target in zip(places, targets, strict=True)
            if folder not in found or needs_bytes(target)
        ]
        alone = dict(zip(single, self._stat(single, detector), strict=True))
        sizes: list[int | ObjectFailure | None] = []
        for (folder, _, name), target in zip(places, targets, strict=True):
            names = None if target in alone else found[folder]
            if names is None:
                sizes.append(alone[target])
            else:
                sizes.append(names if isinstance(names, ObjectFailure) else names.get(standard_path(name)))
        return sizes

    def stat_objects(self, targets: Sequence[str], detector: StallDetector) -> list[int | ObjectFailure | None]:
        """Return the size of what is given under each name, asked for one by one: a listing may not have it so."""
        detector.begin_call()
        return self._stat(targets, detector)

    def copy_files(
        self, items: Sequence[Sending], overwrite: Sequence[bool], group: str, detector: StallDetector
    ) -> list[Answer]:
        """Send the items; an object that is there is left alone unless it may be overwritten.

        Many go in one call. Where that reports a failure, each is tried by itself: what was sent is not sent again.
        """
        if self._tuning.makes_folders:
            self._make_folders({_folder(item.target) for item in items}, detector)
        free = [i for i, over in enumerate(overwrite) if not over]
        some = [items[i] for i in free]
        self._begin_sending(some, detector)
        crowded = self._any_crowded([item.target for item in some])
        sent = {free[i] for i in self._bulk.copy(some, group, detector, crowded=crowded)}
        rest = [i for i in range(len(items)) if i not in sent]
        self._begin_sending([items[i] for i in rest], detector)
        calls: list[Call] = []
        for i in rest:
            fs, path = _source_address(Path(items[i].source))
            goal = {"dstFs": self._remote.fs, "dstRemote": standard_path(items[i].target)}
            how = {"_config": _OVERWRITE} if overwrite[i] else {}
            calls.append(("operations/copyfile", {"srcFs": fs, "srcRemote": path, **goal, **how}))
        answers = dict(zip(rest, self._many(calls, detector, group), strict=True))
        return [answers.get(i, {}) for i in range(len(items))]

    def _make_folders(self, folders: set[str], detector: StallDetector) -> None:
        """Make folders one by one; a failure shows again, and with its file, when that is sent."""
        with self._making:
            new = sorted(folders - self._folders)
            detector.begin_call()
            self._many([self._call("mkdir", standard_path(folder)) for folder in new], detector, in_parallel=1)
            if len(self._folders) > _REMEMBERED:
                self._folders.clear()
            self._folders.update(new)

    @staticmethod
    def _begin_sending(items: Sequence[Sending], detector: StallDetector) -> None:
        total = sum(item.size for item in items)
        detector.begin_call(total, total / _ASSEMBLING)

    def _any_crowded(self, targets: Sequence[str]) -> bool:
        asked = Counter(_folder(target) for target in targets)
        return any(self._crowded(name, count) for name, count in asked.items())

    def _crowded(self, folder: str, asked: int) -> bool:
        """Tell whether a folder held far more than is asked of it when it was listed last."""
        return self._crowds[folder] > asked * _CROWDED

    def move_objects(self, pairs: Sequence[tuple[str, str]], size: int, detector: StallDetector) -> list[Answer]:
        """Move objects (from, to) of so many bytes together over what lies there."""
        detector.begin_call(0, size / _ASSEMBLING)
        how = _OVER if self._tuning.moves_over else _OVERWRITE
        fs = self._remote.fs
        calls: list[Call] = [
            (
                "operations/movefile",
                {
                    "srcFs": fs,
                    "srcRemote": standard_path(source),
                    "dstFs": fs,
                    "dstRemote": standard_path(goal),
                    "_config": how,
                },
            )
            for source, goal in pairs
        ]
        return self._many(calls, detector)

    def hash_objects(
        self, objects: Sequence[tuple[str, int]], detector: StallDetector, *, kinds: Iterable[str], read_back: bool
    ) -> list[Stored | ObjectFailure | None]:
        """Hash stored objects (target, size) from their stored bytes; None where that is not possible.

        First by asking the storage, then, where it has no hash and `read_back` is wanted, by reading
        the bytes back.
        """
        if not objects:
            return []
        held = set(kinds)
        kind = next((kind for kind in self.kinds if kind in held), None)
        results: list[Stored | ObjectFailure | None] = [None] * len(objects)
        if kind:
            asked = [i for i, (_, size) in enumerate(objects) if size >= self._tuning.read_back_below]
            self._hash_into(results, objects, asked, kind, detector, download=False)
        missing = [i for i, result in enumerate(results) if result is None]
        if read_back:
            self._hash_into(results, objects, missing, PREFERRED[0], detector, download=True)
        return results

    def remove_object(self, target: str) -> None:
        """Delete one object."""
        self._rpc.call("operations/deletefile", fs=self._remote.fs, remote=standard_path(target))

    def leftovers(self, targets: Sequence[str], detector: StallDetector) -> list[str]:
        """Find what cut-off attempts have left beside the targets.

        Raises:
            RcloneRefused: the storage cannot be asked.
        """
        detector.begin_call()
        named = [target for target in targets if not needs_bytes(target)]
        folders = self._list(sorted({_folder(target) for target in named}), detector)
        found = []
        for target in named:
            names = folders[_folder(target)]
            if isinstance(names, ObjectFailure):
                raise RcloneRefused(names.text)
            partial = [
                other
                for name in (target, beside(target))
                for other in leftovers(standard_path(name.rpartition("/")[2]), names)
            ]
            found += [f"{_folder(target)}/{name}".removeprefix("/") for name in partial]
        return found

    def write_probe(self, source: Path, target: str, detector: StallDetector) -> Answer:
        """Write a small file of ours."""
        detector.begin_call()
        fs, path = _source_address(source)
        call = {"srcFs": fs, "srcRemote": path, "dstFs": self._remote.fs, "dstRemote": target}
        return self._many([("operations/copyfile", call)], detector)[0]

    def free_bytes(self) -> int | None:
        """Return the free bytes where the storage tells them."""
        answer = self._rpc.call("operations/about", fs=self._remote.fs)
        free = answer.get("free")
        return int(free) if free is not None else None

    def list_folder(self, folder: str) -> Entries:
        """List one folder of the remote; a folder that is not there is empty.

        Raises:
            RcloneRefused: the storage does not answer.
        """
        _, call = self._call("list", standard_path(folder), opt={"noModTime": True, "noMimeType": True})
        try:
            answer = self._rpc.call("operations/list", **call)
        except RcloneRefused as error:
            if "directory not found" in str(error):
                return []
            raise
        return [(entry["Name"], None if entry["IsDir"] else int(entry["Size"])) for entry in answer["list"]]

    def list_objects(self, folder: str, detector: StallDetector, *, hashing: bool, by_folder: bool) -> Iterator[Listed]:
        """Yield every object below a folder; see `Mover.list_objects`."""
        kinds = self.kinds  # asked for first: with them comes whether they are slow
        # no hash where that would read the objects or open a session for each
        free = not self._slow_hashes or (hashing and self._remote.type == "local")
        kind = kinds[0] if kinds and free else ""
        opt: dict[str, Any] = {"noModTime": True, "noMimeType": True, "recurse": not by_folder}
        if kind:
            opt |= {"showHash": True, "hashTypes": [kind]}
        waiting = deque([standard_path(folder)])
        cut = len(waiting[0]) + 1
        while waiting:
            detector.begin_call(0, _LISTING_S)
            for entry in self._entries(waiting.popleft(), opt, detector):
                if not entry["IsDir"]:
                    digest = entry.get("Hashes", {}).get(kind, "") if kind else ""
                    yield Listed(plain_path(entry["Path"][cut:]), int(entry["Size"]), kind if digest else "", digest)
                elif by_folder:
                    waiting.append(entry["Path"])

    def _entries(self, folder: str, opt: dict[str, Any], detector: StallDetector) -> Iterator[dict[str, Any]]:
        try:
            file = self._rpc.spool("operations/list", detector, fs=self._remote.fs, remote=folder, opt=opt)
        except RcloneRefused as error:
            if "directory not found" in str(error):
                return
            raise
        with file:
            yield from read_entries(file)

    def new_group(self) -> str:
        """Return a name under which rclone counts what belongs together."""
        return self._rpc.new_group()

    def count_sent(self, group: str) -> int:
        """Return how many files of a group were really sent."""
        return int(self._rpc.stats(group)["transfers"])

    def _list(self, folders: Sequence[str], detector: StallDetector) -> dict[str, dict[str, int] | ObjectFailure]:
        calls = [self._call("list", standard_path(folder), opt=_PLAIN) for folder in folders]
        found: dict[str, dict[str, int] | ObjectFailure] = {}
        for name, answer in zip(folders, self._many(calls, detector), strict=True):
            absent = "directory not found" in str(answer.get("error", ""))
            if "error" in answer and not absent:
                found[name] = ObjectFailure(str(answer["error"]))
                continue
            names = {} if absent else {entry["Name"]: entry["Size"] for entry in answer["list"]}
            found[name] = names
            self._crowds.pop(name, None)
            if len(names) > _FEW * _CROWDED:  # another is worth listing in any case
                if len(self._crowds) >= _REMEMBERED:
                    self._crowds.clear()
                self._crowds[name] = len(names)
        return found

    def _stat(self, targets: Sequence[str], detector: StallDetector) -> list[int | ObjectFailure | None]:
        calls = [self._call("stat", standard_path(target), opt=_PLAIN) for target in targets]
        sizes: list[int | ObjectFailure | None] = []
        for answer in self._many(calls, detector):
            if "error" in answer:
                sizes.append(ObjectFailure(answer["error"]))
            else:
                sizes.append(None if answer["item"] is None else int(answer["item"]["Size"]))
        return sizes

    def _hash_into(
        self,
        results: list[Stored | ObjectFailure | None],
        objects: Sequence[tuple[str, int]],
        chosen: Sequence[int],
        kind: str,
        detector: StallDetector,
        *,
        download: bool,
    ) -> None:
        method = "read back" if download else f"backend {kind}"
        allowed_s = 0 if download else sum(objects[i][1] for i in chosen) / _HASHING
        detector.begin_call(0, allowed_s)
        targets = [objects[i][0] for i in chosen]
        crowded = self._any_crowded(targets)
        sums = self._bulk.sums(targets, kind, detector, download=download, crowded=crowded)
        for i in chosen:
            if digest := sums.get(objects[i][0]):
                results[i] = _stored({"hash": digest}, kind, method)
        rest = [i for i in chosen if results[i] is None]
        detector.begin_call(0, allowed_s)
        calls = [
            self._call("hashsumfile", standard_path(objects[i][0]), hashType=kind, download=download) for i in rest
        ]
        for i, answer in zip(rest, self._many(calls, detector), strict=True):
            results[i] = _stored(answer, kind, method)

    def _call(self, verb: str, remote: str, **more: object) -> Call:
        return f"operations/{verb}", {"fs": self._remote.fs, "remote": remote, **more}

    def _many(
        self,
        calls: Sequence[Call],
        detector: StallDetector,
        group: str | None = None,
        *,
        in_parallel: int | None = None,
    ) -> list[Answer]:
        if detector.reason:
            return [{"error": detector.reason} for _ in calls]
        if not calls:
            return []
        at_once = in_parallel or self._tuning.in_parallel
        return self._rpc.call_many(calls, in_parallel=at_once, detector=detector, group=group)


def _source_address(path: PurePath) -> tuple[str, str]:
    return f"{SOURCE}:{path.anchor}", standard_path(path.relative_to(path.anchor).as_posix())


def _folder(target: str) -> str:
    return target.rpartition("/")[0]


def _stored(answer: Answer, kind: str, method: str) -> Stored | ObjectFailure | None:
    if "error" in answer:
        error = str(answer["error"])
        return None if "hash type not supported" in error else ObjectFailure(error)
    digest = str(answer["hash"])
    return Stored(kind, digest, method) if _HEX.fullmatch(digest) else None
