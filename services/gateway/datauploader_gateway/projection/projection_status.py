"""The status of the view, a projection: what is wrong with it, and since when it has stood still."""

from datetime import UTC, datetime

READING = "the status is being rebuilt from the event log"


class ProjectionStatus:
    """The projection's status: set by the event consumer, shown by pages and health."""

    def __init__(self) -> None:
        """Begin as a view that nobody has looked at yet."""
        self.trouble = READING
        """A sentence while Redis is away or full, or the view is not whole, or nobody has looked yet."""
        self.since: datetime | None = datetime.now(UTC)
        """When that began."""

    def set_problem(self, trouble: str) -> None:
        """Say what is wrong now, "" when nothing is."""
        self.trouble = trouble
        self.since = (self.since or datetime.now(UTC)) if trouble else None

    @property
    def age(self) -> str:
        """How old what the view shows may be, in words."""
        return ago(max(0.0, (datetime.now(UTC) - self.since).total_seconds())) if self.since else ""


def ago(seconds: float) -> str:
    """Write a time span as people say it, with its largest unit alone."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if number != 1 else ''}"
    return f"{int(seconds)} s"
