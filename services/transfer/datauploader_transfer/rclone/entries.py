"""Reads rclone's listings entry by entry: one of a million objects is larger than what it is worth to hold."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from datauploader_transfer.errors import RcloneGone

__all__ = ["entries_of"]

_CHUNK = 256 * 1024
_BETWEEN = re.compile(r"[\s,]*")


def entries_of(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the entries of an answer to operations/list, which is one JSON object with one member, `list`.

    Raises:
        RcloneGone: the answer ends too early.
    """
    text, decoder = codecs.getreader("utf-8")(file, "replace"), json.JSONDecoder()
    buffer = text.read(_CHUNK)
    at = buffer.find("[") + 1
    if not at:  # null: there is nothing
        return
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr] # it matches nothing as well
        if buffer[at : at + 1] == "]":
            return
        try:
            entry, at = decoder.raw_decode(buffer, at)
        except json.JSONDecodeError:
            more = text.read(_CHUNK)
            if not more:
                raise RcloneGone("rclone ended during a listing; it is restarted automatically.") from None
            buffer, at = buffer[at:] + more, 0
        else:
            yield entry
