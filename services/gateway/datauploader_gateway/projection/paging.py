"""Cursors: where the next page of a list begins, in a form that fits into an address."""

import base64
import binascii

from datauploader_gateway.errors import InvalidRequest

NO_CURSOR = "after: this is not a cursor of this list; use `next` of the previous page"


def pack_cursor(word: str, rest: str | bytes) -> str:
    """Write a word and a path or identifier behind which the next page begins."""
    raw = rest.encode() if isinstance(rest, str) else rest
    return base64.urlsafe_b64encode(word.encode() + b"\0" + raw).decode().rstrip("=")


def unpack_cursor(cursor: str) -> tuple[str, bytes]:
    """Read what `pack_cursor` wrote; an empty cursor is the beginning.

    Raises:
        InvalidRequest: it is none.
    """
    if not cursor:
        return "", b""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        word, _, rest = packed.partition(b"\0")
        return word.decode(), rest
    except (binascii.Error, ValueError):
        raise InvalidRequest(NO_CURSOR) from None
