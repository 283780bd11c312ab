"""Names and paths that come from outside: which ones may be used, and how any byte string survives the journey."""

import base64
import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE)
"""Device names of Windows, whatever their extension (learn.microsoft.com, "Naming Files, Paths, and Namespaces")."""
_COMPONENT = r"(?!\.{1,2}(?:/|\Z))[^/\0]+"
_RELATIVE = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
"""A pattern costs a third of taking the path apart, and every file is checked in every message about it."""
_PLAIN_COMPONENT = r"(?:[^/.\x00][^/\x00]*|\.[^/.\x00][^/\x00]*|\.\.[^/\x00]+)"
_PLAIN_RELATIVE = rf"^{_PLAIN_COMPONENT}(?:/{_PLAIN_COMPONENT})*$"
"""The same for pydantic's own patterns, which cannot look ahead, and whose `$` is the end alone."""
_BETWEEN = "/\0/"
LONGEST_NAME = 200
"""Characters."""
LONGEST_COMPONENT = 255
"""Bytes that a path component has at most on the usual file systems."""


def check_name(text: str) -> str:
    """Accept the name of a dataset or investigation: one path component that every storage can hold.

    Raises:
        ValueError: says what is wrong with the name.
    """
    if not text.strip():
        raise ValueError("a name must not be empty")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, this one has {len(text)}")
    if any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in text):
        raise ValueError("a name must not contain control, invisible or unassigned characters")
    if len(text.encode()) > LONGEST_COMPONENT:
        raise ValueError(f"a name has at most {LONGEST_COMPONENT} bytes in UTF-8, this one has {len(text.encode())}")
    if any(c in '/\\:*?"<>|' for c in text):
        raise ValueError('a name must not contain any of / \\ : * ? " < > |')
    if text != text.strip() or text.startswith(".") or text.endswith("."):
        raise ValueError("a name must not begin or end with a dot or a space")
    if _RESERVED.match(text):
        raise ValueError(f"{text!r} is a reserved name on Windows")
    return text


def same_look(text: str) -> str:
    """Return what names have in common that people take for one: whatever their case, however accents are written."""
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def check_location(text: str) -> str:
    """Accept a folder below a remote's base: names joined by `/`, nothing that climbs out.

    Raises:
        ValueError: says what is wrong with the location.
    """
    if not text:
        raise ValueError("a location must not be empty")
    for part in text.split("/"):
        check_name(part)
    return text


def check_relative(text: str) -> str:
    """Accept a path below a root as it is written in a message: relative, `/`-separated, never climbing out.

    Raises:
        ValueError: the path is absolute, empty, or has an empty, `.` or `..` component.
    """
    if not _RELATIVE.fullmatch(text):
        raise ValueError(f"{text!r} is not a path below the root of the upload")
    return text


def all_relative(texts: Sequence[str]) -> bool:
    """Tell whether `check_relative` accepts each of these; together that takes a tenth of the time."""
    joined = f"/{_BETWEEN.join(texts)}/"
    return joined.count("\0") == len(texts) - 1 and not ("//" in joined or "/./" in joined or "/../" in joined)


def numbered(name: str, number: int) -> str:
    """Return the name of the so-manieth dataset beside one of this name: `run1 (2)`; too long a name is cut for it."""
    ending = f" ({number})"
    stem = name[: LONGEST_NAME - len(ending)]
    while len(f"{stem}{ending}".encode()) > LONGEST_COMPONENT:
        stem = stem[:-1]
    return stem.rstrip() + ending


class _ReadAsRelative:
    """How pydantic reads such a path: in JSON without a call of Python for each file, else with its reason."""

    @staticmethod
    def __get_pydantic_core_schema__(_source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            core_schema.custom_error_schema(
                core_schema.str_schema(pattern=_PLAIN_RELATIVE),
                custom_error_type="relative_path",
                custom_error_message="it is not a path below the root of the upload",
            ),
            core_schema.no_info_after_validator_function(check_relative, core_schema.str_schema()),
        )

    @staticmethod
    def __get_pydantic_json_schema__(_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core_schema.str_schema())


Name = Annotated[str, AfterValidator(check_name)]
Location = Annotated[str, AfterValidator(check_location)]
RelativePath = Annotated[str, _ReadAsRelative()]


def display(raw: bytes) -> str:
    """Show a path of any bytes as text; what is no UTF-8 becomes U+FFFD."""
    return raw.decode("utf-8", "replace")


def pack(raw: bytes) -> str | None:
    """Return the base64 form that must travel beside the display text, or None where the text says it all."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii")
    return None


def unpack(text: str, packed: str | None) -> bytes:
    """Return the bytes of a path from its display text and, where there is one, its base64 form."""
    return text.encode("utf-8") if packed is None else base64.b64decode(packed, validate=True)


def to_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the path as the bytes that travel: the file system's own on POSIX, UTF-8 on Windows."""
    return os.fsencode(path)


_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def escape(raw: bytes) -> str:
    r"""Write any bytes as text that can be read back: what is no UTF-8 becomes `\xHH`, all else stays as it is.

    A name that already holds such an escape has its backslash written as `\x5c`.
    """
    quoted = _ESCAPED.sub(lambda found: rb"\x5cx" + found[1] if _is_escape(found[1]) else found[0], raw)
    return quoted.decode("utf-8", "backslashreplace")


def unescape(text: str) -> bytes:
    """Return the bytes that `escape` wrote."""
    return _ESCAPED.sub(
        lambda found: bytes.fromhex(found[1].decode()) if _is_escape(found[1]) else found[0], text.encode("utf-8")
    )


def _is_escape(digits: bytes) -> bool:
    return digits == b"5c" or digits >= b"80"
