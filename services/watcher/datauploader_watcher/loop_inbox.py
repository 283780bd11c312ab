"""The inbox of the loop, where other threads leave what it must know; repeated notices of one path are one."""

import threading
from dataclasses import dataclass, field

from datauploader_watcher.adapters.events import Notice
from datauploader_watcher.adapters.hashing import HashResult


@dataclass(slots=True)
class LoopEvents:
    """Events of the loop: what has come since it last looked."""

    outcomes: list[HashResult] = field(default_factory=list)
    notices: dict[tuple[bytes, bytes], Notice] = field(default_factory=dict)
    watched: list[tuple[bytes, str]] = field(default_factory=list)
    """Folders whose watch began, or could not (with the reason)."""
    overflows: int = 0
    reload: bool = False
    """Uploads have changed in the ledger."""
    nudged: bool = False

    def __bool__(self) -> bool:
        return bool(
            self.outcomes or self.notices or self.watched or self.overflows or self.reload or self.nudged
        )  # fmt: skip


class LoopInbox:
    """A thread-safe inbox: any thread puts, the loop alone takes."""

    def __init__(self) -> None:
        """Begin empty."""
        self._change = threading.Condition()
        self._mail = LoopEvents()

    def drain(self) -> LoopEvents:
        """Return what has come, and begin anew."""
        with self._change:
            mail, self._mail = self._mail, LoopEvents()
        return mail

    def wait(self, timeout_s: float) -> None:
        """Wait until something comes."""
        with self._change:
            if not self._mail:
                self._change.wait(timeout_s)

    def outcomes(self, outcomes: list[HashResult]) -> None:
        """Files were read."""
        with self._change:
            self._mail.outcomes.extend(outcomes)
            self._change.notify()

    def notice(self, notice: Notice) -> None:
        """Something happened to a path."""
        key = (notice.watch, notice.path)
        with self._change:
            known = self._mail.notices.get(key)
            if known is None or (notice.closed and not known.closed):
                self._mail.notices[key] = notice
            elif known.closed and not notice.closed:  # written to again after a close
                self._mail.notices[key] = known._replace(closed=False)
            self._change.notify()

    def watched(self, folder: bytes, problem: str) -> None:
        """A watch began, or could not."""
        with self._change:
            self._mail.watched.append((folder, problem))
            self._change.notify()

    def overflow(self) -> None:
        """Events were lost."""
        with self._change:
            self._mail.overflows += 1
            self._change.notify()

    def reload(self) -> None:
        """Uploads have changed in the ledger."""
        with self._change:
            self._mail.reload = True
            self._change.notify()

    def nudge(self) -> None:
        """Have a look round."""
        with self._change:
            self._mail.nudged = True
            self._change.notify()
