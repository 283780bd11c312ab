"""Values as ICAT takes and gives them in JSON; dates are read as Java's SimpleDateFormat reads them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from datauploader_sandbox.icat.errors import IcatError, bad_parameter
from datauploader_sandbox.icat.schema import VALUE_TYPES, Attribute, Kind

_DATE = re.compile(r"(-?\d{4,}-\d{1,2}-\d{1,2}T\d{1,2}:\d{1,2}:\d{1,2})\.(\d+)(Z|[+-]\d{2}:\d{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


_TYPES: dict[Kind, type] = {"text": str, "long": int, "double": float, "bool": bool, "value-type": str}


class Date(int):
    """Milliseconds since 1970."""


def read_value(entity: str, name: str, attribute: Attribute, value: Any) -> Any:
    """Return what ICAT keeps for a value of JSON."""
    if value is None:
        return None
    if attribute.kind == "date":
        return read_date(value)
    if attribute.kind == "double" and type(value) is int:
        return float(value)
    if type(value) is not _TYPES[attribute.kind] or (attribute.kind == "value-type" and value not in VALUE_TYPES):
        raise bad_parameter(f"Field {name} of {entity} cannot be {value!r}")
    return value


def read_date(text: Any) -> Date:
    """Read a date.

    The pattern is `yyyy-MM-dd'T'HH:mm:ss.SSSXXX`. All digits after the point are taken for a number of milliseconds,
    so that ".123456" is two minutes and three seconds late, without a word.
    """
    found = _DATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise bad_parameter(f"Badly formatted date {text!r}")
    zone = "+00:00" if found[3] == "Z" else found[3]
    try:
        whole = datetime.fromisoformat(found[1] + zone)
    except ValueError:
        raise bad_parameter(f"Badly formatted date {text!r}") from None
    return Date((whole - _EPOCH) // _MILLISECOND + int(found[2]))


def write_date(milliseconds: int) -> str:
    """Write a date as ICAT does where its server's zone is UTC."""
    moment = _EPOCH + milliseconds * _MILLISECOND
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def check_value(entity: str, name: str, attribute: Attribute, value: Any) -> None:
    """Refuse what the column cannot hold, in ICAT's words."""
    if value is None and attribute.required:
        raise IcatError("VALIDATION", f"{entity}: {name} cannot be null.")
    if isinstance(value, str) and len(value.encode("utf-16-le", "surrogatepass")) // 2 > attribute.length:
        raise IcatError("VALIDATION", f"{entity}: {name} cannot have length > {attribute.length}")
