"""Locks of objects: no two moves write the same one at the same time."""

import contextlib
import threading
from collections.abc import Iterable, Iterator


class ObjectLocks:
    """Lock objects, to keep two moves from writing the same one at the same time."""

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
