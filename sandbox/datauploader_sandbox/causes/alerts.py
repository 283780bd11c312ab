"""Prometheus with the rules of the deployment, beside a facility on this machine: which alert tells of a fault."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from datauploader_testing.servers import PrometheusServer

MONITORING = Path(__file__).resolve().parents[3] / "deploy" / "monitoring"
LOOKS_BACK = frozenset(("StorageFull", "StorageRefuses", "CatalogueRefuses", "RetriesStuck"))
"""Alerts about the last quarter of an hour: they stay that long after their cause."""

Labels = frozenset[tuple[str, str]]


def configuration(places: Mapping[str, str]) -> str:
    """Write the deployment's configuration for this machine; `places` has what stands at the names of its network."""
    document = _read("prometheus/prometheus.yml")
    del document["alerting"]
    document["rule_files"] = [str(MONITORING / "prometheus" / "rules.yml")]
    asked = [job for job in document["scrape_configs"] if "dns_sd_configs" in job]
    for job in asked:
        (found,) = job.pop("dns_sd_configs")
        job["static_configs"] = [
            {"targets": [places[name]], "labels": {"__meta_dns_name": name}}
            for name in found["names"]
            if name in places
        ]
    return str(yaml.safe_dump(document | {"scrape_configs": asked}))


def held_back(cause: str) -> set[str]:
    """Return the alerts that Alertmanager does not send while this one fires."""
    found: set[str] = set()
    for rule in _read("alertmanager/none.yml")["inhibit_rules"]:
        if cause in _named(rule["source_matchers"]):
            found |= _named(rule["target_matchers"])
    return found


def _read(name: str) -> Any:
    return yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))


def _named(matchers: list[str]) -> set[str]:
    """Read the names of alerts in matchers such as `alertname=~"A|B"`."""
    return {name for matcher in matchers for name in matcher.split('"')[1].split("|")}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert whose rule holds."""

    name: str
    since: float
    """When the rule held first, in seconds since 1970."""
    firing: bool
    """It has held for as long as the rule wants."""


class Alerts:
    """Asks Prometheus for alerts."""

    def __init__(self, server: PrometheusServer) -> None:
        """Ask this one."""
        self._server = server

    def active(self) -> dict[Labels, Alert]:
        """Return the alerts whose rules hold, by their labels."""
        return {
            frozenset(alert["labels"].items()): Alert(
                name=alert["labels"]["alertname"],
                since=datetime.fromisoformat(alert["activeAt"]).timestamp(),
                firing=alert["state"] == "firing",
            )
            for alert in self._server.ask("alerts")["alerts"]
        }

    def waits(self) -> dict[str, float]:
        """Return how many seconds each rule must hold until it fires."""
        groups = self._server.ask("rules", type="alert")["groups"]
        return {rule["name"]: float(rule["duration"]) for group in groups for rule in group["rules"]}


class Told:
    """What alerts have told since a moment: since when they are pending and firing, in seconds after it."""

    def __init__(self, alerts: Alerts) -> None:
        """Begin now; what is active already tells of something else."""
        self._alerts, self._before, self._began = alerts, set(alerts.active()), time.time()
        self.pending: dict[str, float] = {}
        self.firing: dict[str, float] = {}

    def look(self) -> None:
        """Note what is active now."""
        for labels, alert in self._alerts.active().items():
            if labels not in self._before:
                self.pending.setdefault(alert.name, max(0.0, alert.since - self._began))
                if alert.firing:
                    self.firing.setdefault(alert.name, time.time() - self._began)
