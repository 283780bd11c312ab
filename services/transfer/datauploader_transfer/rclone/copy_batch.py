"""A copy batch, one part of a move, step by step: source, destination, copy, proof."""

import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader.runtime import metrics
from datauploader.runtime.crash_points import crash_point
from datauploader_transfer.domain import outcomes
from datauploader_transfer.domain.failures import NOTHING_READ
from datauploader_transfer.domain.leftovers import beside
from datauploader_transfer.errors import RcloneRefused
from datauploader_transfer.ports import Begin, Item, Outcome, State, Stored
from datauploader_transfer.rclone.bulk import Sending
from datauploader_transfer.rclone.private_folder import FolderOnDemand
from datauploader_transfer.rclone.remote_storage import ObjectFailure, RemoteStorage
from datauploader_transfer.rclone.rpc import Answer
from datauploader_transfer.rclone.source_file import (
    OpenSources,
    at_once,
    digest_of_start,
    faults_of_sources,
    still_holds,
    why_unread,
)
from datauploader_transfer.rclone.stall_detector import StallDetector

__all__ = ["CopyBatch"]

_ATTEMPTS = 2
_SOURCE_WITHIN_S = 10.0
"""How long the disk that holds the files may take to say what they are."""
_COPIED_PER_S = 10e6
"""Bytes: a drive that gives less of a file which is copied first counts as silent."""
_GLANCE_S = 0.2
_MOVED_AWAY = (State.SOURCE_GONE, State.SOURCE_CHANGED)


