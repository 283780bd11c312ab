"""A mover whose storages are dictionaries: honest about files, with switches for what can go wrong."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event

from datauploader_transfer.domain import outcomes
from datauploader_transfer.domain.leftovers import beside, leftovers
from datauploader_transfer.domain.names import checked_target
from datauploader_transfer.errors import BadRemote, BadTarget, RcloneRefused
from datauploader_transfer.ports import (
    MOST_HELD,
    UNPROVED,
    Begin,
    FolderContents,
    Item,
    Listed,
    Outcome,
    RemoteHealth,
    State,
    Stored,
)
from datauploader_transfer.rclone.source_file import digest_of_start, faults_of_sources, read

__all__ = ["MemoryMover", "MemoryStorage"]


@dataclass(slots=True)
class MemoryStorage:
    """Hold objects by target; the other fields make it misbehave.

    `hashes` are what the storage can be asked for, `room` its free bytes (None: endless), `down` an
    error text that everything answers with, `unlisted` one that the listing of a folder answers with, `refuses` one
    for each object that is not taken,
    `damage` changes bytes on their way in, `alias` names on the way to an object.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    hashes: tuple[str, ...] = ("md5",)
    read_back: bool = True
    room: int | None = None
    down: str = ""
    unlisted: str = ""
    refuses: dict[str, str] = field(default_factory=dict)
    damage: Callable[[bytes], bytes] | None = None
    alias: Callable[[str], str] = str

    def put(self, target: str, content: bytes) -> str:
        """Store an object and return an error text, empty when it went well."""
        target = self.alias(target)
        if target in self.refuses:
            return self.refuses[target]
        if self.room is not None and len(content) > self.room:
            return "no space left on device"
        if self.room is not None:
            self.room -= len(content)
        self.objects[target] = self.damage(content) if self.damage else content
        return ""

    def hash(self, target: str, algorithms: Iterable[str], *, read_back: bool) -> Stored | None:
        """Hash a stored object as a storage does, or by reading it back."""
        wanted = set(algorithms)
        offered = next((kind for kind in self.hashes if kind in wanted), None)
        if offered is None and not read_back:
            return None
        kind = offered or "sha256"
        digest = hashlib.new(kind, self.objects[self.alias(target)], usedforsecurity=False).hexdigest()
        return Stored(kind, digest, f"backend {kind}" if offered else "read back")


