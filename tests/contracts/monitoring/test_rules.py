"""Every alert fires when its cause is there and not without it; Prometheus and Alertmanager take our files."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from datauploader_sandbox.causes.alerts import configuration, held_back
from datauploader_testing.servers.programs import find_program

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "prometheus" / "rules.yml"
AT = "20m"
DAY = 86400
UP = {"up{job='catalog'}": 1, "up{job='gateway'}": 1, "up{job='rabbitmq'}": 1}
"""What runs in every case but where that is the cause."""
HERE = "station='elettra.xrd1.ws01'"
SPEAKS = {f"datauploader_station_silent{{{HERE}}}": 0}
NEXUS = "elettra.harvester.nexus"
QUEUE = "rabbitmq_detailed_queue_"
MEMORY_ALARM, DISK_ALARM = "rabbitmq_alarms_memory_used_watermark", "rabbitmq_alarms_free_disk_space_watermark"

Series = dict[str, Any]
CASES: dict[str, tuple[Series, Series, dict[str, str]]] = {
    "ServiceDown": ({"up{job='catalog'}": "_"}, {}, {"job": "catalog"}),
    "ServiceStumbles": (
        {"datauploader_check_ok{job='catalog',check='threads'}": 0},
        {"datauploader_check_ok{job='catalog',check='threads'}": 1},
        {"job": "catalog", "check": "threads"},
    ),
    "BrokerDown": ({"up{job='rabbitmq'}": 0}, {}, {"job": "rabbitmq"}),
    "BrokerUnreachable": (
        {"datauploader_check_ok{job='catalog',service='catalog',check='broker'}": 0},
        {"datauploader_check_ok{job='catalog',service='catalog',check='broker'}": 1},
        {"job": "catalog", "service": "catalog"},
    ),
    "BrokerBlocksPublishers": (
        {f"{MEMORY_ALARM}{{instance='r'}}": 0, f"{DISK_ALARM}{{instance='r'}}": 1},
        {f"{MEMORY_ALARM}{{instance='r'}}": 0, f"{DISK_ALARM}{{instance='r'}}": 0},
        {"instance": "r"},
    ),
    "BrokerDiskLow": (
        {"rabbitmq_disk_space_available_bytes": 15, "rabbitmq_disk_space_available_limit_bytes": 10},
        {"rabbitmq_disk_space_available_bytes": 21, "rabbitmq_disk_space_available_limit_bytes": 10},
        {},
    ),
    "RedisAway": ({"datauploader_gateway_redis_up": 0}, {"datauploader_gateway_redis_up": 1}, {}),
    "StatusNotWhole": (
        {"datauploader_check_ok{service='gateway',check='view'}": 0},
        {"datauploader_check_ok{service='gateway',check='view'}": 1},
        {"service": "gateway", "check": "view"},
    ),
    "CatalogueAway": (
        {"datauploader_catalogue_request_duration_seconds_count{job='catalog',outcome='unavailable'}": "0+1x20"},
        {
            "datauploader_check_ok{service='catalog',check='catalogue'}": 1,
            "datauploader_catalogue_request_duration_seconds_count{job='catalog',outcome='unavailable'}": "0+1x20",
            "datauploader_catalogue_request_duration_seconds_count{job='catalog',outcome='ok'}": "0+9x20",
        },
        {"job": "catalog"},
    ),
    "CatalogueRefuses": (
        {"datauploader_files_total{stage='catalogued',outcome='refused'}": "0x12 1x8"},
        {"datauploader_files_total{stage='catalogued',outcome='ok'}": "0+5x20"},
        {"stage": "catalogued", "outcome": "refused"},
    ),
    "StorageAway": (
        {f"datauploader_station_storage_ok{{{HERE},remote='archive'}}": 0},
        {
            f"datauploader_station_storage_ok{{{HERE},remote='archive'}}": 1,
            "datauploader_check_ok{service='transfer',check='outbox'}": 0,
        },
        {"station": "elettra.xrd1.ws01", "remote": "archive"},
    ),
    "StorageFull": (
        {"datauploader_rclone_errors_total{reason='storage-full'}": "0x12 3x8"},
        {"datauploader_rclone_errors_total{reason='storage-full'}": 3},
        {"reason": "storage-full"},
    ),
    "StorageRefuses": (
        {"datauploader_rclone_errors_total{reason='refused'}": "0x12 3x8"},
        {"datauploader_rclone_errors_total{reason='source-changed'}": "0x12 3x8"},
        {"reason": "refused"},
    ),
    "StationSilent": (
        {f"datauploader_station_silent{{{HERE}}}": 1},
        {**SPEAKS, f"datauploader_station_silent{{station='{NEXUS}'}}": 1},
        {"station": "elettra.xrd1.ws01"},
    ),
    "StationServiceSilent": (
        {**SPEAKS, f"datauploader_station_service_silent{{{HERE},service='transfer'}}": 1},
        {
            f"datauploader_station_silent{{{HERE}}}": 1,
            f"datauploader_station_service_silent{{{HERE},service='transfer'}}": 1,
            "datauploader_station_silent{station='elettra.xrd2.ws01'}": 0,
            "datauploader_station_service_silent{station='elettra.xrd2.ws01',service='catalog'}": 1,
        },
        {"station": "elettra.xrd1.ws01", "service": "transfer"},
    ),
    "HarvesterStopped": (
        {QUEUE + "consumers{queue='harvester.nexus'}": 0},
        {QUEUE + "consumers{queue='harvester.nexus'}": 1, QUEUE + "consumers{queue='harvester.nexus.parked'}": 0},
        {"queue": "harvester.nexus"},
    ),
    "StationTroubled": (
        {**SPEAKS, f"datauploader_station_troubles{{{HERE},service='transfer'}}": 2},
        {f"datauploader_station_silent{{{HERE}}}": 1, f"datauploader_station_troubles{{{HERE},service='transfer'}}": 2},
        {"station": "elettra.xrd1.ws01", "service": "transfer"},
    ),
    "FolderMissing": (
        {f"datauploader_station_missing_folders{{{HERE}}}": 1},
        {f"datauploader_station_missing_folders{{{HERE}}}": 0},
        {"station": "elettra.xrd1.ws01"},
    ),
    "DiskLow": (
        {f"datauploader_station_disk_free_ratio{{{HERE},service='watcher'}}": 0.04},
        {f"datauploader_station_disk_free_ratio{{{HERE},service='watcher'}}": 0.06},
        {"station": "elettra.xrd1.ws01", "service": "watcher"},
    ),
    "FilesWait": (
        {f"datauploader_station_oldest_pending_seconds{{{HERE}}}": 1801},
        {f"datauploader_station_oldest_pending_seconds{{{HERE}}}": 1799},
        {"station": "elettra.xrd1.ws01"},
    ),
    "ClockOff": (
        {**SPEAKS, f"datauploader_station_clock_offset_seconds{{{HERE}}}": -31},
        {**SPEAKS, f"datauploader_station_clock_offset_seconds{{{HERE}}}": 29},
        {"station": "elettra.xrd1.ws01"},
    ),
    "MessagesParked": (
        {QUEUE + "messages{queue='catalog.work.parked'}": 1},
        {QUEUE + "messages{queue='catalog.work.parked'}": 0, QUEUE + "messages{queue='catalog.work'}": 9},
        {"queue": "catalog.work.parked"},
    ),
    "QueueWithoutConsumer": (
        {QUEUE + "consumers{queue='catalog.work'}": 0},
        {QUEUE + "consumers{queue='catalog.work'}": 1, QUEUE + "consumers{queue='catalog.work.claim'}": 0},
        {"queue": "catalog.work"},
    ),
    "QueueGrows": (
        {QUEUE + "messages_ready{queue='gateway.view'}": 1001},
        {QUEUE + "messages_ready{queue='gateway.view'}": "2000x10 10x9"},
        {"queue": "gateway.view"},
    ),
    "RetriesStuck": (
        {QUEUE + "messages{queue='datauploader.again.1s'}": 1},
        {QUEUE + "messages{queue='datauploader.again.1s'}": "1x17 0 1x2"},
        {"queue": "datauploader.again.1s"},
    ),
    "OutboxOld": (
        {"datauploader_outbox_oldest_seconds{service='catalog'}": 301},
        {"datauploader_outbox_oldest_seconds{service='catalog'}": 299},
        {"service": "catalog"},
    ),
    "CertificateExpires": (
        {"datauploader_certificate_expiry_timestamp_seconds{endpoint='broker'}": 13 * DAY},
        {"datauploader_certificate_expiry_timestamp_seconds{endpoint='broker'}": 15 * DAY},
        {"endpoint": "broker"},
    ),
    "CertificateInvalid": (
        {"datauploader_certificate_valid{endpoint='broker'}": 0},
        {"datauploader_certificate_valid{endpoint='broker'}": 1},
        {"endpoint": "broker"},
    ),
}
"""Of each alert: series with which it fires, series with which it does not, and the labels that it then has."""


def alerts() -> dict[str, dict[str, Any]]:
    """Read the rules by their names."""
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def run(program: str, *arguments: object, cwd: Path = ROOT) -> None:
    """Run a checker of Prometheus' or Alertmanager's own; what it says is the message."""
    package = "prometheus-alertmanager" if program == "amtool" else "prometheus"
    command = [find_program(program, install=f"apt-get install {package}"), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_fires_and_is_silent(tmp_path: Path) -> None:
    """An alert that cannot fire is worse than none: everybody counts on it."""
    known = alerts()
    assert set(CASES) == set(known), "each alert needs a case here, and each case an alert"
    tests = []
    for name, (cause, well, labels) in CASES.items():
        fired = {"exp_labels": {"severity": known[name]["labels"]["severity"], **labels}}
        fired["exp_annotations"] = {key: filled(text, labels) for key, text in known[name]["annotations"].items()}
        tests += [case(name, cause, [fired]), case(name, well, [])]
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    run("promtool", "test", "rules", tmp_path / "tests.yml")


def case(name: str, series: Series, expected: list[dict[str, Any]]) -> dict[str, Any]:
    """Write one case as promtool wants it; a number stands for a series that stays so."""
    values = {key: f"{value}x20" if isinstance(value, int | float) else value for key, value in (UP | series).items()}
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in values.items()],
        "alert_rule_test": [{"eval_time": AT, "alertname": name, "exp_alerts": expected}],
    }


def filled(text: str, labels: dict[str, str]) -> str:
    """Put labels into a template."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """As Prometheus' own checker reads it; the rules are looked for where the container has them."""
    text = (MONITORING / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/", f"{MONITORING}/prometheus/"))
    run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_prometheus_beside_a_facility_of_one_machine_has_the_same_rules(tmp_path: Path) -> None:
    """`./dev causes` tries the deployment's own rules: its configuration differs in where things are alone."""
    names = ("catalog", "gateway", "watcher", "transfer", "nexus-harvester", "rabbitmq")
    text = configuration({name: f"127.0.0.1:{port}" for port, name in enumerate(names, 9464)})
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert str(RULES) in text
    assert all(name in text for name in names)
    assert "QueueWithoutConsumer" in held_back("ServiceDown")


@pytest.mark.parametrize("name", ["none", "mail", "webhook"])
def test_alertmanager_takes_its_configuration(name: str) -> None:
    """As Alertmanager's own checker reads it."""
    run("amtool", "check-config", MONITORING / "alertmanager" / f"{name}.yml")


def test_what_follows_from_a_cause_is_held_back() -> None:
    """One cause is one message: the same inhibitions stand in each configuration, and name alerts that there are."""
    found = [
        yaml.safe_load((MONITORING / "alertmanager" / f"{name}.yml").read_text(encoding="utf-8"))["inhibit_rules"]
        for name in ("none", "mail", "webhook")
    ]
    assert found[0] == found[1] == found[2]
    named = {word for text in re.findall(r"alertname=~?\"([^\"]+)\"", str(found[0])) for word in text.split("|")}
    assert "BrokerDown" in named
    assert named <= set(alerts())


def test_every_alert_is_in_the_manual() -> None:
    """The link of an alert leads to its own words."""
    manual = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_url"].endswith(f"/monitoring#{name.lower()}")
        summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"`\1`", rule["annotations"]["summary"])
        assert f'| <a id="{name.lower()}"></a>`{name}` | {rule.get("for", "at once")} | {summary} |' in manual, name
