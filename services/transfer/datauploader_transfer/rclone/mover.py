"""The mover over rclone: batches of files through one long-lived process, each proved afterwards."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

import httpx
import structlog

from datauploader_transfer.domain import outcomes
from datauploader_transfer.domain.failures import classify
from datauploader_transfer.domain.names import checked_target, place
from datauploader_transfer.domain.plan import BatchLimits, split_batches
from datauploader_transfer.domain.remotes import SOURCE, RemoteDefinition
from datauploader_transfer.domain.tuning import tuning_for
from datauploader_transfer.errors import BadRemote, BadTarget, RcloneGone, RcloneRefused, TransferError
from datauploader_transfer.object_locks import ObjectLocks
from datauploader_transfer.ports import (
    UNPROVED,
    Begin,
    FolderContents,
    Item,
    Listed,
    Outcome,
    RemoteHealth,
    State,
    Stored,
    Whose,
    asks_for_pause,
)
from datauploader_transfer.rclone.copy_batch import CopyBatch
from datauploader_transfer.rclone.counting import ObjectCounter
from datauploader_transfer.rclone.daemon import RcloneDaemon, find_rclone
from datauploader_transfer.rclone.private_folder import FolderOnDemand, in_memory
from datauploader_transfer.rclone.probes import clock_fault, probe_tcp, requested_pause_s
from datauploader_transfer.rclone.remote_storage import ObjectFailure, RemoteStorage
from datauploader_transfer.rclone.rpc import RcloneRpc
from datauploader_transfer.rclone.source_file import BY_NUMBER
from datauploader_transfer.rclone.stall_detector import StallDetector
from datauploader_transfer.rclone.sweeping import sweep

__all__ = ["RcloneMover", "RcloneSettings"]

log = structlog.get_logger()

A = TypeVar("A")

_ATTEMPTS = 3
_BREATH_S = 0.3
_CHECK_WITHIN_S = 20.0
_STALL_S = 45.0
_STOPPED = "job stopped"


@dataclass(frozen=True, slots=True)
class RcloneSettings:
    """Set how rclone is run; the defaults suit."""

    binary: Path | None = None
    folder: Path | None = None
    copies: Path | None = None
    """Where files that a program goes on writing are copied before they are sent."""
    stall_s: float = _STALL_S
    batches: BatchLimits = field(default_factory=BatchLimits)
    bytes_per_s: int | None = None


class RcloneMover:
    """Implement the `Mover` port over rclone's remote control."""

    def __init__(self, remotes: Mapping[str, RemoteDefinition], settings: RcloneSettings | None = None) -> None:
        self._settings = settings or RcloneSettings()
        self._remotes = dict(remotes)
        self._bytes_per_s = self._settings.bytes_per_s
        self._locks = ObjectLocks()
        self._counting = ObjectCounter()
        self._closing = Event()
        self._unusable: dict[str, str] = {}
        binary = find_rclone(self._settings.binary)
        self._copies = FolderOnDemand("du-taken-", self._settings.copies)
        self._links = FolderOnDemand("du-links-", self._settings.folder or in_memory())
        self._daemon = RcloneDaemon(binary, self._define_everything, folder=self._settings.folder)
        self._rpc = RcloneRpc(self._daemon)
        self._storages = {
            name: RemoteStorage(self._rpc, remote, tuning_for(remote), self._links)
            for name, remote in self._remotes.items()
        }

    @property
    def pid(self) -> int | None:
        """Return the process id of the running rclone, for health pages and fault tests."""
        return self._daemon.pid

    def move(
        self,
        remote: str,
        items: Sequence[Item],
        *,
        on_begin: Begin | None = None,
        on_progress: Callable[[int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Outcome]:
        """Move the items, batch by batch; see the port."""
        settled: dict[int, Outcome] = {}  # by identity: keys belong to the caller and may repeat
        away = probe_tcp(self._remotes[remote]) if remote in self._remotes else ""
        for item in items:
            refusal = self._refusal(remote, item) or (outcomes.failed(item, away) if away else None)
            if refusal is not None:
                settled[id(item)] = replace(refusal, unproved=UNPROVED in item.replaces)
        moved = 0
        wanted = [item for item in items if id(item) not in settled]
        asked: Outcome | None = None
        for batch in split_batches(wanted, self._settings.batches):
            if asked is not None:  # it would be sent within the pause
                settled |= {id(item): outcomes.not_begun(item, asked) for item in batch}
                continue
            detector = self._detector(remote, cancel, on_progress, moved)
            found = self._move_batch(remote, batch, detector, on_begin)
            found = self._ask_for_reasons(remote, batch, found)
            for item, outcome in zip(batch, found, strict=True):
                settled[id(item)] = outcome
            asked = next(filter(asks_for_pause, found), None)
            moved += sum(item.size for item in batch)
            if on_progress:
                on_progress(moved)
        return [settled[id(item)] for item in items]

    def hash_stored(self, remote: str, target: str, algorithms: Sequence[str]) -> Stored | None:
        """Hash a stored object again; see the port."""
        storage = self._storage(remote)
        detector = self._detector(remote)
        size = storage.object_sizes([checked_target(target)], detector)[0]
        found: Stored | ObjectFailure | None = size if isinstance(size, ObjectFailure) else None
        if isinstance(size, int):
            found = storage.hash_objects([(target, size)], detector, kinds=algorithms, read_back=True)[0]
        if isinstance(found, ObjectFailure):
            raise RcloneRefused(f"{classify(found.text).says} ({found.text})")
        return replace(found, size=size) if found and isinstance(size, int) else None

    def count_contents(self, remote: str, folder: str, *, most: int, within_s: float) -> FolderContents:
        """Count what lies below a folder; see the port."""
        storage = self._storage(remote)
        return self._counting.count_objects(remote, storage, checked_target(folder), most=most, within_s=within_s)

    def list_objects(self, remote: str, folder: str, *, hashing: bool, by_folder: bool = False) -> Iterator[Listed]:
        """Yield every object below a folder; see the port."""
        storage, detector = self._storage(remote), self._detector(remote)
        yield from storage.list_objects(checked_target(folder), detector, hashing=hashing, by_folder=by_folder)

    def find_sizes(self, remote: str, targets: Sequence[str]) -> list[int | None]:
        """Look for what the storage gives under these names; see the port."""
        return [_answered(found) for found in self._storage(remote).stat_objects(targets, self._detector(remote))]

    def hash_all(
        self, remote: str, objects: Sequence[tuple[str, int]], algorithms: Sequence[str]
    ) -> list[Stored | None]:
        """Hash stored objects again; see the port."""
        storage, detector = self._storage(remote), self._detector(remote)
        return [_answered(found) for found in storage.hash_objects(objects, detector, kinds=algorithms, read_back=True)]

    def sweep_leftovers(self, remote: str, targets: Mapping[str, frozenset[str]]) -> None:
        """Remove what was left beside these targets, or bring it there; see the port."""
        storage = self._storage(remote)
        with self._locks.holding(remote, (place(target) for target in targets)):
            sweep(storage, targets, self._detector(remote))

    def probe_remote(self, remote: str) -> RemoteHealth:
        """Write a small file to the remote and remove it again; see the port."""
        try:
            storage = self._storage(remote)
            if away := probe_tcp(self._remotes[remote]):
                raise RcloneRefused(away)
            self._write_probe(storage, self._remotes[remote])
        except TransferError as error:
            text = str(error)
            failure = classify(text)
            if failure.by_hand and (fault := clock_fault(self._remotes[remote])):
                text, failure = fault, classify(fault)
            reachable = failure.state != State.UNREACHABLE and not isinstance(error, RcloneGone | BadRemote)
            detail = f"{failure.says} ({text})" if isinstance(error, RcloneRefused) else text
            return RemoteHealth(remote, reachable, writable=False, free=None, detail=detail, hint=failure.hint)
        try:
            free = storage.free_bytes()
        except TransferError:
            free = None  # many storages do not tell
        return RemoteHealth(
            remote, reachable=True, writable=True, free=free, detail="Files can be written to the storage."
        )

    def limit_bandwidth(self, bytes_per_s: int | None) -> None:
        """Limit the bandwidth, now and after a restart of rclone; see the port."""
        self._bytes_per_s = bytes_per_s
        self._rpc.call("core/bwlimit", rate=_rate(bytes_per_s))

    def interrupt(self) -> None:
        """Kill rclone, which is started again; see the port."""
        self._daemon.restart(self._daemon.generation)

    def close(self) -> None:
        """Stop what runs and end rclone."""
        self._closing.set()
        self._daemon.close()
        self._rpc.close()
        self._copies.close()
        self._links.close()

    def _refusal(self, remote: str, item: Item) -> Outcome | None:
        try:
            self._storage(remote)
            checked_target(item.target)
        except (BadRemote, BadTarget) as error:
            return outcomes.refused(item, str(error), "Ask the administrator, who defines the storages.")
        if "\x00" in os.fspath(item.source) or not os.path.isabs(item.source):  # noqa: PTH117 - text
            return outcomes.refused(
                item, "The source is not an absolute path.", "This is a fault in DataUploader; please report it."
            )
        return None

    def _ask_for_reasons(self, remote: str, batch: Sequence[Item], found: list[Outcome]) -> list[Outcome]:
        """Add how long the storage itself asks to be left alone, and whether our clock is what it refuses us for."""
        away = any(outcome.state is State.UNREACHABLE for outcome in found)
        wanted = requested_pause_s(self._remotes[remote]) if away else None
        if wanted is not None:
            log.info("retry_after_requested", remote=remote, seconds=wanted)
            found = [
                replace(outcome, whose=Whose.REMOTE, retry_after_s=max(wanted, outcome.retry_after_s or 0))
                if outcome.state is State.UNREACHABLE
                else outcome
                for outcome in found
            ]
        refused = [outcome.state is State.REFUSED and outcome.by_hand for outcome in found]
        fault = clock_fault(self._remotes[remote]) if any(refused) else ""
        if not fault:
            return found
        told = zip(batch, found, refused, strict=True)
        return [
            replace(outcomes.failed(item, fault), unproved=outcome.unproved) if late else outcome
            for item, outcome, late in told
        ]

    def _move_batch(
        self, remote: str, batch: Sequence[Item], detector: StallDetector, on_begin: Begin | None
    ) -> list[Outcome]:
        storage, read_back = self._storage(remote), self._remotes[remote].read_back
        look = detector.probe
        text, unproved = "", {i for i, item in enumerate(batch) if UNPROVED in item.replaces}
        with self._locks.holding(remote, (place(item.target) for item in batch)):
            for _ in range(_ATTEMPTS):
                if detector.must_end():
                    break
                try:
                    if text:  # what the attempt before has left would stay if the file has changed meanwhile
                        ours = {item.target: item.replaces.union(item.digests.values()) for item in batch}
                        sweep(storage, ours, detector)
                    attempt = CopyBatch(
                        storage,
                        batch,
                        detector,
                        read_back=read_back,
                        copies=self._copies,
                        on_begin=on_begin,
                        unproved=unproved,
                    )
                    detector.probe = partial(_who_is_silent, attempt, self._remotes[remote])
                    return attempt.run_batch()
                except RcloneGone as error:
                    text = f"connection lost: {error}"
                    log.warning("copy_batch_interrupted", remote=remote, files=len(batch), error=str(error))
                    self._closing.wait(_BREATH_S)  # a dying rclone still accepts for a moment
                except RcloneRefused as error:
                    text = str(error)
                    break
                finally:
                    detector.probe = look  # or the batch, with all its items, would stay in memory as part of a ring
        return [
            replace(outcomes.failed(item, detector.reason or text), unproved=i in unproved)
            for i, item in enumerate(batch)
        ]

    def _detector(
        self,
        remote: str,
        cancel: Event | None = None,
        on_progress: Callable[[int], None] | None = None,
        moved: int = 0,
    ) -> StallDetector:
        cancels = (self._closing, cancel) if cancel else (self._closing,)
        on_bytes = (lambda size: on_progress(moved + size)) if on_progress else None
        look = partial(probe_tcp, self._remotes[remote], hand_shaking=True)
        return StallDetector(self._settings.stall_s, cancels, on_bytes, look)

    def _storage(self, remote: str) -> RemoteStorage:
        storage = self._storages.get(remote)
        if storage is None:
            known = ", ".join(sorted(self._storages)) or "none"
            raise BadRemote(f"There is no storage named {remote!r} here; known are: {known}.")
        if remote in self._unusable:
            raise BadRemote(self._unusable[remote])
        return storage

    def _write_probe(self, storage: RemoteStorage, remote: RemoteDefinition) -> None:
        name = f".datauploader-probe-{secrets.token_hex(6)}"
        source = self._daemon.folder / name
        source.write_bytes(b"DataUploader tries whether it can write here.\n")
        try:
            detector = StallDetector(
                _CHECK_WITHIN_S, (self._closing,), probe=partial(probe_tcp, remote, hand_shaking=True)
            )
            answer = storage.write_probe(source, name, detector)
            if "error" in answer:
                raise RcloneRefused(str(answer["error"]))
            storage.remove_object(name)
        finally:
            source.unlink(missing_ok=True)

    def _define_everything(self, client: httpx.Client) -> None:
        links = {"copy_links": "true"} if BY_NUMBER else {}  # the one link that leads to a file which we hold open
        _define(client, SOURCE, "local", {"encoding": "Raw", **links})
        for name, remote in self._remotes.items():
            secret = {key: value.get_secret_value() for key, value in remote.secrets.items()}
            trusted = {"override.ca_cert": str(remote.ca_file)} if remote.ca_file else {}
            try:
                _define(client, name, remote.type, {**tuning_for(remote).options, **secret, **trusted})
            except BadRemote as error:  # the others can still be used
                self._unusable[name] = str(error)
                log.warning("remote_probe_failed", remote=name, error=str(error))
        client.post("/core/bwlimit", json={"rate": _rate(self._bytes_per_s)})


def _answered(found: A | ObjectFailure) -> A:
    """Return what a storage said.

    Raises:
        RcloneRefused: it did not answer.
    """
    if isinstance(found, ObjectFailure):
        raise RcloneRefused(f"{classify(found.text).says} ({found.text})")
    return found


def _who_is_silent(attempt: CopyBatch, remote: RemoteDefinition) -> str:
    return attempt.silence() or probe_tcp(remote, hand_shaking=True)


def _define(client: httpx.Client, name: str, kind: str, options: Mapping[str, str]) -> None:
    how = {"obscure": True, "nonInteractive": True}
    call = {"name": name, "type": kind, "parameters": dict(options), "opt": how}
    answer = client.post("/config/create", json=call).json()
    if "error" in answer:
        raise BadRemote(f"rclone refuses the remote {name}: {answer['error']}")


def _rate(bytes_per_s: int | None) -> str:
    return f"{bytes_per_s}B" if bytes_per_s else "off"
