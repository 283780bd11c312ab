"""One portion of a move, step by step: source, destination, copy, proof."""

import shutil
import time
from collections.abc import Sequence

from datauploader.crashing import crash_point
from datauploader.patience import NoAnswer, Patience
from datauploader_transfer.adapters.source import digest_of_start, fault_of_source, still_holds, why_unread
from datauploader_transfer.adapters.storage import Failed, Storage
from datauploader_transfer.adapters.watch import Watch
from datauploader_transfer.domain import outcomes
from datauploader_transfer.domain.failures import NOTHING_READ
from datauploader_transfer.errors import RcloneRefused
from datauploader_transfer.ports import Item, Outcome, Stored

__all__ = ["Portion"]

_ATTEMPTS = 2
_SOURCE_WITHIN_S = 10.0
"""How long the disk that holds the files may take to say what they are."""
_GLANCE_S = 0.2


class Portion:
    """Bring the items to one storage and settle each of them with an outcome."""

    def __init__(self, storage: Storage, items: Sequence[Item], watch: Watch, *, read_back: bool) -> None:
        self._storage = storage
        self._items = items
        self._watch = watch
        self._read_back = read_back
        self._settled: dict[int, Outcome] = {}
        self._overwrite: set[int] = set()
        self._patience = Patience(_SOURCE_WITHIN_S)
        self._glance = Patience(_GLANCE_S)
        self._owed_since: float | None = None

    def run(self) -> list[Outcome]:
        """Move everything and return one outcome for each item, in order."""
        for i, fault in enumerate(self._faults()):
            self._settle(i, fault)
        self._face_destination()
        for attempt in range(1, _ATTEMPTS + 1):
            self._send_and_prove(last=attempt == _ATTEMPTS)
        return [self._settled[i] for i in range(len(self._items))]

    def silence(self) -> str:
        """Say that the drive which holds the files has hung for a while, "" where it has not; itself it takes no time.

        Its size is asked for, because no memory of names answers that instead of the drive.
        """
        try:
            self._glance.ask("source", lambda: shutil.disk_usage(self._items[0].source.parent))
        except NoAnswer:
            self._owed_since = self._owed_since or time.monotonic()
            return NOTHING_READ if time.monotonic() - self._owed_since > _SOURCE_WITHIN_S else ""
        except OSError:
            pass  # the outcome of the file tells more
        self._owed_since = None
        return ""

    def _faults(self) -> Sequence[Outcome | None]:
        try:
            return self._patience.ask("source", lambda: [fault_of_source(item) for item in self._items])
        except NoAnswer:
            return [outcomes.source_silent(item) for item in self._items]

    def _fault(self, item: Item) -> Outcome | None:
        try:
            return self._patience.ask("source", lambda: why_unread(item))
        except NoAnswer:
            return outcomes.source_silent(item)

    def _settle(self, i: int, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._settled[i] = outcome

    def _open(self) -> list[int]:
        return [i for i in range(len(self._items)) if i not in self._settled]

    def _face_destination(self) -> None:
        waiting = self._open()
        sizes = self._storage.look([self._items[i].target for i in waiting], self._watch)
        present = []
        for i, size in zip(waiting, sizes, strict=True):
            if isinstance(size, Failed):
                self._settle(i, outcomes.failed(self._items[i], size.text))
            elif size is not None:
                present.append((i, size))
        self._judge_present(present)

    def _judge_present(self, present: Sequence[tuple[int, int]]) -> None:
        """Decide for each object that is there: it is ours already, may be replaced, or is foreign."""
        compared = []
        for i, size in present:
            item = self._items[i]
            if size > item.size and not item.replaces:
                self._settle(i, outcomes.conflict(item))
            else:
                compared.append((i, size))
        objects = [(self._items[i].target, size) for i, size in compared]
        kinds = self._kinds([i for i, _ in compared])
        found = self._storage.hash(objects, self._watch, kinds=kinds, read_back=True)
        for (i, size), stored in zip(compared, found, strict=True):
            self._judge_one(i, size, stored)

    def _kinds(self, chosen: Sequence[int]) -> set[str]:
        """Return the hashes that we hold of every chosen item."""
        return set.intersection(*(set(self._items[i].digests) for i in chosen)) if chosen else set()

    def _judge_one(self, i: int, size: int, stored: Stored | Failed | None) -> None:
        item = self._items[i]
        if isinstance(stored, Failed):
            self._settle(i, outcomes.failed(item, stored.text))
        elif stored is None:
            self._settle(i, outcomes.conflict(item))
        elif _equal(item, stored):
            self._settle(i, outcomes.verified(item, stored))
        elif stored.digest in item.replaces or _is_beginning(item, size, stored):
            self._overwrite.add(i)
        else:
            self._settle(i, outcomes.conflict(item))

    def _send_and_prove(self, *, last: bool) -> None:
        waiting = self._open()
        if not waiting:
            return
        group = self._storage.new_group()
        items = [self._items[i] for i in waiting]
        answers = self._storage.copy(items, [i in self._overwrite for i in waiting], group, self._watch)
        crash_point("transfer.copied")
        sent = []
        for i, answer in zip(waiting, answers, strict=True):
            if "error" in answer:
                self._settle(i, self._why_not_sent(self._items[i], str(answer["error"])))
            else:
                sent.append(i)
        self._prove(sent, group, last=last)

    def _why_not_sent(self, item: Item, error: str) -> Outcome:
        return (self._fault(item) if error != NOTHING_READ else None) or outcomes.failed(item, error)

    def _prove(self, sent: Sequence[int], group: str, *, last: bool) -> None:
        objects = [(self._items[i].target, self._items[i].size) for i in sent]
        found = self._storage.hash(objects, self._watch, kinds=self._kinds(sent), read_back=self._read_back)
        differing = []
        for i, stored in zip(sent, found, strict=True):
            item = self._items[i]
            if isinstance(stored, Failed):
                self._settle(i, outcomes.failed(item, stored.text))
            elif stored is None:
                self._settle(i, self._fault(item) or outcomes.unverified(item))
            elif _equal(item, stored):
                self._settle(i, outcomes.verified(item, stored))
            else:
                differing.append((i, stored))
        if differing:
            all_ours = self._storage.sent(group) >= len(sent)
            for i, stored in differing:
                self._face_difference(i, stored, ours=all_ours or i in self._overwrite, last=last)

    def _face_difference(self, i: int, stored: Stored, *, ours: bool, last: bool) -> None:
        """Remove what we stored wrongly, and send it once more where the source is still right."""
        item = self._items[i]
        if not ours:
            self._settle(i, outcomes.conflict(item, just_now=True))
            return
        fault = self._fault(item)
        right = fault is None and still_holds(item)
        left = not self._removed(item.target)
        if left:
            self._overwrite.add(i)
        if not right:
            self._settle(i, outcomes.source_changed(item))
        elif last:
            self._settle(i, outcomes.mismatch(item, stored, left=left))

    def _removed(self, target: str) -> bool:
        try:
            self._storage.remove(target)
        except RcloneRefused:
            return False
        return True


def _equal(item: Item, stored: Stored) -> bool:
    return item.digests.get(stored.algorithm) == stored.digest


def _is_beginning(item: Item, size: int, stored: Stored) -> bool:
    """Tell whether the stored object is the first part of the file: then replacing it loses nothing.

    That is what an upload leaves behind that was cut off on a storage without renaming.
    """
    if size >= item.size:
        return False
    try:
        return digest_of_start(item, size, stored.algorithm) == stored.digest
    except OSError:
        return False
