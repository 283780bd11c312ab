"""The mover over rclone: portions of files through one long-lived process, each proved afterwards."""

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

from datauploader_transfer.adapters.asking import clock_fault, wanted_pause
from datauploader_transfer.adapters.binary import find_rclone
from datauploader_transfer.adapters.busy import Busy
from datauploader_transfer.adapters.counting import Counting
from datauploader_transfer.adapters.folder import FolderOnDemand
from datauploader_transfer.adapters.knock import knock
from datauploader_transfer.adapters.portion import Portion
from datauploader_transfer.adapters.rc import Rc
from datauploader_transfer.adapters.rcd import Rcd
from datauploader_transfer.adapters.source import BY_NUMBER
from datauploader_transfer.adapters.storage import Failed, Storage
from datauploader_transfer.adapters.sweeping import sweep
from datauploader_transfer.adapters.watch import Watch
from datauploader_transfer.domain import outcomes
from datauploader_transfer.domain.failures import classify
from datauploader_transfer.domain.plan import Portions, portions
from datauploader_transfer.domain.remotes import SOURCE, Remote
from datauploader_transfer.domain.targets import checked_target, place
from datauploader_transfer.domain.tuning import tuning_for
from datauploader_transfer.errors import BadRemote, BadTarget, RcloneGone, RcloneRefused, TransferError
from datauploader_transfer.ports import (
    UNPROVED,
    Begin,
    Contents,
    Health,
    Item,
    Listed,
    Outcome,
    State,
    Stored,
    Whose,
)

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
    portions: Portions = field(default_factory=Portions)
    bytes_per_s: int | None = None


