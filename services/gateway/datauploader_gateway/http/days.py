"""Days that people look for on pages, in UTC."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Query

Day = Annotated[date | Literal[""], Query()]


def midnight(day: date | Literal[""], more: int = 0) -> datetime | None:
    """Return the beginning of a day in UTC, or of one some days later; None where no day is named."""
    if not day:
        return None
    try:
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=more)
    except OverflowError:
        return None
