"""Reads values of metadata as people type them: what is plainly a number is one, everything else stays text."""

import re

_PARAMETER = re.compile(
    r"(?P<name>[^=]+)="
    r"(?:\s*(?P<number>[+-]?[\d.]+(?:[eE][+-]?\d+)?)\s*:\s*(?P<unit>[^\d\s.+-].*)"
    r"|(?P<value>.*?)(?:\[(?P<units>[^\[\]]*)\])?)",
    re.DOTALL,
)


def read_value(text: str) -> str | float | bool:
    """Make a number of what is plainly one; `0012` and very long ones are somebody's identifiers."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?(0|[1-9]\d{0,17})", text):
        return int(text)
    if re.fullmatch(r"[+-]?((\d+\.\d*|\.\d+)([eE][+-]?\d{1,2})?|\d+[eE][+-]?\d{1,2})", text):
        return float(text)
    return text


def show_value(value: str | float | bool) -> str:
    """Write a value as `read_value` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_assignment(text: str) -> tuple[str, str, str] | None:
    """Split `name=value[unit]`, or `name=number:unit`, into its three texts; None where it is neither."""
    found = _PARAMETER.fullmatch(text)
    if found is None or not found["name"].strip():
        return None
    value, units = (found["number"], found["unit"]) if found["unit"] else (found["value"], found["units"] or "")
    return found["name"].strip(), value.strip(), units.strip()