class RcloneMover:
    """Implement the `Mover` port over rclone's remote control."""

    def __init__(self, remotes: Mapping[str, Remote], settings: RcloneSettings | None = None) -> None:
        self._settings = settings or RcloneSettings()
        self._remotes = dict(remotes)
        self._bytes_per_s = self._settings.bytes_per_s
        self._busy = Busy()
        self._counting = Counting()
        self._closing = Event()
        self._unusable: dict[str, str] = {}
        binary = find_rclone(self._settings.binary)
        self._copies = FolderOnDemand("du-taken-", self._settings.copies)
        self._rcd = Rcd(binary, self._define_everything, folder=self._settings.folder)
        self._rc = Rc(self._rcd)
        self._storages = {name: Storage(self._rc, remote, tuning_for(remote)) for name, remote in self._remotes.items()}

    @property
    def pid(self) -> int | None:
        """Return the process id of the running rclone, for health pages and fault tests."""
        return self._rcd.pid

    def move(
        self,
        remote: str,
        items: Sequence[Item],
        *,
        on_begin: Begin | None = None,
        on_progress: Callable[[int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Outcome]:
        """Move the items, portion by portion; see the port."""
        settled: dict[int, Outcome] = {}  # by identity: keys belong to the caller and may repeat
        away = knock(self._remotes[remote]) if remote in self._remotes else ""
        for item in items:
            refusal = self._refusal(remote, item) or (outcomes.failed(item, away) if away else None)
            if refusal is not None:
                settled[id(item)] = replace(refusal, unproved=UNPROVED in item.replaces)
        moved = 0
        wanted = [item for item in items if id(item) not in settled]
        for portion in portions(wanted, self._settings.portions):
            watch = self._watch(remote, cancel, on_progress, moved)
            found = self._move_portion(remote, portion, watch, on_begin)
            found = self._with_clock(remote, portion, self._with_pause(remote, found))
            for item, outcome in zip(portion, found, strict=True):
                settled[id(item)] = outcome
            moved += sum(item.size for item in portion)
            if on_progress:
                on_progress(moved)
        return [settled[id(item)] for item in items]

    def hash_stored(self, remote: str, target: str, algorithms: Sequence[str]) -> Stored | None:
        """Hash a stored object again; see the port."""
        storage = self._storage(remote)
        watch = self._watch(remote)
        size = storage.look([checked_target(target)], watch)[0]
        found: Stored | Failed | None = size if isinstance(size, Failed) else None
        if isinstance(size, int):
            found = storage.hash([(target, size)], watch, kinds=algorithms, read_back=True)[0]
        if isinstance(found, Failed):
            raise RcloneRefused(f"{classify(found.text).says} ({found.text})")
        return replace(found, size=size) if found and isinstance(size, int) else None

    def contents(self, remote: str, folder: str, *, most: int, within_s: float) -> Contents:
        """Count what lies below a folder; see the port."""
        storage = self._storage(remote)
        return self._counting.count(remote, storage, checked_target(folder), most=most, within_s=within_s)

    def listing(self, remote: str, folder: str, *, hashing: bool, by_folder: bool = False) -> Iterator[Listed]:
        """Yield every object below a folder; see the port."""
        storage, watch = self._storage(remote), self._watch(remote)
        yield from storage.listing(checked_target(folder), watch, hashing=hashing, by_folder=by_folder)

    def sizes(self, remote: str, targets: Sequence[str]) -> list[int | None]:
        """Look for what the storage gives under these names; see the port."""
        return [_answered(found) for found in self._storage(remote).stat(targets, self._watch(remote))]

    def hash_all(
        self, remote: str, objects: Sequence[tuple[str, int]], algorithms: Sequence[str]
    ) -> list[Stored | None]:
        """Hash stored objects again; see the port."""
        storage, watch = self._storage(remote), self._watch(remote)
        return [_answered(found) for found in storage.hash(objects, watch, kinds=algorithms, read_back=True)]

    def sweep(self, remote: str, targets: Mapping[str, frozenset[str]]) -> None:
        """Remove what was left beside these targets, or bring it there; see the port."""
        storage = self._storage(remote)
        with self._busy.holding(remote, (place(target) for target in targets)):
            sweep(storage, targets, self._watch(remote))

    def check(self, remote: str) -> Health:
        """Write a small file to the remote and remove it again; see the port."""
        try:
            storage = self._storage(remote)
            if away := knock(self._remotes[remote]):
                raise RcloneRefused(away)
            self._write_probe(storage, self._remotes[remote])
        except TransferError as error:
            text = str(error)
            failure = classify(text)
            if failure.by_hand and (fault := clock_fault(self._remotes[remote])):
                text, failure = fault, classify(fault)
            reachable = failure.state != State.UNREACHABLE and not isinstance(error, RcloneGone | BadRemote)
            detail = f"{failure.says} ({text})" if isinstance(error, RcloneRefused) else text
            return Health(remote, reachable, writable=False, free=None, detail=detail, hint=failure.hint)
        try:
            free = storage.free()
        except TransferError:
            free = None  # many storages do not tell
        return Health(remote, reachable=True, writable=True, free=free, detail="Files can be written to the storage.")

    def limit(self, bytes_per_s: int | None) -> None:
        """Limit the bandwidth, now and after a restart of rclone; see the port."""
        self._bytes_per_s = bytes_per_s
        self._rc.call("core/bwlimit", rate=_rate(bytes_per_s))

    def close(self) -> None:
        """Stop what runs and end rclone."""
        self._closing.set()
        self._rcd.close()
        self._rc.close()
        self._copies.close()

    def _refusal(self, remote: str, item: Item) -> Outcome | None:
        try:
            self._storage(remote)
            checked_target(item.target)
        except (BadRemote, BadTarget) as error:
            return outcomes.refused(item, str(error), "Ask the administrator, who defines the storages.")
        if "\x00" in os.fspath(item.source) or not item.source.is_absolute():
            return outcomes.refused(
                item, "The source is not an absolute path.", "This is a fault in DataUploader; please report it."
            )
        return None

    def _with_pause(self, remote: str, found: list[Outcome]) -> list[Outcome]:
        """Add how long the storage itself asks to be left alone, where it does."""
        if not any(outcome.state is State.UNREACHABLE for outcome in found):
            return found
        wanted = wanted_pause(self._remotes[remote])
        if wanted is None:
            return found
        log.info("storage_asks_for_pause", remote=remote, seconds=wanted)
        return [
            replace(outcome, whose=Whose.REMOTE, retry_after_s=max(wanted, outcome.retry_after_s or 0))
            if outcome.state is State.UNREACHABLE
            else outcome
            for outcome in found
        ]

    def _with_clock(self, remote: str, portion: Sequence[Item], found: list[Outcome]) -> list[Outcome]:
        """Say so where a storage refuses us because of our clock, which it cannot always say itself."""
        refused = [outcome.state is State.REFUSED and outcome.by_hand for outcome in found]
        fault = clock_fault(self._remotes[remote]) if any(refused) else ""
        if not fault:
            return found
        told = zip(portion, found, refused, strict=True)
        return [
            replace(outcomes.failed(item, fault), unproved=outcome.unproved) if late else outcome
            for item, outcome, late in told
        ]

    def _move_portion(
        self, remote: str, portion: Sequence[Item], watch: Watch, on_begin: Begin | None
    ) -> list[Outcome]:
        storage, read_back = self._storage(remote), self._remotes[remote].read_back
        text, unproved = "", {i for i, item in enumerate(portion) if UNPROVED in item.replaces}
        with self._busy.holding(remote, (place(item.target) for item in portion)):
            for _ in range(_ATTEMPTS):
                if watch.must_end():
                    break
                try:
                    if text:  # what the attempt before has left would stay if the file has changed meanwhile
                        sweep(storage, {item.target: _ours(item) for item in portion}, watch)
                    attempt = Portion(
                        storage,
                        portion,
                        watch,
                        read_back=read_back,
                        copies=self._copies,
                        on_begin=on_begin,
                        unproved=unproved,
                    )
                    watch.knock = partial(_who_is_silent, attempt, self._remotes[remote])
                    return attempt.run()
                except RcloneGone as error:
                    text = f"connection lost: {error}"
                    log.warning("portion_interrupted", remote=remote, files=len(portion), error=str(error))
                    self._closing.wait(_BREATH_S)  # a dying rclone still accepts for a moment
                except RcloneRefused as error:
                    text = str(error)
                    break
        return [
            replace(outcomes.failed(item, watch.reason or text), unproved=i in unproved)
            for i, item in enumerate(portion)
        ]

    def _watch(
        self,
        remote: str,
        cancel: Event | None = None,
        on_progress: Callable[[int], None] | None = None,
        moved: int = 0,
    ) -> Watch:
        cancels = (self._closing, cancel) if cancel else (self._closing,)
        on_bytes = (lambda size: on_progress(moved + size)) if on_progress else None
        look = partial(knock, self._remotes[remote], hand_shaking=True)
        return Watch(self._settings.stall_s, cancels, on_bytes, look)

    def _storage(self, remote: str) -> Storage:
        storage = self._storages.get(remote)
        if storage is None:
            known = ", ".join(sorted(self._storages)) or "none"
            raise BadRemote(f"There is no storage named {remote!r} here; known are: {known}.")
        if remote in self._unusable:
            raise BadRemote(self._unusable[remote])
        return storage

    def _write_probe(self, storage: Storage, remote: Remote) -> None:
        name = f".datauploader-probe-{secrets.token_hex(6)}"
        source = self._rcd.folder / name
        source.write_bytes(b"DataUploader tries whether it can write here.\n")
        try:
            watch = Watch(_CHECK_WITHIN_S, (self._closing,), knock=partial(knock, remote, hand_shaking=True))
            answer = storage.probe(source, name, watch)
            if "error" in answer:
                raise RcloneRefused(str(answer["error"]))
            storage.remove(name)
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
                log.warning("remote_unusable", remote=name, error=str(error))
        client.post("/core/bwlimit", json={"rate": _rate(self._bytes_per_s)})


def _ours(item: Item) -> frozenset[str]:
    return item.replaces.union(item.digests.values())


def _answered(found: A | Failed) -> A:
    """Return what a storage said.

    Raises:
        RcloneRefused: it did not answer.
    """
    if isinstance(found, Failed):
        raise RcloneRefused(f"{classify(found.text).says} ({found.text})")
    return found


def _who_is_silent(attempt: Portion, remote: Remote) -> str:
    return attempt.silence() or knock(remote, hand_shaking=True)


def _define(client: httpx.Client, name: str, kind: str, options: Mapping[str, str]) -> None:
    how = {"obscure": True, "nonInteractive": True}
    call = {"name": name, "type": kind, "parameters": dict(options), "opt": how}
    answer = client.post("/config/create", json=call).json()
    if "error" in answer:
        raise BadRemote(f"rclone refuses the remote {name}: {answer['error']}")


def _rate(bytes_per_s: int | None) -> str:
    return f"{bytes_per_s}B" if bytes_per_s else "off"