class CopyBatch:
    """Copy a batch: bring the items to one storage and settle each of them with an outcome.

    What may be replaced is not written over: its successor is sent and proved beside it, and moved over it then.
    """

    def __init__(
        self,
        storage: RemoteStorage,
        items: Sequence[Item],
        detector: StallDetector,
        *,
        read_back: bool,
        copies: FolderOnDemand,
        on_begin: Begin | None = None,
        unproved: set[int] | None = None,
    ) -> None:
        self._storage = storage
        self._items = items
        self._detector = detector
        self._read_back, self._copies = read_back, copies
        self._on_begin = on_begin or (lambda _items, _new: None)
        self._settled: dict[int, Outcome] = {}
        self._replace: set[int] = set()
        self._left: dict[int, Stored] = {}
        self._unproved = set[int]() if unproved is None else unproved
        """What was written where nothing was, and is not proved: also by an attempt or a run before this one."""
        self._hang_guard = HangGuard(_SOURCE_WITHIN_S)
        self._glance = HangGuard(_GLANCE_S)
        self._owed_since: float | None = None

    def run_batch(self) -> list[Outcome]:
        """Move everything and return one outcome for each item, in order."""
        try:
            faults: Sequence[Outcome | None] = self._hang_guard.call_with_deadline(
                "source", lambda: faults_of_sources(self._items)
            )
        except DriveTimeout:
            faults = [outcomes.source_silent(item) for item in self._items]
        for i, fault in enumerate(faults):
            self._settle(i, fault)
        left = [i for i in self._settled if i in self._unproved]
        if left:  # what we wrote and never proved, of files whose source is gone or has changed since
            sizes = self._storage.object_sizes([self._items[i].target for i in left], self._detector)
            for i, size in zip(left, sizes, strict=True):
                if size is None or (isinstance(size, int) and self._removed(self._items[i].target)):
                    self._unproved.discard(i)
        self._face_destination()
        for attempt in range(1, _ATTEMPTS + 1):
            self._send_and_prove(last=attempt == _ATTEMPTS)
        self._look_for_lost([i for i, outcome in self._settled.items() if outcome.state in _MOVED_AWAY])
        told = []
        for i in range(len(self._items)):
            outcome = self._settled[i]
            if i in self._unproved:
                outcome = replace(outcome, unproved=True)
            if i in self._left and outcome.state not in (State.VERIFIED, State.UNVERIFIED):
                outcome = replace(outcome, digest=self._left[i].digest)  # it was left at its target
            told.append(outcome)
        return told

    def silence(self) -> str:
        """Say that the drive which holds the files has hung for a while, "" where it has not; itself it takes no time.

        Its size is asked for, because no memory of names answers that instead of the drive.
        """
        try:
            self._glance.call_with_deadline("source", lambda: shutil.disk_usage(Path(self._items[0].source).parent))
        except DriveTimeout:
            self._owed_since = self._owed_since or time.monotonic()
            return NOTHING_READ if time.monotonic() - self._owed_since > _SOURCE_WITHIN_S else ""
        except OSError:
            pass  # the outcome of the file tells more
        self._owed_since = None
        return ""

    def _fault(self, item: Item) -> Outcome | None:
        try:
            return self._hang_guard.call_with_deadline("source", lambda: why_unread(item))
        except DriveTimeout:
            return outcomes.source_silent(item)

    def _settle(self, i: int, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._settled[i] = outcome

    def _open(self) -> list[int]:
        return [i for i in range(len(self._items)) if i not in self._settled]

    def _face_destination(self) -> None:
        """Decide for each object that is there: it is ours already, may be replaced, or is foreign."""
        waiting = self._open()
        sizes = self._storage.object_sizes([self._items[i].target for i in waiting], self._detector)
        present: list[tuple[int, int]] = []
        for i, size in zip(waiting, sizes, strict=True):
            item = self._items[i]
            if isinstance(size, ObjectFailure):
                self._settle(i, outcomes.failed(item, size.text))
            elif size is None:
                self._unproved.discard(i)
            elif size != item.size and not item.replaces and i not in self._unproved:
                self._settle(i, outcomes.conflict(item))
            else:
                present.append((i, size))
        for (i, here), stored in zip(present, self._hash_present(present), strict=True):
            item = self._items[i]
            if isinstance(stored, ObjectFailure):
                self._settle(i, outcomes.failed(item, stored.text))
            elif stored is None:
                self._settle(i, outcomes.conflict(item))
            elif _equal(item, stored):
                self._settle_proved(i, outcomes.verified(item, stored))
            elif i in self._unproved or stored.digest in item.replaces or _is_beginning(item, here, stored):
                self._replace.add(i)
            else:
                self._settle(i, outcomes.conflict(item, found=stored.digest))

    def _hash_present(self, present: Sequence[tuple[int, int]]) -> list[Stored | ObjectFailure | None]:
        """Hash what is at the targets of some items, given with its size."""
        objects = [(self._items[i].target, size) for i, size in present]
        kinds = self._kinds([i for i, _ in present])
        return self._storage.hash_objects(objects, self._detector, kinds=kinds, read_back=True)

    def _kinds(self, chosen: Sequence[int]) -> set[str]:
        """Return the hashes that we hold of every chosen item."""
        held = {tuple(self._items[i].digests) for i in chosen}
        return set.intersection(*map(set, held)) if held else set()

    def _sent_as(self, i: int) -> Item:
        """Return the item with the target to which its bytes go first."""
        item = self._items[i]
        return replace(item, target=beside(item.target)) if i in self._replace else item

    def _send_and_prove(self, *, last: bool) -> None:
        waiting = self._open()
        if not waiting:
            return
        group = self._storage.new_group()
        some = at_once()
        answers: dict[int, Answer] = {}
        with metrics.BATCH_SECONDS.labels("copy").time():
            for start in range(0, len(waiting), some):
                answers |= self._send(waiting[start : start + some], group)
        crash_point("transfer.copied")
        for i, answer in answers.items():
            if "error" in answer:
                item, error = self._items[i], str(answer["error"])
                fault = self._fault(item) if error != NOTHING_READ else None
                if fault and i in self._replace:
                    self._removed(self._sent_as(i).target)
                self._settle(i, fault or outcomes.failed(item, error))
        with metrics.BATCH_SECONDS.labels("verify").time():
            self._prove([i for i, answer in answers.items() if "error" not in answer], group, last=last)

    def _send(self, chosen: Sequence[int], group: str) -> dict[int, Answer]:
        """Have some files copied, each from what is held open of it; settle those that cannot be opened."""
        if self._detector.reason:
            return {i: {"error": self._detector.reason} for i in chosen}
        items = [self._sent_as(i) for i in chosen]
        copied = sum(item.size for item in items if item.as_is)
        patience = HangGuard(_SOURCE_WITHIN_S + copied / _COPIED_PER_S) if copied else self._hang_guard
        with closing(OpenSources(self._copies)) as sources:
            try:
                opened: Sequence[str | Outcome] = patience.call_with_deadline("source", lambda: sources.open(items))
            except DriveTimeout:
                opened = [outcomes.source_silent(item) for item in items]
            held: dict[int, Sending] = {}
            for i, item, found in zip(chosen, items, opened, strict=True):
                if isinstance(found, Outcome):
                    self._settle(i, found)
                else:
                    held[i] = Sending(found, item.target, item.size)
            if not held:
                return {}
            new = held.keys() - self._replace
            self._on_begin([self._items[i] for i in held], {self._items[i].key for i in new})
            self._unproved |= new
            overwrite = [i in self._replace for i in held]
            answers = dict(
                zip(held, self._storage.copy_files(list(held.values()), overwrite, group, self._detector), strict=True)
            )
            if not self._detector.reason:  # what rclone itself has given up it has tidied up as well
                self._unproved -= {i for i in new if "error" in answers[i]}
            return answers

    def _prove(self, sent: Sequence[int], group: str, *, last: bool) -> None:
        objects = [(self._sent_as(i).target, self._items[i].size) for i in sent]
        began = time.monotonic()
        found = self._storage.hash_objects(objects, self._detector, kinds=self._kinds(sent), read_back=self._read_back)
        took_ms = round((time.monotonic() - began) * 1000)
        proved: list[tuple[int, Outcome]] = []
        differing = []
        for i, stored in zip(sent, found, strict=True):
            item = self._items[i]
            if isinstance(stored, ObjectFailure):
                self._settle(i, outcomes.failed(item, stored.text))
            elif stored is None and (fault := self._fault(item)):
                self._settle(i, fault)
                if i in self._replace:
                    self._removed(self._sent_as(i).target)
            elif stored is None or _equal(item, stored):
                outcome = outcomes.verified(item, stored, proof_ms=took_ms) if stored else outcomes.unverified(item)
                proved.append((i, outcome))
            else:
                differing.append((i, stored))
        self._put([(i, outcome) for i, outcome in proved if i in self._replace])
        for i, outcome in proved:
            if i not in self._replace:
                self._settle_proved(i, outcome)
        if differing:
            all_ours = self._storage.count_sent(group) >= len(sent)
            for i, stored in differing:
                self._face_difference(i, stored, ours=all_ours or i in self._replace, last=last)

    def _put(self, proved: Sequence[tuple[int, Outcome]]) -> None:
        """Move what lies proved beside its target over that, and look there once more."""
        if not proved:
            return
        crash_point("transfer.beside")
        items = [self._items[i] for i, _ in proved]
        pairs = [(beside(item.target), item.target) for item in items]
        answers = self._storage.move_objects(pairs, sum(item.size for item in items), self._detector)
        crash_point("transfer.replaced")
        objects = [(item.target, item.size) for item in items]
        kinds = self._kinds([i for i, _ in proved])
        found = self._storage.hash_objects(objects, self._detector, kinds=kinds, read_back=False)
        unasked = [item.target for item, stored in zip(items, found, strict=True) if stored is None]
        sizes = dict(zip(unasked, self._storage.object_sizes(unasked, self._detector), strict=True))
        for (i, outcome), answer, stored in zip(proved, answers, found, strict=True):
            item, error = self._items[i], str(answer.get("error", ""))
            if isinstance(stored, Stored):
                right = _equal(item, stored)
            else:
                right = not error and sizes.get(item.target) == item.size
            if right and error:
                self._removed(beside(item.target))
            if right:
                self._settle_proved(i, outcome)
            else:
                wrong = "the object on the storage is not the one that was moved there"
                why = stored.text if isinstance(stored, ObjectFailure) else wrong
                self._settle(i, outcomes.failed(item, error or why))

    def _settle_proved(self, i: int, outcome: Outcome) -> None:
        self._settle(i, outcome)
        if outcome.state is State.VERIFIED:
            self._unproved.discard(i)

    def _face_difference(self, i: int, stored: Stored, *, ours: bool, last: bool) -> None:
        """Remove what we stored wrongly, and send it once more where the source is still right."""
        item = self._items[i]
        self._unproved.discard(i)
        if not ours:
            self._settle(i, outcomes.conflict(item, just_now=True))
            return
        fault = self._fault(item)
        right = fault is None and still_holds(item)
        if not self._removed(self._sent_as(i).target) and i not in self._replace:
            self._left[i] = stored
            self._replace.add(i)
        if not right:
            self._settle(i, fault or outcomes.source_changed(item))
        elif last:
            self._settle(i, outcomes.mismatch(item, self._left.get(i, stored), left=i in self._left))

    def _look_for_lost(self, lost: Sequence[int]) -> None:
        """Find out what the storage holds in place of versions that cannot be sent any more."""
        sizes = self._storage.object_sizes([self._items[i].target for i in lost], self._detector)
        seen = dict(zip(lost, sizes, strict=True))
        there = [(i, size) for i, size in seen.items() if isinstance(size, int)]
        hashes = dict(zip([i for i, _ in there], self._hash_present(there), strict=True))
        for i, size in seen.items():
            item, outcome = self._items[i], self._settled[i]
            stored = size if isinstance(size, ObjectFailure) else hashes.get(i)
            if isinstance(stored, ObjectFailure):
                failure = outcomes.failed(item, stored.text)
                if failure.retryable:  # else it is not known what the storage holds, and will not be
                    outcome = failure
            elif stored is None:
                outcome = replace(outcome, holds="nothing" if size is None else "other")
            elif _equal(item, stored):
                outcome = outcomes.verified(item, stored)
            else:
                outcome = replace(outcome, holds="other", found=stored.digest)
            self._settle(i, outcome)

    def _removed(self, target: str) -> bool:
        try:
            self._storage.remove_object(target)
        except RcloneRefused:
            return False
        return True


def _equal(item: Item, stored: Stored) -> bool:
    return item.digests.get(stored.algorithm) == stored.digest


def _is_beginning(item: Item, size: int, stored: Stored) -> bool:
    """Tell whether the stored object is the first part of the file: then replacing it loses nothing.

    That is what an upload leaves behind that was cut off on a storage without renaming.
    """
    if size >= item.size or stored.digest in item.keeps:
        return False
    try:
        return digest_of_start(item, size, stored.algorithm) == stored.digest
    except OSError:
        return False
