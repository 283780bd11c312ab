"""What the detector knows that it wrote, as JSON lines outside the watched folder, for an oracle to compare with."""

import base64
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Self


class Ledger:
    """Append one line for every version of every file, and for everything that must not be uploaded."""

    def __init__(self, path: Path, root: Path) -> None:
        self._root = os.fsencode(root)
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="ascii")
        self.files = 0
        self.bytes = 0

    def wrote(self, path: Path | bytes, *, resting: bool = False) -> None:
        """Record what a file holds now; `resting` says that its writer has not finished with it."""
        content = Path(os.fsdecode(path)).read_bytes()
        self.wrote_bytes(path, hashlib.sha256(content).hexdigest(), len(content), resting=resting)

    def wrote_bytes(self, path: Path | bytes, sha256: str, size: int, *, resting: bool = False) -> None:
        """Record a version whose digest the writer knows."""
        entry: dict[str, Any] = {"sha256": sha256, "size": size, "closed": time.time()}
        if resting:
            entry["resting"] = True
        else:
            self.files += 1
            self.bytes += size
        self._append(path, entry)

    def left_out(self, path: Path | bytes, kind: str) -> None:
        """Record something that must not turn up on the storage: a FIFO, a socket, a link that leads outside."""
        self._append(path, {"left_out": kind})

    def gone(self, path: Path | bytes) -> None:
        """Record that a file was removed or has another name now; what was uploaded of it before may stay."""
        self._append(path, {"gone": True})

    def optional(self, path: Path | bytes, kind: str, content: bytes) -> None:
        """Record something that may be uploaded or left out, but must have these bytes if it is uploaded."""
        self._append(path, {"optional": kind, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _append(self, path: Path | bytes, entry: dict[str, Any]) -> None:
        line = json.dumps({**written(os.path.relpath(os.fsencode(path), self._root)), **entry})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


def written(path: bytes) -> dict[str, str]:
    """Write a relative path as JSON can hold it: text, or base64 where the bytes are not UTF-8."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path_b64": base64.b64encode(path).decode()}
