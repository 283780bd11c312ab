"""What the oracle reads: the generator's ledger, the catalogue's state, and the receipts of what was verified."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds."""

    sha256: str
    size: int


@dataclass(slots=True)
class Written:
    """What the ledger says about one path."""

    final: Content | None = None
    """The last version whose writer was finished with it; None where nothing must be stored."""
    versions: set[str] = field(default_factory=set)
    """The digests of all versions and resting states."""
    optional: bool = False
    """It may be stored or left out; if it is stored, it is `final`."""
    gone: bool = False
    """It was removed or renamed by its writer: it may be stored in any state that it ever had, or not at all."""


@dataclass(frozen=True, slots=True)
class Datafile:
    """A datafile as the catalogue lists it."""

    dataset: str
    path: bytes
    content: Content


@dataclass(frozen=True, slots=True)
class Receipt:
    """What somebody was told about a file version."""

    path: bytes
    sha256: str
    verified: bool


def read_ledger(path: Path) -> dict[bytes, Written]:
    """Read a generator's ledger: one JSON object a line, in the order of the writing."""
    written: dict[bytes, Written] = {}
    for line in json_lines(path):
        entry = written.setdefault(path_of(line), Written())
        entry.gone = "gone" in line
        if "left_out" in line or "gone" in line:
            continue
        entry.versions.add(line["sha256"])
        entry.optional = "optional" in line
        if not line.get("resting"):
            entry.final = Content(line["sha256"], line["size"])
    return {name: entry for name, entry in written.items() if entry.final is not None}


def read_receipts(path: Path) -> list[Receipt]:
    """Read what was said about files, in the order in which it was said."""
    return [Receipt(path_of(line), line["sha256"], bool(line["verified"])) for line in json_lines(path)]


def read_catalogue(state: dict[str, Any], dataset: str | None = None) -> list[Datafile]:
    """Read the datafiles from a catalogue double's state; `dataset` picks one by id or name."""
    return [
        Datafile(f"{found['investigation_id']}/{found['name']}", path_of(file), Content(file["sha256"], file["size"]))
        for found in state["datasets"]
        if dataset is None or dataset in (str(found["id"]), found["name"])
        for file in found["datafiles"]
    ]


def path_of(line: dict[str, Any]) -> bytes:
    """Read a path that is text, or base64 where its bytes are not UTF-8."""
    encoded = line.get("path_b64")
    return base64.b64decode(encoded) if encoded else os.fsencode(line["path"])


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file; a last line that was cut by a crash is passed over."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        if line.endswith("\n") and line.strip():
            yield json.loads(line)
