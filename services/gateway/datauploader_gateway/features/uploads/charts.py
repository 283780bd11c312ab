"""Charts of throughput: drawn here as SVG, with the same in words and in a table."""

from dataclasses import dataclass
from datetime import UTC, datetime

from datauploader_gateway.projection.flow import Flow

WIDTH, HEIGHT = 600, 120
_ROWS = 24
"""Rows of the table."""


@dataclass(frozen=True, slots=True)
class ChartRow:
    """A row of a chart: some steps taken together."""

    begin: datetime
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A series as a picture and as rows of a table; speeds are bytes per second."""

    area: str
    """The path of the filled shape, in a box of `WIDTH` by `HEIGHT`."""
    peak: float
    mean: float
    """Of the steps in which something moved."""
    begin: datetime
    end: datetime
    step_s: int
    rows: tuple[ChartRow, ...]
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(flow: Flow) -> Chart | None:
    """Draw a series; None where nothing has moved."""
    peak = max(flow.amounts, default=0)
    if not peak:
        return None
    step = WIDTH / len(flow.amounts)
    area = [f"M0 {HEIGHT}"]
    for number, amount in enumerate(flow.amounts):
        y = f"{HEIGHT - amount / peak * (HEIGHT - 2):.1f}"
        area.append(f"L{number * step:.1f} {y} L{(number + 1) * step:.1f} {y}")
    rows = []
    each = -(-len(flow.amounts) // _ROWS)
    for start in range(0, len(flow.amounts), each):
        some = flow.amounts[start : start + each]
        rows.append(ChartRow(_time(flow, start), sum(some) / len(some) / flow.width_s))
    busy = [amount for amount in flow.amounts if amount]
    return Chart(
        area=" ".join([*area, f"L{WIDTH} {HEIGHT} Z"]),
        peak=peak / flow.width_s,
        mean=sum(busy) / len(busy) / flow.width_s,
        begin=_time(flow, 0),
        end=_time(flow, len(flow.amounts)),
        step_s=flow.width_s,
        rows=tuple(rows),
    )


def _time(flow: Flow, number: int) -> datetime:
    return datetime.fromtimestamp((flow.first + number) * flow.width_s, UTC)
