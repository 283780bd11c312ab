"""Counts what a storage holds below a folder, level by level, and stops at its bounds."""

import time
from collections import deque
from concurrent.futures import Future

from datauploader.reliability.hang_guard import DriveTimeout, in_a_thread
from datauploader_transfer.domain.failures import classify
from datauploader_transfer.errors import RcloneRefused
from datauploader_transfer.ports import MOST_HELD, FolderContents
from datauploader_transfer.rclone.remote_storage import Entries, RemoteStorage

__all__ = ["ObjectCounter"]


class ObjectCounter:
    """Count objects for people who wait, without ever disturbing what moves.

    A listing that takes too long is left to end by itself: ending it could need a restart of rclone, which files on
    their way would feel. Until it has ended the same storage is not asked for another.
    """

    def __init__(self) -> None:
        self._late: dict[str, Future[Entries]] = {}

    def count_objects(
        self, remote: str, storage: RemoteStorage, folder: str, *, most: int, within_s: float
    ) -> FolderContents:
        """Count the objects below a folder; see `Mover.count_contents`."""
        deadline = time.monotonic() + within_s
        waiting, held = deque([folder]), list[tuple[str, int]]()
        objects = size = 0
        exists = False
        while waiting and objects < most and time.monotonic() < deadline:
            try:
                entries = self._list(remote, storage, waiting[0], deadline)
            except DriveTimeout as error:
                if not exists:
                    raise RcloneRefused(f"{classify('timeout').says} ({remote} did not list {folder})") from error
                break
            path = waiting.popleft()
            exists = exists or bool(entries)
            waiting.extend(f"{path}/{name}" for name, bytes_ in entries if bytes_ is None)
            files = [(f"{path}/{name}", max(bytes_, 0)) for name, bytes_ in entries if bytes_ is not None]
            held += [(name.removeprefix(f"{folder}/"), bytes_) for name, bytes_ in files[: MOST_HELD - len(held)]]
            objects, size = objects + len(files), size + sum(bytes_ for _, bytes_ in files)
        return FolderContents(exists, objects, size, tuple(held), partial=bool(waiting))

    def _list(self, remote: str, storage: RemoteStorage, path: str, deadline: float) -> Entries:
        if remote in self._late and not self._late[remote].done():
            raise DriveTimeout(f"{remote} does not answer")
        answer = in_a_thread(lambda: storage.list_folder(path))
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            self._late[remote] = answer
            raise DriveTimeout(f"{remote} does not answer") from error
