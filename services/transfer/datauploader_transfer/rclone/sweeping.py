"""What cut-off attempts have left beside their targets, removed; or brought home where it is all there is."""

from collections.abc import Mapping

import structlog

from datauploader_transfer.domain.leftovers import beside
from datauploader_transfer.errors import RcloneRefused
from datauploader_transfer.rclone.remote_storage import ObjectFailure, RemoteStorage
from datauploader_transfer.rclone.stall_detector import StallDetector

__all__ = ["sweep"]

log = structlog.get_logger()


def sweep(storage: RemoteStorage, targets: Mapping[str, frozenset[str]], detector: StallDetector) -> None:
    """Remove rclone's temporary objects and our own of these targets, given with our digests of each.

    Raises:
        RcloneRefused: the storage cannot be asked, or does not do it.
    """
    for left in storage.leftovers(list(targets), detector):
        storage.remove_object(left)
        log.info("leftover_removed", object=left)
    waiting = {beside(target): target for target in targets}
    found: dict[str, int] = {}
    for name, size in zip(waiting, storage.object_sizes(list(waiting), detector), strict=True):
        if isinstance(size, ObjectFailure):
            raise RcloneRefused(size.text)
        if size is not None:
            found[waiting[name]] = size
    for target, size in found.items():
        _face(storage, target, size, targets[target], detector)


def _face(storage: RemoteStorage, target: str, size: int, ours: frozenset[str], detector: StallDetector) -> None:
    """Bring a whole version of ours to a target that is not there; remove anything else."""
    name = beside(target)
    (there,) = storage.object_sizes([target], detector)
    if isinstance(there, ObjectFailure):
        raise RcloneRefused(there.text)
    if there is None:
        (found,) = storage.hash_objects([(name, size)], detector, kinds=("sha256", "md5"), read_back=True)
        if isinstance(found, ObjectFailure):
            raise RcloneRefused(found.text)
        if found is not None and found.digest in ours:
            (answer,) = storage.move_objects([(name, target)], size, detector)
            if "error" in answer:
                raise RcloneRefused(str(answer["error"]))
            log.info("replacement_finished", object=target)
            return
    try:
        storage.remove_object(name)
    except RcloneRefused as error:  # the target is not touched by it
        log.warning("leftover_not_removed", object=name, problem=str(error))
    else:
        log.info("leftover_removed", object=name)
