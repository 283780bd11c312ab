"""Rules and dashboards ask for nothing but what services and RabbitMQ really export: names, and labels of each."""

import contextlib
import json
import re
import runpy
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from datauploader.runtime import metrics
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run
from datauploader_testing.servers import RabbitServer
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
OF_PROMETHEUS = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity", "job", "station", "queue", "endpoint"},
}
"""What Prometheus makes itself; an alert has the labels of whatever fired."""
OF_SCRAPES = {"job", "instance", "le"}
"""Labels that each series may have."""
FUNCTIONS = {
    "abs", "absent", "count", "histogram_quantile", "increase", "label_values", "max", "min", "min_over_time", "rate",
    "sum", "time", "vector",
}  # fmt: skip
KEYWORDS = {"and", "or", "unless", "bool", "offset"}
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')

Exported = dict[str, set[str]]
pytestmark = pytest.mark.rabbitmq


def test_queries_name_what_is_exported(exported: Exported) -> None:
    """A name that nobody exports any more makes an alert that never fires, or an empty picture."""
    wrong = [
        f"{where}: {problem}" for where, query in queries() for problem in problems(query, exported | OF_PROMETHEUS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('sum by (job) (rate(datauploader_x_total{stage="a"}[5m])) > 0', ["nobody exports datauploader_x_total"]),
        ("sum by (color) (datauploader_files_total)", ["color is no label of datauploader_files_total"]),
        ('datauploader_files_total{color="red"}', ["color is no label of datauploader_files_total"]),
        ('datauploader_files_total{stage=~"a|b"} / 2 or vector(0)', []),
    ],
)
def test_a_wrong_query_is_found(query: str, expected: list[str]) -> None:
    """The reading of queries itself is tried: of names, matchers and groupings."""
    assert list(problems(query, {"datauploader_files_total": {"stage", "outcome"}})) == expected


def test_no_label_has_an_end_that_nobody_knows(exported: Exported) -> None:
    """No upload, path or person in a label: each would be a series that is kept."""
    ours = {name: labels for name, labels in exported.items() if name.startswith("datauploader_")}
    allowed = {
        "service", "station", "stage", "outcome", "step", "reason", "procedure", "queue", "check", "endpoint",
        "version", "commit", "python", "remote", "method", "route", "status", "event", "le",
    }  # fmt: skip
    assert {label for labels in ours.values() for label in labels} <= allowed
    assert len(ours) > 30


@pytest.mark.parametrize("name", ["facility", "station", "broker"])
def test_dashboards_are_as_their_source_says(name: str) -> None:
    """Nobody edits the large files by hand: `python deploy/monitoring/dashboards.py` writes them."""
    source = runpy.run_path(str(MONITORING / "dashboards.py"))
    path = MONITORING / "grafana" / "dashboards" / f"{name}.json"
    assert path.read_text(encoding="utf-8") == source["render"](name)


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query of the rules and the dashboards, with where it stands."""
    (group,) = yaml.safe_load((MONITORING / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        yield rule["alert"], rule["expr"]
    for path in sorted((MONITORING / "grafana" / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        for variable in dashboard["templating"]["list"]:
            yield f"{path.stem}: ${variable['name']}", variable["query"]["query"]
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def problems(query: str, exported: Exported) -> Iterator[str]:
    """Say what a query asks for that is not there."""
    grouped = {label.strip() for found in GROUPING.findall(query) for label in found.split(",") if label.strip()}
    plain = re.sub(r"\[[^\]]*\]", " ", GROUPING.sub(" ", query))
    named: set[str] = set()
    for name, matchers in SELECTOR.findall(plain):
        found = {label: value for label, _, value in MATCHER.findall(matchers)}
        names = found.pop("__name__", "").split("|") if "__name__" in found else [name]
        for one in names:
            if not one or one in FUNCTIONS | KEYWORDS or (one == "station" and "label_values" in query):
                continue
            if one not in exported:
                yield f"nobody exports {one}"
                continue
            named.add(one)
            yield from (f"{label} is no label of {one}" for label in sorted(set(found) - exported[one] - OF_SCRAPES))
    for label in sorted(grouped - OF_SCRAPES):
        if named and not any(label in exported[one] for one in named):
            yield f"{label} is no label of {', '.join(sorted(named))}"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, rabbitmq_server: RabbitServer) -> Exported:
    """Run all services, bring a file through them, and read what they export; and RabbitMQ's from its own port."""
    folder = tmp_path_factory.mktemp("monitored")
    with Facility(folder=folder / "facility", broker="memory") as facility:
        run = Run(facility, folder / "ledger.jsonl")
        (facility.watched / "one.dat").write_bytes(b"one")
        run.completed(run.request(mode="batch"))
        metrics.PROCESS.certificates.add("none", "https://localhost:1/")
        found = ours()
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq_server.address.url))) as connection:
        connection.channel().queue_declare("monitored", exclusive=True)
        return found | eventually(
            lambda: of_rabbitmq(rabbitmq_server.address.prometheus_port), what="its queue is told"
        )


def of_rabbitmq(port: int) -> Exported | None:
    """Read what RabbitMQ exports; None while it does not tell of a queue yet."""
    found: Exported = {}
    for path in ("/metrics", "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
            for family in text_string_to_metric_families(page.read().decode()):
                for sample in family.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
    return found if "rabbitmq_detailed_queue_consumers" in found else None


def ours() -> Exported:
    """Read what this process exports, the labels of what has no series yet as well."""
    found: Exported = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        if labels := getattr(metric, "_labelnames", ()):
            found.setdefault(metric.name, set()).update(labels)
    for collector in list(REGISTRY._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(collector._type, ("",))
            for suffix in suffixes:
                found.setdefault(f"{collector._name}{suffix}", set()).update(collector._labelnames)
    return found
