"""Reading files once and hashing them, in a few threads, fairly between uploads and without end-to-end waits."""

import hashlib
import os
import stat
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import structlog

from datauploader.reliability.worker import WorkerThread
from datauploader_watcher.adapters.disk import OpenFolder, RootDisk, explain, stamp_of
from datauploader_watcher.adapters.sharing import has_writer
from datauploader_watcher.domain.stability import HashRequest
from datauploader_watcher.domain.versions import Digests, Stamp, split
from datauploader_watcher.errors import DiskBusy, FolderError

log = structlog.get_logger()

BLOCK = 1 << 20
SLICE = 64 * BLOCK
"""Bytes of a large file that are hashed before the worker looks what else is waiting."""
SMALL = 8 * BLOCK
"""Files up to this size are hashed in one go."""
GROUP = 64
"""Small files of one folder that a worker takes at once."""
JOIN_S = 0.02
"""While one worker takes small files, another joins when it has not come back for more for so long: of small files that
the system has at hand most of the time goes into Python's own work, and two workers would only wait for each other."""


class HashResult(NamedTuple):
    """The result of hashing one file: digests, another stamp, or a problem. A tuple, because each file has two."""

    upload: int
    path: bytes
    asked: Stamp
    """What the file was expected to be."""
    digests: Digests | None = None
    """Set when it was exactly that, before, during and after the reading."""
    changed: Stamp | None = None
    problem: FolderError | None = None
    writer: bool = False
    """A program had it open for writing when the reading began: it may write on without any trace in the stamp."""
    alone: bool = False
    """No program had it open for writing then; False as well where the system does not tell."""
    as_is: bool = False
    """`asked` is what it was when the reading began, whatever it has become since."""


class _Sums:
    """The hashes of one file while it is read."""

    def __init__(self, *, md5: bool, sha1: bool) -> None:
        self.length = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._sha1 = hashlib.sha1(usedforsecurity=False) if sha1 else None

    def update(self, data: bytes) -> None:
        self.length += len(data)
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)
        if self._sha1 is not None:
            self._sha1.update(data)

    def digests(self) -> Digests:
        return Digests(
            self._sha256.digest(),
            self._md5.digest() if self._md5 is not None else None,
            self._sha1.digest() if self._sha1 is not None else None,
        )


@dataclass(slots=True)
class _Job:
    """Files of one folder, or one large file with how far its reading is."""

    upload: int
    disk: RootDisk
    folder: bytes
    files: Sequence[HashRequest]
    md5: bool
    sums: _Sums | None = None
    descriptor: int | None = None
    writer: bool | None = None


class _Kind(IntEnum):
    """What a job is."""

    LOOK = 0
    """A look at files that were read; takes almost nothing and finishes them, so it goes before all reading."""
    READ = 1
    """Reading small files."""
    SLICES = 2
    """Reading a large one, a slice a turn."""


_Key = tuple[int, _Kind]


@dataclass(slots=True)
class _Lane:
    """The jobs of one upload and kind; lanes take turns."""

    jobs: deque[_Job] = field(default_factory=deque)


