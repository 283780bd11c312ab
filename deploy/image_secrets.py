"""Looks for secrets in the layers of an image as `docker image save` writes it: what a build took along stays there."""

import gzip
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

NAMES = re.compile(r"(PASSWORD|SECRET|KEY|TOKEN)$")
LEAST = 8
"""Characters that a value must have, so that finding it means something."""
CHUNK = 4 * 1024 * 1024
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Unreadable(Exception):
    """A layer is packed in a way that cannot be looked into here."""


def secrets_of(env: Path) -> dict[str, str]:
    """Read the secrets of an env file; one that is not there has none."""
    lines = env.read_text(encoding="utf-8").splitlines() if env.exists() else []
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    values = {name.strip(): value.strip().strip("'\"") for name, value in pairs}
    return {name: value for name, value in values.items() if NAMES.search(name) and len(value) >= LEAST}


def leaked(image: IO[bytes], secrets: Mapping[str, str]) -> set[str]:
    """Name the secrets that stand anywhere in a saved image: in a file of any layer, in its history or settings.

    Raises:
        Unreadable: a layer is compressed with something else than gzip.
    """
    found: set[str] = set()
    with tarfile.open(fileobj=image, mode="r|") as parts:
        for part in parts:
            content = parts.extractfile(part) if part.isfile() else None
            if content is not None:
                found |= _in(_unpacked(part.name, content), secrets)
    return found


def _unpacked(name: str, content: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a layer; its files stand in them as they are, because a tar does not compress."""
    head = content.read(CHUNK)
    if head.startswith(ZSTD):
        raise Unreadable(f"{name} is packed with zstd: build with gzip, or teach deploy/image_secrets.py to read it")
    if head.startswith(GZIP):
        with gzip.GzipFile(fileobj=_Joined(head, content)) as layer:
            while chunk := layer.read(CHUNK):
                yield chunk
        return
    while head:
        yield head
        head = content.read(CHUNK)


class _Joined(io.RawIOBase):
    """What was read already, and the rest."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        """Begin with the head."""
        self._head, self._rest = io.BytesIO(head), rest

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        return self._head.read(size) or self._rest.read(size)


def _in(chunks: Iterator[bytes], secrets: Mapping[str, str]) -> set[str]:
    longest = max((len(value.encode()) for value in secrets.values()), default=1)
    found: set[str] = set()
    before = b""
    for chunk in chunks:
        window = before + chunk
        found |= {name for name, value in secrets.items() if value.encode() in window}
        before = window[-longest:]
    return found
