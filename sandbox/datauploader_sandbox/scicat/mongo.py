"""As much of MongoDB's filters as is asked of SciCat, and how SciCat writes the keys of scientific metadata."""

import json
from typing import Any
from urllib.parse import quote, unquote

from datauploader_sandbox.scicat.refusals import Refusal

Record = dict[str, Any]


def parse(text: str | None, name: str = "filter") -> Record:
    """Read a filter; one that is no JSON is a bad request."""
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise Refusal(400, f"Invalid JSON in {name}: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"{name} must be an object")
    return value


def select(records: list[Record], asked: Record, *, limit: int) -> list[Record]:
    """Return the records of a filter `{where, limits, fields}`, at most `limit` unless it says otherwise."""
    found = [one for one in records if holds(one, asked.get("where") or {})]
    limits = asked.get("limits") or {}
    field, _, direction = str(limits.get("order") or "").partition(":")
    sort = limits.get("sort") or ({field: direction} if field else {})
    for name, way in reversed(list(sort.items())):
        found.sort(key=lambda one: str(one.get(name) or ""), reverse=way == "desc")
    start = int(limits.get("skip") or 0)
    found = found[start : start + int(limits.get("limit") or limit)]
    fields = asked.get("fields")
    wanted = [name for name, shown in fields.items() if shown] if isinstance(fields, dict) else fields
    return [{name: one[name] for name in {"_id", *wanted} if name in one} for one in found] if wanted else found


def holds(record: Record, where: Record) -> bool:
    """Tell whether a record is meant; an array is meant by each of its values."""
    return all(_condition(record, name, wanted) for name, wanted in where.items())


def _condition(record: Record, name: str, wanted: Any) -> bool:
    if name == "$and":
        return all(holds(record, one) for one in wanted)
    if name == "$or":
        return any(holds(record, one) for one in wanted)
    value = record.get(name)
    if isinstance(wanted, dict) and "$in" in wanted:
        wanted = wanted["$in"]
        return any(one in wanted for one in value) if isinstance(value, list) else value in wanted
    if isinstance(wanted, list):
        return value == wanted or (not isinstance(value, list) and value in wanted)
    return bool(wanted == value or (isinstance(value, list) and wanted in value))


def encoded(metadata: Any) -> Any:
    """Write keys as they are stored: percent-encoded, unless they look as if they were so already."""
    if not isinstance(metadata, dict):
        return metadata
    if not isinstance(metadata.get("language", ""), str):  # a text index takes it for the language of the text
        raise Refusal(500, "Internal server error")
    return {
        key if _decode(key) != key else quote(key, safe="!'()*").replace(".", "%2E"): encoded(value)
        for key, value in metadata.items()
    }


def decoded(metadata: Any) -> Any:
    """Write keys as /api/v3 answers them."""
    if not isinstance(metadata, dict):
        return metadata
    return {_decode(key): decoded(value) for key, value in metadata.items()}


def in_si(metadata: Any) -> Any:
    """Add valueSI and unitSI to quantities, as for units that cannot be converted: as they are."""
    if not isinstance(metadata, dict):
        return metadata
    if metadata.get("unit") and isinstance(metadata["unit"], str) and metadata.get("value") is not None:
        return {**metadata, "valueSI": metadata["value"], "unitSI": metadata["unit"]}
    return {key: in_si(value) for key, value in metadata.items()}


def _decode(key: str) -> str:
    try:
        return unquote(key, errors="strict").replace("%2E", ".") if _is_encoded(key) else key
    except UnicodeDecodeError:
        return key


def _is_encoded(key: str) -> bool:
    """Tell whether JavaScript can decode it: each percent sign begins two hexadecimal digits."""
    parts = key.split("%")[1:]
    return bool(parts) and all(len(part) > 1 and all(c in "0123456789abcdefABCDEF" for c in part[:2]) for part in parts)
