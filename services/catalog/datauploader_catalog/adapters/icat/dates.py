"""Dates as ICAT reads and writes them: always three digits behind the point, more of them it takes for more time."""

from datetime import UTC, date, datetime, time, timedelta

from datauploader.days import TimeZone, today
from datauploader_catalog.adapters.beamtime import at_facility
from datauploader_catalog.adapters.icat.wire import unreadable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def of_nanoseconds(nanoseconds: int) -> str:
    """Write a moment, cut to the millisecond."""
    return _written(_EPOCH + timedelta(milliseconds=nanoseconds // 1_000_000))


def of_day(day: date, zone: TimeZone) -> str:
    """Write the beginning of a day at the facility."""
    return _written(at_facility(day, time(), zone))


def of_text(text: str) -> str:
    """Write a moment that is given in ISO 8601, in UTC where it names no zone.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    return _written(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def read_moment(text: str) -> datetime:
    """Read what ICAT wrote."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise unreadable(text, "a date was expected") from error


def read_day(text: str | None, zone: TimeZone) -> date | None:
    """Read which day it was at the facility."""
    return today(zone, read_moment(text)) if text else None


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
