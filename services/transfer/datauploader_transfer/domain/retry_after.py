"""The header Retry-After: how long a storage asks to be left alone (RFC 9110, 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["LONGEST_S", "retry_after_s"]

LONGEST_S = 3600.0
"""No pause is longer, whatever a server says: an hour is enough for any, and a mistaken one costs no night."""


def retry_after_s(header: str, now: datetime) -> float | None:
    """Return the seconds that a header's value asks for, at most an hour; None where it asks for nothing."""
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), LONGEST_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(0.0, seconds.total_seconds()), LONGEST_S)
