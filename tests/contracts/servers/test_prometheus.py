"""The private Prometheus evaluates the rules that it is given, and tells of their alerts."""

from pathlib import Path

from datauploader_sandbox.causes.alerts import Alerts, Told
from datauploader_testing.servers import PrometheusServer
from datauploader_testing.waiting import eventually

RULES = """
groups:
  - name: ours
    rules:
      - {alert: Always, expr: vector(1)}
      - {alert: Patient, expr: vector(1), for: 10m}
      - {alert: Never, expr: vector(1) > 1}
"""


def test_it_tells_which_rules_hold_and_which_have_held_long_enough(tmp_path: Path) -> None:
    """What is active before somebody begins to look tells of something else."""
    (tmp_path / "rules.yml").write_text(RULES, encoding="utf-8")
    with PrometheusServer(f"{{global: {{evaluation_interval: 1s}}, rule_files: ['{tmp_path}/rules.yml']}}") as server:
        alerts = Alerts(server)
        eventually(lambda: len(alerts.active()) == 2, within_s=30, what="two rules hold")
        assert {alert.name: alert.firing for alert in alerts.active().values()} == {"Always": True, "Patient": False}
        assert alerts.waits() == {"Always": 0, "Patient": 600, "Never": 0}
        told = Told(alerts)
        told.look()
        assert not told.pending
