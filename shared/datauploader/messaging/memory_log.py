"""The event log of the in-process broker: in memory, and in a file as well where one is named."""

import itertools
import json
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import structlog

log = structlog.get_logger()

LOG_BYTES = 64 * 1024 * 1024
"""How much is kept for replay; the oldest events go first."""

Entry = tuple[int, datetime, bytes]


class MemoryLog:
    """Events by their offset; every method is called under the broker's lock."""

    def __init__(self, path: Path | None = None, most_bytes: int = LOG_BYTES) -> None:
        """Begin with what the file holds; what is torn in it or too much is left out."""
        self._path, self._most = path, most_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._offsets = itertools.count()
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            for time, body in _read(path):
                self._keep(time, body)
            _write(path, self._entries)
            self._file = path.open("ab", buffering=0)

    def append(self, body: bytes) -> None:
        """Keep an event; a disk that takes nothing costs the replay after a restart, not the event."""
        now = datetime.now(UTC)
        self._keep(now, body)
        if self._file is not None:
            try:
                self._file.write(_line(now, body))
            except OSError as error:
                log.warning("event_log_not_written", path=str(self._path), problem=str(error))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def after(self, offset: int) -> list[Entry]:
        """Return the entries from `offset` on."""
        first = self._entries[0][0] if self._entries else 0
        return list(itertools.islice(self._entries, max(0, offset - first), None))

    def _keep(self, time: datetime, body: bytes) -> None:
        self._entries.append((next(self._offsets), time, body))
        self._bytes += len(body)
        while self._bytes > self._most:
            self._bytes -= len(self._entries.popleft()[2])


def _line(time: datetime, body: bytes) -> bytes:
    return json.dumps([time.isoformat(), body.decode()], ensure_ascii=False).encode() + b"\n"


def _read(path: Path) -> list[tuple[datetime, bytes]]:
    found = []
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    for line in filter(None, lines):
        try:
            time, body = json.loads(line)
            found.append((datetime.fromisoformat(time), str(body).encode()))
        except (ValueError, TypeError):  # the last line of a process that was killed, or damage
            log.warning("event_log_line_unreadable", path=str(path))
    return found


def _write(path: Path, entries: deque[Entry]) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(b"".join(_line(time, body) for _, time, body in entries))
    draft.chmod(0o600)
    draft.replace(path)
