"""Looks again and again, while a facility runs, whether what was once called complete still lies on the storage."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.oracle.promises import Promises, watch

EVERY_S = 1.0
"""Between two looks."""


class Guard:
    """A thread beside a facility; it does nothing to it."""

    def __init__(self, facility: Facility) -> None:
        """Guard this facility from `__enter__` to `__exit__`."""
        self._facility = facility
        self._promises: Promises | None = None
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def excuse(self, path: Path) -> None:
        """Leave an object out that a test itself damages."""
        with self._lock:
            self._looked_after().excuse(path)

    def look(self) -> list[str]:
        """Look now; return every promise that was ever found broken."""
        with self._lock:
            return watch(self._looked_after(), self._state)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            self.look()

    def _looked_after(self) -> Promises:
        if self._promises is None:
            self._promises = Promises(self._facility.storage)
        return self._promises

    def _state(self) -> Mapping[str, Any]:
        try:
            return self._facility.catalogue.state()
        except (httpx.HTTPError, ValueError) as error:
            raise ConnectionError(str(error)) from error
