"""Which day it is at this facility: one definition for names, lists and catalogues."""

from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator


def _check(name: str) -> str:
    try:
        if name:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write it like Europe/Rome") from error
    return name


TimeZone = Annotated[str, AfterValidator(_check)]
"""A name of the IANA database, such as `Europe/Rome`; "" for the zone of this machine."""


def today(zone: TimeZone, moment: datetime | None = None) -> date:
    """Return the day that it is in this zone, now or at another moment."""
    return (moment or datetime.now(UTC)).astimezone(ZoneInfo(zone) if zone else None).date()
