"""Locks on objects: keep two moves from writing the same object at the same time."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

__all__ = ["ObjectLocks"]


class ObjectLocks:
    """Lock the objects that are being written."""

    def __init__(self) -> None:
        self._held: set[tuple[str, str]] = set()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, remote: str, targets: Iterable[str]) -> Iterator[None]:
        """Wait until none of the objects is held by somebody else, then hold them all."""
        wanted = {(remote, target) for target in targets}
        with self._changed:
            self._changed.wait_for(lambda: self._held.isdisjoint(wanted))
            self._held |= wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                self._changed.notify_all()
