"""The manifest in the form of BagIt (RFC 8493, section 2.1.3): one line a file, its digest and its name."""

from datauploader.contracts.names import escape

NAME = "manifest-sha256.txt"
_CODED = {ord("%"): "%25", ord("\n"): "%0A", ord("\r"): "%0D"}
"""The characters that RFC 8493 has encoded, and no others."""


def line(path: bytes, sha256: str) -> bytes:
    """Return the line of one file; bytes that are no UTF-8 are written as the storage has them (`names.escape`)."""
    return f"{sha256}  {escape(path).translate(_CODED)}\n".encode()


def is_plain(path: bytes) -> bool:
    """Tell whether a manifest writes this name byte for byte."""
    if b"%" in path or b"\n" in path or b"\r" in path:
        return False
    return (path.isascii() and b"\\" not in path) or escape(path).encode() == path