class HashPool:
    """A pool of threads that read and hash files."""

    def __init__(self, workers: int, done: Callable[[list[HashResult]], None], *, sha1: bool = False) -> None:
        """Set up threads that report each job's outcomes through `done`."""
        self._done = done
        self._sha1 = sha1
        self._lanes: OrderedDict[_Key, _Lane] = OrderedDict()
        self._change = threading.Condition()
        self._stopping = False
        self._with_small = 0
        """Workers that have small files now."""
        self._small_taken_at = 0.0
        """When the latest of them took its files (monotonic)."""
        self._forgotten: set[int] = set()
        self._threads = [WorkerThread(self._run, name=f"hash.{n}") for n in range(max(1, workers))]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def leave_off(self) -> None:
        """Read no further than to the next block; what was not finished will be found again."""
        with self._change:
            self._stopping = True
            self._change.notify_all()

    def stop(self, deadline_s: float) -> None:
        """Leave off, and wait for the threads."""
        self.leave_off()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(deadline_s)

    def hash(self, upload: int, disk: RootDisk, files: Iterable[HashRequest], *, md5: bool = True) -> None:
        """Read these files, or look once more at those that were read; small ones of one folder together.

        Args:
            upload: the upload's number.
            disk: what they are read through.
            files: which.
            md5: hash MD5 as well.
        """
        groups: dict[tuple[_Kind, bytes], list[HashRequest]] = {}
        jobs: list[tuple[_Kind, _Job]] = []
        for file in files:
            folder = file.path.rpartition(b"/")[0]
            if file.digests is None and file.stamp.size > SMALL:
                jobs.append((_Kind.SLICES, _Job(upload, disk, folder, [file], md5)))
                continue
            key = (_Kind.READ if file.digests is None else _Kind.LOOK, folder)
            group = groups.setdefault(key, [])
            group.append(file)
            if len(group) == GROUP:
                jobs.append((key[0], _Job(upload, disk, folder, groups.pop(key), md5)))
        jobs.extend((kind, _Job(upload, disk, folder, group, md5)) for (kind, folder), group in groups.items())
        with self._change:
            for kind, job in jobs:
                self._lanes.setdefault((upload, kind), _Lane()).jobs.append(job)
            self._change.notify_all()

    def forget(self, upload: int) -> None:
        """Drop the jobs of an upload that is over."""
        with self._change:
            self._forgotten.add(upload)
            dropped = [self._lanes.pop((upload, kind)) for kind in _Kind if (upload, kind) in self._lanes]
        for lane in dropped:
            for job in lane.jobs:
                _close(job)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            key, job = taken
            try:
                if key[1] is _Kind.SLICES:
                    self._large(key, job)
                else:
                    self._done(self._small(job))
            except Exception as error:  # the thread's boundary: one odd file must not end the reading of all others
                log.exception("hashing_failed", upload=job.upload, files=len(job.files))
                _close(job)
                problem = DiskBusy(f"reading it failed ({type(error).__name__}: {str(error)[:300]})")
                self._done([HashResult(job.upload, file.path, file.stamp, problem=problem) for file in job.files])

    def _take(self) -> tuple[_Key, _Job] | None:
        with self._change:
            while True:
                if self._stopping:
                    return None
                waiting = [key for key, lane in self._lanes.items() if lane.jobs]
                if not waiting:
                    self._lanes.clear()
                    self._change.wait()
                    continue
                key = next((key for key in waiting if key[1] is _Kind.LOOK), waiting[0])
                if key[1] is not _Kind.SLICES:
                    now = time.monotonic()
                    if self._with_small and now < self._small_taken_at + JOIN_S:
                        self._change.wait(self._small_taken_at + JOIN_S - now)
                        continue
                    self._with_small, self._small_taken_at = self._with_small + 1, now
                self._lanes.move_to_end(key)
                return key, self._lanes[key].jobs.popleft()

    def _small(self, job: _Job) -> list[HashResult]:
        outcomes: list[HashResult] = []
        try:
            with job.disk.folder(job.folder) as opened:
                for file in job.files:
                    if self._stopping:
                        break
                    look = self._whole if file.digests is None else _once_more
                    outcomes.append(look(job, opened, file))
        except OSError as error:
            problem = explain(error, job.folder)
            outcomes.extend(
                HashResult(job.upload, file.path, file.stamp, problem=problem) for file in job.files[len(outcomes) :]
            )
        finally:
            with self._change:
                self._with_small -= 1
        return outcomes

    def _whole(self, job: _Job, opened: OpenFolder, file: HashRequest) -> HashResult:
        path, seen, name = file.path, file.stamp, split(file.path)[1]
        try:
            descriptor = opened.open(name, in_use=file.as_is)
            try:
                before = _regular(descriptor)
                if file.as_is:
                    seen = before
                elif before != seen:
                    return HashResult(job.upload, path, seen, changed=before)
                writer = has_writer(descriptor)
                sums = _Sums(md5=job.md5, sha1=self._sha1)
                while not _read_on(descriptor, file, seen, sums):
                    pass
                return _verdict(job, file, seen, opened, sums, writer=writer)
            finally:
                os.close(descriptor)
        except OSError as error:
            return HashResult(job.upload, path, seen, problem=explain(error, path))

    def _large(self, key: _Key, job: _Job) -> None:
        path, seen = job.files[0][:2]
        try:
            outcome = self._slice(job, path, split(path)[1], seen)
        except OSError as error:
            outcome = HashResult(job.upload, path, seen, problem=explain(error, path))
        if outcome is not None or self._stopping or job.upload in self._forgotten:
            _close(job)
            self._done([outcome] if outcome is not None else [])
            return
        with self._change:
            self._lanes.setdefault(key, _Lane()).jobs.appendleft(job)
            self._change.notify()

    def _slice(self, job: _Job, path: bytes, name: bytes, seen: Stamp) -> HashResult | None:
        """Read on for a slice; an outcome ends it, None asks for another turn."""
        if job.descriptor is None:
            with job.disk.folder(job.folder) as opened:
                job.descriptor = opened.open(name, in_use=job.files[0].as_is)
            job.writer = has_writer(job.descriptor)
            job.sums = _Sums(md5=job.md5, sha1=self._sha1)
            if job.files[0].as_is:
                seen = _regular(job.descriptor)
                job.files = [job.files[0]._replace(stamp=seen)]
        assert job.sums is not None
        file = job.files[0]
        now = _regular(job.descriptor)
        if now != seen and not file.as_is:
            return HashResult(job.upload, path, seen, changed=now)
        for _ in range(SLICE // BLOCK):
            if self._stopping:
                return None
            if _read_on(job.descriptor, file, seen, job.sums):
                with job.disk.folder(job.folder) as opened:
                    return _verdict(job, file, seen, opened, job.sums, writer=job.writer)
        return None


def _once_more(job: _Job, opened: OpenFolder, file: HashRequest) -> HashResult:
    """Look whether a file is still what was read."""
    try:
        now = stamp_of(opened.stat(split(file.path)[1]))
    except OSError as error:
        return HashResult(job.upload, file.path, file.stamp, problem=explain(error, file.path))
    if now != file.stamp:
        return HashResult(job.upload, file.path, file.stamp, changed=now)
    return HashResult(job.upload, file.path, file.stamp, digests=file.digests, writer=file.writer)


def _read_on(descriptor: int, file: HashRequest, seen: Stamp, sums: _Sums) -> bool:
    """Read a block and hash it; True at the end.

    A file that is taken as it is ends after the bytes that it had when it was opened. Of any other one byte more is
    asked for than it should have: less than that, and all that it should have, is its end without another call.
    """
    left = seen.size - sums.length
    wanted = min(BLOCK, left if file.as_is else left + 1)
    data = os.read(descriptor, wanted)
    sums.update(data)
    return not data or sums.length > seen.size or (sums.length == seen.size and len(data) < wanted)


def _verdict(
    job: _Job, file: HashRequest, seen: Stamp, opened: OpenFolder, sums: _Sums, *, writer: bool | None
) -> HashResult:  # fmt: skip
    """Compare what the file is after the reading with what it was before.

    The look is by its name. What lies there with the same inode is what was read: no other file of the drive can have
    that number while the file is open.
    """
    path, alone, writer = file.path, writer is False, writer is True
    if file.as_is and sums.length == seen.size:
        return HashResult(job.upload, path, seen, sums.digests(), writer=writer, as_is=True)
    named = stamp_of(opened.stat(split(path)[1]))
    if named != seen:
        return HashResult(job.upload, path, seen, changed=named, writer=writer)
    if sums.length != seen.size:
        problem = DiskBusy(f"{sums.length} of {seen.size} bytes could be read")
        return HashResult(job.upload, path, seen, problem=problem, writer=writer)
    return HashResult(job.upload, path, seen, sums.digests(), writer=writer, alone=alone)


def _regular(descriptor: int) -> Stamp:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(2, "it is no longer a regular file")
    return stamp_of(found)


def _close(job: _Job) -> None:
    if job.descriptor is not None:
        os.close(job.descriptor)
        job.descriptor = None


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

    def hash(self, upload: int, disk: RootDisk, files: Iterable[HashRequest], *, md5: bool = True) -> None:
        """See `HashPool.hash`."""
        pool = self._pools.get(disk.place)
        if pool is None:
            pool = self._pools[disk.place] = HashPool(self._workers, self._done, sha1=self._sha1)
            pool.start()
        pool.hash(upload, disk, files, md5=md5)

    def forget(self, upload: int) -> None:
        """See `HashPool.forget`."""
        for pool in self._pools.values():
            pool.forget(upload)
