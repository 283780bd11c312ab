"""What was once called complete must stay so: every datafile's bytes on the storage, at every moment from then on."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datauploader_sandbox.oracle.evidence import Content
from datauploader_sandbox.oracle.storage import hash_file

_ESCAPED = re.compile(rb"\\x(5c|[89a-f][0-9a-f])")
"""How the catalogue's text writes a byte that is no text, and a backslash that would read like one."""


@dataclass(slots=True)
class _Object:
    """An object as it was when it was hashed last."""

    stamp: tuple[int, int, int, int]
    content: Content


@dataclass(slots=True)
class Promises:
    """Remembers each datafile of a dataset from the moment at which the catalogue called the dataset complete."""

    root: Path
    """The directory below which the storage keeps its objects."""
    broken: dict[str, None] = field(default_factory=dict)
    """Sentences, each once, in the order in which they were found."""
    _promised: dict[tuple[str, str], tuple[bytes, Content]] = field(default_factory=dict)
    _objects: dict[bytes, _Object] = field(default_factory=dict)
    _excused: set[str] = field(default_factory=set)

    def excuse(self, path: Path) -> None:
        """Leave an object out that a test itself has damaged."""
        self._excused.add(os.path.relpath(path, self.root))

    def look(self, state: Mapping[str, Any]) -> list[str]:
        """Take in what the catalogue calls complete now, look at everything that was promised; return all findings."""
        for dataset in state["datasets"]:
            if dataset["complete"]:
                self.broken.update(dict.fromkeys(self._take_in(dataset)))
        self.broken.update(dict.fromkeys(self._compare()))
        return list(self.broken)

    def _take_in(self, dataset: Mapping[str, Any]) -> Iterator[str]:
        name = f"{dataset['investigation_id']}/{dataset['name']}"
        for file in dataset["datafiles"]:
            content = Content(file["sha256"], file["size"])
            known = self._promised.setdefault((name, file["path"]), (_object(file["location"]), content))
            if known[1] != content:
                yield f"catalogue: {file['path']!a} of {name} was changed after the dataset was complete"

    def _compare(self) -> Iterator[str]:
        for (dataset, path), (name, promised) in self._promised.items():
            if os.fsdecode(name) in self._excused:
                continue
            found = self._content(name)
            if found is None:
                yield f"storage: {path!a} of the complete {dataset} is missing"
            elif found != promised:
                yield f"storage: {path!a} of the complete {dataset} holds other bytes"

    def _content(self, name: bytes) -> Content | None:
        """Return what an object holds; one that looks as it did when it was hashed is not read again."""
        path = os.path.join(os.fsencode(self.root), name)  # noqa: PTH118 - names are bytes here
        try:
            seen = os.stat(path)  # noqa: PTH116 - as above
            stamp = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
            known = self._objects.get(name)
            if known is None or known.stamp != stamp:
                known = self._objects[name] = _Object(stamp, hash_file(path))
        except OSError:
            return None
        return known.content


def watch(promises: Promises, state: Callable[[], Mapping[str, Any]]) -> list[str]:
    """Look once with the catalogue's state of now; a catalogue that does not answer promises nothing new."""
    try:
        now = state()
    except OSError:
        now = {"datasets": []}
    return promises.look(now)


def _object(location: str) -> bytes:
    """Return the bytes of an object's path from `remote:path` as the catalogue has it."""
    text = location.partition(":")[2].encode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), text)
