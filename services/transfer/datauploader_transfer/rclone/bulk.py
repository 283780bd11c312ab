"""Calls of rclone that take many files at once: it copies a folder of links to them, or hashes a list of names.

`operations/copyfile` and `operations/hashsumfile` cost rclone 0.29 and 0.17 ms a file; `sync/copy` and
`operations/hashsum` 0.17 and 0.08 (https://rclone.org/rc/). They tell of no single file: whoever makes such a call
looks afterwards.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datauploader_transfer.domain.names import common_folder, needs_bytes, standard_path
from datauploader_transfer.domain.remotes import SOURCE, RemoteDefinition
from datauploader_transfer.domain.tuning import StorageTuning
from datauploader_transfer.ports import value
from datauploader_transfer.rclone.private_folder import FolderOnDemand
from datauploader_transfer.rclone.rpc import RcloneRpc
from datauploader_transfer.rclone.source_file import BY_NUMBER
from datauploader_transfer.rclone.stall_detector import StallDetector

__all__ = ["BulkCalls", "Sending"]

_ENOUGH = 16
"""Files from which on one call for all is worth what stands around it."""


@value
class Sending:
    """One file that is sent: where rclone reads it, which object it becomes, its bytes."""

    source: str
    target: str
    size: int


class BulkCalls:
    """Make calls for many files of one remote; `scratch` is a private folder for what they are given."""

    def __init__(
        self, rpc: RcloneRpc, remote: RemoteDefinition, tuning: StorageTuning, scratch: FolderOnDemand
    ) -> None:
        self._rpc, self._remote, self._tuning, self._scratch = rpc, remote, tuning, scratch

    def copy(self, items: Sequence[Sending], group: str, detector: StallDetector, *, crowded: bool) -> list[int]:
        """Send items to where nothing is; return the indexes of those of which no failure was reported.

        None of the others need have failed: a name may not fit, or the one failure be another's.
        """
        chosen = [i for i, item in enumerate(items) if _fits(item.target)]
        if len(chosen) < _ENOUGH or not BY_NUMBER:  # elsewhere no link leads to what we hold open
            return []
        wanted = [items[i] for i in chosen]
        fs, folder, config = self._how([item.target for item in wanted], crowded=crowded)
        with _linked(wanted, folder, self._scratch.path) as (stage, have):
            config |= {"NoUpdateDirModTime": True}
            answer = self._rpc.watched(
                "sync/copy", detector, group, srcFs=f"{SOURCE}:{stage}", dstFs=fs, _config=config
            )  # fmt: skip
        return [] if "error" in answer else [chosen[i] for i in have]

    def sums(
        self, targets: Sequence[str], kind: str, detector: StallDetector, *, download: bool, crowded: bool
    ) -> dict[str, str]:
        """Hash objects; return the digests of those that gave one."""
        some = [target for target in targets if _fits(target)]
        if len(some) < _ENOUGH:
            return {}
        fs, folder, config = self._how(some, crowded=crowded)
        cut = len(folder) + 1 if folder else 0
        with _listed([target[cut:] for target in some], self._scratch.path) as only:
            how = {"hashType": kind, "download": download, "_config": config, "_filter": only}
            answer = self._rpc.watched("operations/hashsum", detector, self._rpc.new_group(), fs=fs, **how)
        prefix = f"{folder}/" if folder else ""
        lines = (line.strip("\n").partition("  ") for line in answer.get("hashsum", ()))
        return {prefix + name: digest for digest, _, name in lines}

    def _how(self, targets: Sequence[str], *, crowded: bool) -> tuple[str, str, dict[str, Any]]:
        """Return the fs of a call, the folder that it stands for, and how rclone finds the objects below it."""
        folder = common_folder(targets) if self._tuning.lists else ""
        at_once = self._tuning.in_parallel
        config = {"NoTraverse": crowded or not self._tuning.lists, "Transfers": at_once, "Checkers": at_once}
        return self._remote.below(folder), folder, config


def _fits(target: str) -> bool:
    """Tell whether an object's name is the same for us, for rclone, on the local disk and in a list of names."""
    return not needs_bytes(target) and standard_path(target) == target


@contextlib.contextmanager
def _linked(items: Sequence[Sending], folder: str, place: Path) -> Iterator[tuple[Path, list[int]]]:
    """Give a new folder below `place` that vanishes again, with a link to the source of each item.

    A link has the name that the item's target has below `folder`. The second value holds the indexes of the items that
    have one: a name that is too long here, or stands in another's way, has none.
    """
    stage = Path(tempfile.mkdtemp(prefix="stage-", dir=place))
    made: set[str] = set()
    have: list[int] = []
    links: list[str] = []
    cut, above = len(folder) + 1 if folder else 0, f"{stage}/"
    try:
        for i, item in enumerate(items):
            path = above + item.target[cut:]
            parent = path.rpartition("/")[0]
            try:
                if parent not in made:
                    os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - once for each file: text is cheaper
                    made.add(parent)
                os.symlink(item.source, path)  # noqa: PTH211 - likewise
            except OSError:
                continue
            have.append(i)
            links.append(path)
        yield stage, have
    finally:
        with contextlib.suppress(OSError):  # cheaper than what goes through a folder
            for path in links:
                os.unlink(path)  # noqa: PTH108 - text is cheaper
        shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def _listed(names: Collection[str], place: Path) -> Iterator[Mapping[str, list[str]]]:
    """Give the filter of a call that takes only these names: they stand in a file below `place` that vanishes again."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="names-", dir=place, delete=False) as file:
        file.writelines(f"{name}\n" for name in names)
    try:
        yield {"FilesFromRaw": [file.name]}
    finally:
        Path(file.name).unlink(missing_ok=True)
