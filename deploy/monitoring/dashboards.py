"""Writes Grafana's dashboards: `python deploy/monitoring/dashboards.py`. What each shows stands here, short."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
ALL, HALF, THIRD, QUARTER = 24, 12, 8, 6
_RATE = "[$__rate_interval]"
_CALLS = "datauploader_catalogue_request_duration_seconds"
_LIMIT = "rabbitmq_disk_space_available_limit_bytes"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: its queries, each with what its lines are called."""

    title: str
    queries: dict[str, str]
    """By what a line is called, such as `{{station}}`."""
    unit: str = "short"
    width: int = THIRD
    kind: str = "timeseries"
    red_from: float | None = None
    """A single value is red from here on."""

    def render(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Write it as Grafana reads it."""
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.red_from is not None:
            steps.append({"color": "red", "value": self.red_from})
        table = self.kind == "table"
        targets = [
            {"refId": chr(65 + n), "expr": query, "legendFormat": name, "instant": self.kind != "timeseries"}
            | ({"format": "table"} if table else {})
            for n, (name, query) in enumerate(self.queries.items())
        ]
        return {
            "id": number,
            "title": self.title,
            "type": self.kind,
            "datasource": {"type": "prometheus", "uid": "prometheus"},
            "gridPos": {"x": x, "y": y, "w": self.width, "h": 4 if self.kind == "stat" else 8},
            "targets": targets,
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
                "overrides": [],
            },
        }


def stat(title: str, query: str, *, red_from: float | None = 1, unit: str = "short") -> Panel:
    """Show one number, which is red from somewhere on."""
    return Panel(title, {title: query}, unit, QUARTER, "stat", red_from)


def quantiles(title: str, histogram: str, by: str, *, where: str = "", width: int = THIRD) -> Panel:
    """Show within which time half and 95 % were done."""
    summed = f"sum by (le, {by}) (rate({histogram}_bucket{where}{_RATE}))"
    queries = {
        f"{word} {{{{{by}}}}}": f"histogram_quantile({part}, {summed})"
        for word, part in (("half", 0.5), ("95 %", 0.95))
    }
    return Panel(title, queries, "s", width)


SHOWN = 'ALERTS{alertstate="firing"}'
FACILITY = (
    stat("Alerts", f"count({SHOWN}) or vector(0)"),
    stat("Silent stations", "sum(datauploader_station_silent)"),
    stat("Parked messages", 'sum(rabbitmq_detailed_queue_messages{queue=~".+[.]parked"})'),
    stat(
        "Days until a certificate ends",
        "min(datauploader_certificate_expiry_timestamp_seconds - time()) / 86400",
        red_from=None,
    ),
    Panel(
        "What is wrong",
        {"": f"max by (alertname, severity, job, station, queue, endpoint) ({SHOWN})"},
        width=ALL,
        kind="table",
    ),
    Panel("Files", {"{{stage}}": f"sum by (stage) (rate(datauploader_station_files_total{_RATE}))"}, "cps"),
    Panel(
        "Bytes stored",
        {"{{station}}": f'sum by (station) (rate(datauploader_station_bytes_total{{stage="stored"}}{_RATE}))'},
        "Bps",
    ),
    Panel("Files that wait", {"{{station}}": "max by (station) (datauploader_station_backlog_files)"}),
    quantiles("Time of each step", "datauploader_station_stage_duration_seconds", "stage"),
    Panel(
        "Oldest file without a receipt",
        {"{{station}}": "max by (station) (datauploader_station_oldest_pending_seconds)"},
        "s",
    ),
    Panel(
        "Attempts that failed",
        {"{{reason}}": f"sum by (reason) (rate(datauploader_rclone_errors_total{_RATE}))"},
        "cps",
    ),
    Panel("Calls to the catalogue", {"{{outcome}}": f"sum by (outcome) (rate({_CALLS}_count{_RATE}))"}, "cps"),
    quantiles("Time of a call to the catalogue", _CALLS, "procedure"),
    Panel("Not yet at the broker", {"{{service}}": "max by (service) (datauploader_outbox_messages)"}),
    Panel(
        "Messages handled",
        {"{{queue}} {{outcome}}": f"sum by (queue, outcome) (rate(datauploader_consumer_messages_total{_RATE}))"},
        "cps",
    ),
    quantiles("Time of a handler", "datauploader_consumer_handler_duration_seconds", "queue"),
    quantiles("Time of a batch", "datauploader_transfer_batch_duration_seconds", "step"),
    Panel(
        "Requests of people",
        {"{{status}}": f"sum by (status) (rate(datauploader_gateway_requests_total{_RATE}))"},
        "reqps",
    ),
    quantiles("Time of an answer", "datauploader_gateway_request_duration_seconds", "route"),
    Panel("Open pages that are updated live", {"streams": "sum(datauploader_gateway_streams)"}),
    Panel("What does not hold", {"{{service}} {{check}}": "datauploader_check_ok == 0"}, width=HALF),
    Panel("Releases", {"{{job}} {{version}} {{commit}}": "datauploader_build_info"}, width=HALF, kind="table"),
)

_OF = '{station=~"$station"}'
STATION = (
    stat("Silent", f"max(datauploader_station_silent{_OF})"),
    stat(
        "Seconds since the last report",
        f"time() - max(datauploader_station_last_report_timestamp_seconds{_OF})",
        red_from=60,
        unit="s",
    ),
    stat("Troubles", f"sum(datauploader_station_troubles{_OF})"),
    stat("Clock off by", f"max(abs(datauploader_station_clock_offset_seconds{_OF}))", red_from=30, unit="s"),
    Panel("Files", {"{{stage}}": f"sum by (stage) (rate(datauploader_station_files_total{_OF}{_RATE}))"}, "cps"),
    Panel("Bytes", {"{{stage}}": f"sum by (stage) (rate(datauploader_station_bytes_total{_OF}{_RATE}))"}, "Bps"),
    quantiles("Time of each step", "datauploader_station_stage_duration_seconds", "stage", where=_OF),
    Panel("Files that wait", {"{{service}}": f"datauploader_station_backlog_files{_OF}"}),
    Panel("Bytes that wait", {"{{service}}": f"datauploader_station_backlog_bytes{_OF}"}, "bytes"),
    Panel("Oldest file without a receipt", {"{{service}}": f"datauploader_station_oldest_pending_seconds{_OF}"}, "s"),
    Panel("Open uploads", {"{{service}}": f"datauploader_station_uploads_open{_OF}"}),
    Panel(
        "Free part of the fullest disk", {"{{service}}": f"datauploader_station_disk_free_ratio{_OF}"}, "percentunit"
    ),
    Panel("Folders that are missing", {"{{service}}": f"datauploader_station_missing_folders{_OF}"}),
    Panel(
        "Its queues",
        {"{{queue}}": 'rabbitmq_detailed_queue_messages{queue=~"(watcher|transfer)[.]$station"}'},
        width=HALF,
    ),
    Panel("Releases", {"": f"datauploader_station_info{_OF}"}, width=HALF, kind="table"),
)

BROKER = (
    stat("Low on memory", "max(rabbitmq_alarms_memory_used_watermark)"),
    stat("Low on disk", "max(rabbitmq_alarms_free_disk_space_watermark)"),
    stat("Parked messages", 'sum(rabbitmq_detailed_queue_messages{queue=~".+[.]parked"})'),
    stat(
        "Queues of ours without a consumer",
        "count(max by (queue) (rabbitmq_detailed_queue_consumers{"
        'queue=~"catalog[.]work|gateway[.]view|harvester[.][^.]+"}) == 0) or vector(0)',
    ),
    Panel(
        "Messages that wait", {"{{queue}}": "max by (queue) (rabbitmq_detailed_queue_messages_ready) > 0"}, width=HALF
    ),
    Panel(
        "Messages that are being handled",
        {"{{queue}}": "max by (queue) (rabbitmq_detailed_queue_messages_unacked) > 0"},
        width=HALF,
    ),
    Panel(
        "Messages that wait for their next try",
        {"{{queue}}": 'max by (queue) (rabbitmq_detailed_queue_messages{queue=~"datauploader[.]again[.].+"})'},
    ),
    Panel("Consumers", {"{{queue}}": "max by (queue) (rabbitmq_detailed_queue_consumers)"}),
    Panel("Handled", {"{{outcome}}": f"sum by (outcome) (rate(datauploader_consumer_messages_total{_RATE}))"}, "cps"),
    Panel("Disk", {"free": "min(rabbitmq_disk_space_available_bytes)", "limit": f"max({_LIMIT})"}, "bytes"),
    Panel(
        "Memory",
        {"used": "sum(rabbitmq_process_resident_memory_bytes)", "limit": "sum(rabbitmq_resident_memory_limit_bytes)"},
        "bytes",
    ),
    Panel(
        "Connections and channels", {"connections": "sum(rabbitmq_connections)", "channels": "sum(rabbitmq_channels)"}
    ),
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "facility": ("Facility", FACILITY), "station": ("Station", STATION), "broker": ("Broker", BROKER),
}  # fmt: skip


def render(name: str) -> str:
    """Write one dashboard as Grafana reads it: panels from left to right, then downwards."""
    title, panels = DASHBOARDS[name]
    x = y = height = 0
    placed = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > ALL:
            x, y, height = 0, y + height, 0
        placed.append(panel.render(number, x, y))
        x, height = x + panel.width, max(height, placed[-1]["gridPos"]["h"])
    station = {
        "name": "station", "label": "Station", "type": "query", "refresh": 2, "multi": False, "includeAll": False,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "query": {"query": "label_values(datauploader_station_silent, station)", "refId": "station"},
    }  # fmt: skip
    dashboard = {
        "uid": f"datauploader-{name}", "title": title, "tags": ["datauploader"], "schemaVersion": 39, "editable": False,
        "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "templating": {"list": [station] if name == "station" else []}, "panels": placed,
        "links": [{"type": "dashboards", "tags": ["datauploader"], "title": "DataUploader", "asDropdown": False}],
    }  # fmt: skip
    return json.dumps(dashboard, indent=1) + "\n"


if __name__ == "__main__":
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard}.json").write_text(render(dashboard), encoding="utf-8")
