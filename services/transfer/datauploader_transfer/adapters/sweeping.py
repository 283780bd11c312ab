"""What cut-off attempts have left beside their targets, removed; or brought home where it is all there is."""

from collections.abc import Mapping

import structlog

from datauploader_transfer.adapters.storage import Failed, Storage
from datauploader_transfer.adapters.watch import Watch
from datauploader_transfer.domain.leftovers import beside
from datauploader_transfer.errors import RcloneRefused

__all__ = ["sweep"]

log = structlog.get_logger()


def sweep(storage: Storage, targets: Mapping[str, frozenset[str]], watch: Watch) -> None:
    """Remove rclone's temporary objects and our own of these targets, given with our digests of each.

    Raises:
        RcloneRefused: the storage cannot be asked, or does not do it.
    """
    for left in storage.leftovers(list(targets), watch):
        storage.remove(left)
        log.info("leftover_removed", object=left)
    for target, size in _found(storage, {beside(target): target for target in targets}, watch).items():
        _face(storage, target, size, targets[target], watch)


def _found(storage: Storage, waiting: Mapping[str, str], watch: Watch) -> dict[str, int]:
    """Return the targets beside which there is an object of ours, with its size."""
    found = {}
    for name, size in zip(waiting, storage.look(list(waiting), watch), strict=True):
        if isinstance(size, Failed):
            raise RcloneRefused(size.text)
        if size is not None:
            found[waiting[name]] = size
    return found


def _face(storage: Storage, target: str, size: int, ours: frozenset[str], watch: Watch) -> None:
    """Bring a whole version of ours to a target that is not there; remove anything else."""
    name = beside(target)
    (there,) = storage.look([target], watch)
    if isinstance(there, Failed):
        raise RcloneRefused(there.text)
    if there is None and _is_ours(storage, name, size, ours, watch):
        (answer,) = storage.move([(name, target)], size, watch)
        if "error" in answer:
            raise RcloneRefused(str(answer["error"]))
        log.info("replacement_finished", object=target)
        return
    try:
        storage.remove(name)
    except RcloneRefused as error:  # the target is not touched by it
        log.warning("leftover_not_removed", object=name, problem=str(error))
    else:
        log.info("leftover_removed", object=name)


def _is_ours(storage: Storage, name: str, size: int, ours: frozenset[str], watch: Watch) -> bool:
    (found,) = storage.hash([(name, size)], watch, kinds=("sha256", "md5"), read_back=True)
    if isinstance(found, Failed):
        raise RcloneRefused(found.text)
    return found is not None and found.digest in ours