class MemoryMover:
    """Implement the `Mover` port on dictionaries."""

    def __init__(self, storages: dict[str, MemoryStorage] | None = None) -> None:
        self.storages = storages if storages is not None else {"memory": MemoryStorage()}
        self.bytes_per_s: int | None = None
        self.closed = False
        self._lock = threading.Lock()

    def move(
        self,
        remote: str,
        items: Sequence[Item],
        *,
        on_begin: Begin | None = None,
        on_progress: Callable[[int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Outcome]:
        """Move the items one after the other; see the port."""
        found: list[Outcome] = []
        moved = 0
        for item in items:
            stopped = self.closed or (cancel is not None and cancel.is_set())
            found.append(outcomes.failed(item, "job stopped") if stopped else self._move_one(remote, item, on_begin))
            moved += item.size
            if on_progress:
                on_progress(moved)
        return found

    def hash_stored(self, remote: str, target: str, algorithms: Sequence[str]) -> Stored | None:
        """Hash a stored object again; see the port."""
        storage = self._storage(remote)
        if storage.down:
            raise RcloneRefused(storage.down)
        if checked_target(target) not in storage.objects:
            return None
        found = storage.hash(target, algorithms, read_back=True)
        return replace(found, size=len(storage.objects[target])) if found else None

    def count_contents(self, remote: str, folder: str, *, most: int, within_s: float) -> FolderContents:  # noqa: ARG002 - at once
        """Count what lies below a folder; see the port."""
        storage = self._storage(remote)
        if storage.down:
            raise RcloneRefused(storage.down)
        prefix = checked_target(folder) + "/"
        below = {
            name.removeprefix(prefix): len(bytes_)
            for name, bytes_ in storage.objects.items()
            if name.startswith(prefix)
        }
        names = sorted(below, key=lambda name: (name.count("/"), name))[:most]
        size = sum(below[name] for name in names)
        held = tuple((name, below[name]) for name in names[:MOST_HELD])
        return FolderContents(bool(below), len(names), size, held, partial=len(names) < len(below))

    def list_objects(self, remote: str, folder: str, *, hashing: bool, by_folder: bool = False) -> Iterator[Listed]:  # noqa: ARG002 - it costs nothing
        """Yield every object below a folder; see the port."""
        storage = self._storage(remote)
        if storage.down:
            raise RcloneRefused(storage.down)
        prefix = checked_target(folder) + "/"
        for target, content in sorted(storage.objects.items()):
            if target.startswith(prefix):
                stored = storage.hash(target, storage.hashes, read_back=False)
                kind, digest = (stored.algorithm, stored.digest) if stored else ("", "")
                yield Listed(target.removeprefix(prefix), len(content), kind, digest)

    def find_sizes(self, remote: str, targets: Sequence[str]) -> list[int | None]:
        """Look for what the storage gives under these names; see the port."""
        storage = self._storage(remote)
        if storage.down:
            raise RcloneRefused(storage.down)
        names = [storage.alias(target) for target in targets]
        return [len(storage.objects[name]) if name in storage.objects else None for name in names]

    def hash_all(
        self, remote: str, objects: Sequence[tuple[str, int]], algorithms: Sequence[str]
    ) -> list[Stored | None]:
        """Hash stored objects again; see the port."""
        return [self.hash_stored(remote, target, algorithms) for target, _ in objects]

    def sweep_leftovers(self, remote: str, targets: Mapping[str, frozenset[str]]) -> None:
        """Remove the objects that stand for half of these, or bring them there; see the port."""
        storage = self._storage(remote)
        if trouble := storage.down or storage.unlisted:
            raise RcloneRefused(trouble)
        for target, ours in targets.items():
            folder, name = target.rpartition("/")[0], beside(target)
            names = [other.rpartition("/")[2] for other in storage.objects if other.rpartition("/")[0] == folder]
            for whole in (target, name):
                for left in leftovers(whole.rpartition("/")[2], names):
                    del storage.objects[f"{folder}/{left}"]
            content = storage.objects.pop(name, None)
            if content is None or target in storage.objects:
                continue
            if any(
                hashlib.new(kind, content, usedforsecurity=False).hexdigest() in ours
                for kind in ("sha256", "md5", "sha1")
            ):
                storage.objects[target] = content

    def probe_remote(self, remote: str) -> RemoteHealth:
        """Tell what the switches say; see the port."""
        try:
            storage = self._storage(remote)
        except BadRemote as error:
            return RemoteHealth(remote, reachable=False, writable=False, free=None, detail=str(error))
        well = not storage.down
        return RemoteHealth(remote, well, well, storage.room, storage.down or "Files can be written to the storage.")

    def limit_bandwidth(self, bytes_per_s: int | None) -> None:
        """Remember the limit; see the port."""
        self.bytes_per_s = bytes_per_s

    def interrupt(self) -> None:
        """Do nothing: no program of its own writes; see the port."""

    def close(self) -> None:
        """Stop moving."""
        self.closed = True

    def _storage(self, remote: str) -> MemoryStorage:
        if remote not in self.storages:
            raise BadRemote(f"There is no storage named {remote!r} here; known are: {', '.join(self.storages)}.")
        return self.storages[remote]

    def _move_one(self, remote: str, item: Item, on_begin: Begin | None) -> Outcome:
        try:
            storage = self._storage(remote)
            target = storage.alias(checked_target(item.target))
        except (BadRemote, BadTarget) as error:
            return outcomes.refused(item, str(error), "Ask the administrator, who defines the storages.")
        if storage.down:
            return outcomes.failed(item, storage.down)
        with self._lock:
            [outcome] = faults_of_sources([item])
            if outcome is not None and UNPROVED in item.replaces:
                storage.objects.pop(target, None)
            outcome = outcome or _known(storage, target, item)
            if outcome is None:
                if on_begin:
                    on_begin([item], () if target in storage.objects else (item.key,))
                outcome = _known(storage, target, item) or _sent(storage, target, item)
            if outcome.state not in (State.SOURCE_GONE, State.SOURCE_CHANGED):
                return outcome
            if target not in storage.objects:
                return replace(outcome, holds="nothing")
            stored = _read_back(storage, target, item)
            same = item.digests[stored.algorithm] == stored.digest
            return outcomes.verified(item, stored) if same else replace(outcome, holds="other", found=stored.digest)


def _read_back(storage: MemoryStorage, target: str, item: Item) -> Stored:
    stored = storage.hash(target, item.digests, read_back=True)
    assert stored is not None, "what can be read back can be hashed"
    return stored


def _known(storage: MemoryStorage, target: str, item: Item) -> Outcome | None:
    """Judge what is there already; None when the item is to be sent."""
    if target not in storage.objects:
        return None
    stored = _read_back(storage, target, item)
    if item.digests[stored.algorithm] == stored.digest:
        return outcomes.verified(item, stored)
    size = len(storage.objects[target])
    ours = not {stored.digest, UNPROVED}.isdisjoint(item.replaces) or (
        item.replaces
        and stored.digest not in item.keeps
        and size < item.size
        and digest_of_start(item, size, stored.algorithm) == stored.digest
    )
    return None if ours else outcomes.conflict(item, found=stored.digest)


def _sent(storage: MemoryStorage, target: str, item: Item) -> Outcome:
    """Send the item, beside its predecessor where there is one, and move it there once it is proved."""
    content = read(item)
    place = beside(target) if target in storage.objects else target
    if error := storage.put(place, content):
        return outcomes.failed(item, error)
    began = time.monotonic()
    stored = storage.hash(place, item.digests, read_back=storage.read_back)
    took_ms = round((time.monotonic() - began) * 1000)
    if stored is None or item.digests[stored.algorithm] == stored.digest:
        storage.objects[target] = storage.objects.pop(place)
        return outcomes.verified(item, stored, proof_ms=took_ms) if stored else outcomes.unverified(item)
    del storage.objects[place]
    if hashlib.sha256(content).hexdigest() != item.digests["sha256"]:
        return outcomes.source_changed(item)
    return outcomes.mismatch(item, stored, left=False)
