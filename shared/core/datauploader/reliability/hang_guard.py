"""A guard against drives that hang: each call runs in a thread of its own and is waited for only so long."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")

WAIT_S = 2.0
"""How long who must go on waits for a drive that usually answers in milliseconds."""


class DriveTimeout(TimeoutError):
    """A timeout of a drive, which has not answered yet: an OSError, like all that drives say."""


def in_a_thread(question: Callable[[], T]) -> "Future[T]":
    """Ask in a new thread; nobody can end a call that hangs, so the thread stays until the drive lets go of it."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the answer
            answer.set_exception(error)

    threading.Thread(target=run, name="ask-drive", daemon=True).start()
    return answer


class HangGuard:
    """A guard against calls that hang: waits for each place once, and not again while that answer is missing."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        """Say how long to wait."""
        self._wait_s = wait_s
        self._missing: dict[Hashable, tuple[Hashable, Future[Any]]] = {}

    def silent(self, place: Hashable) -> bool:
        """Tell whether a place owes an answer."""
        return place in self._missing and not self._missing[place][1].done()

    def call_with_deadline(self, place: Hashable, question: Callable[[], T], name: Hashable = None) -> T:
        """Return the answer to a question.

        Args:
            place: what hangs as a whole: a root, a drive.
            question: is called in another thread.
            name: a late answer is given to whoever asks the question of this name again.

        Raises:
            NoAnswer: there is none within the time, or the place still owes an earlier one.
        """
        if place in self._missing:
            asked, late = self._missing[place]
            if not late.done():
                raise DriveTimeout(f"{place} does not answer")
            del self._missing[place]
            if asked == name and name is not None:
                return cast("T", late.result())
        answer = in_a_thread(question)
        try:
            return answer.result(self._wait_s)
        except TimeoutError as error:
            if answer.done():
                raise  # the drive's own
            self._missing[place] = (name, answer)
            raise DriveTimeout(f"{place} does not answer") from error
