"""Server-sent events as they come over the wire (WHATWG HTML, 9.2), read in pieces of any size."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from datauploader.errors import RequestRefused

LARGEST_LINE = 4 * 1024 * 1024
_LINE_END = re.compile(r"\r\n|\n|\r")
"""Only these end a line; `str.splitlines` would also cut at U+2028, which stands in file names."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its kind, its position and its data."""

    event: str
    data: dict[str, Any]
    id: str = ""


def read_events(pieces: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield the events; comments and events without data pass unseen, and half an event at the end is dropped.

    Raises:
        Refused: the data are no JSON object, or a line does not end.
    """
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in _lines(pieces):
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
            elif name:
                fields[name] = value.removeprefix(" ")
            continue
        if data:
            try:
                document = json.loads("\n".join(data))
            except (ValueError, RecursionError):
                document = None
            if not isinstance(document, dict):
                raise RequestRefused(
                    "the gateway sent an event that is not a JSON object", "Update this program or the gateway."
                )
            yield ServerEvent(fields.get("event", "message"), document, fields.get("id", ""))
        fields, data = {}, []


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in pieces:
        rest += decoder.decode(piece)
        ends_in_cr = rest.endswith("\r")  # the \n that belongs to it may be in the next piece
        *lines, rest = _LINE_END.split(rest[:-1] if ends_in_cr else rest)
        rest += "\r" if ends_in_cr else ""
        if len(rest) > LARGEST_LINE:
            raise RequestRefused("the gateway sent a line without an end", "Check that the address is a gateway's.")
        yield from lines
