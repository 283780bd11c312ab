"""Hashing threads for each drive that may hang, so that those of this machine's own disks never wait for one."""

import time
from collections.abc import Callable, Iterable

from datauploader_watcher.adapters.disk import RootDisk
from datauploader_watcher.adapters.hashing import HashPool, HashResult
from datauploader_watcher.domain.stability import HashRequest


class DriveHashPools:
    """Hash pools: one for this machine's own disks, and one for every other drive that files were read from."""

    def __init__(self, workers: int, done: Callable[[list[HashResult]], None], *, sha1: bool) -> None:
        """Say how many threads each drive has, and where outcomes go."""
        self._workers, self._done, self._sha1 = workers, done, sha1
        self._pools: dict[bytes, HashPool] = {}

    def stop(self, deadline_s: float) -> None:
        """Leave off everywhere; threads that hang are left behind."""
        end = time.monotonic() + deadline_s
        for pool in self._pools.values():
            pool.leave_off()
        for pool in self._pools.values():
            pool.stop(max(0.0, end - time.monotonic()))

    def hash(self, upload: int, disk: RootDisk, files: Iterable[HashRequest]) -> None:
        """See `HashPool.hash`."""
        pool = self._pools.get(disk.place)
        if pool is None:
            pool = self._pools[disk.place] = HashPool(self._workers, self._done, sha1=self._sha1)
            pool.start()
        pool.hash(upload, disk, files)

    def forget(self, upload: int) -> None:
        """See `HashPool.forget`."""
        for pool in self._pools.values():
            pool.forget(upload)
