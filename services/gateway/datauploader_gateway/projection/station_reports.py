"""How a service's report replaces the one before: pure, and the same whatever the order and however often it comes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from datauploader.contracts import Event, EventData, StationReported
from datauploader.contracts.model import microseconds
from datauploader_gateway.projection.fold import stamp

SILENT_INTERVALS = 3
"""Reports that a service may miss before it is away."""


def fold_report(
    event: Event[EventData], data: StationReported, before: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return what is kept of a service from now on; None where its report is older than what is kept."""
    if before is not None and _is_older(event, data, before):
        return None
    said = {"time": stamp(event.time), "order": event.order, "others": _others(before, data.host, event.time)}
    return data.model_dump(mode="json") | said


def _others(before: Mapping[str, Any] | None, host: str, now: datetime) -> dict[str, str]:
    """Return the other computers that have said of late that they are this service of this station, and when."""
    if before is None:
        return {}
    said = dict(before.get("others", {}))
    if before["state"] != "stopping":
        said[before["host"]] = before["time"]
    late = now - SILENT_INTERVALS * timedelta(seconds=float(before["interval_s"]))
    return {one: time for one, time in said.items() if one != host and datetime.fromisoformat(time) > late}


def _is_older(event: Event[EventData], data: StationReported, before: Mapping[str, Any]) -> bool:
    """Tell whether a report is older than the one that is kept: by its number, which each computer counts for itself.

    Between two computers the times decide, unless the one that is kept was said by a clock that was ahead.
    """
    time = datetime.fromisoformat(before["time"])
    if before["host"] == data.host:
        return int(before.get("order") or microseconds(time)) >= event.order
    return event.time <= time <= datetime.now(UTC) + timedelta(minutes=1)
