"""When an investigation is: its days as the moments that SciCat and ICAT keep, and when its time is over."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from datauploader.days import TimeZone


def at_facility(day: date, clock: time, zone: TimeZone) -> datetime:
    """Return the moment at which the facility's clocks show this."""
    moment = datetime.combine(day, clock)
    return moment.replace(tzinfo=ZoneInfo(zone)) if zone else moment.astimezone()


def reason_closed(end: date | None, closed_after_days: int | None, today: date) -> str:
    """Return why an investigation takes no more uploads, "" while it takes them."""
    if end is None or closed_after_days is None or today <= end + timedelta(days=closed_after_days):
        return ""
    return "The time of this proposal is over."
