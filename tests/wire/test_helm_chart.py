"""The Helm chart and docker-compose.yml say the same: services, images, variables, bounds, files and ports.

`./dev helm-test` renders the chart; this compares what stands in its files, which needs no Helm.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "datauploader"
COMPOSE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
TEMPLATES = {path.stem: path.read_text("utf-8") for path in (CHART / "templates").glob("*.*")}
OURS = ("catalog", "gateway", "watcher", "transfer", "mover")
SERVERS = {"rabbitmq": "broker", "redis": "redis"}
"""Servers of others, and where their values stand."""
ELSEWHERE = {
    "operator": "people run the command line where they are",
    "caddy": "the cluster's ingress",
    "certificates": "Kubernetes brings renewed secrets to the pods by itself",
    "prometheus": "the cluster's own monitoring",
    "alertmanager": "the cluster's own monitoring",
    "grafana": "the cluster's own monitoring",
    "nexus-harvester": "an example in values.yaml; a facility chooses its harvesters",
    "vuo": "the sandbox is for one machine",
    "storage": "the sandbox is for one machine",
    "detector": "the sandbox is for one machine",
}
BY_VALUES = {"SSL_CERT_FILE", "DATAUPLOADER_LOG_LEVEL", "DATAUPLOADER_GATEWAY_PUBLIC_URL"} | {
    "DATAUPLOADER_GATEWAY_TRUSTED_PROXIES", "DATAUPLOADER_TRANSFER_MOVERS_ELSEWHERE",
}  # fmt: skip
"""Variables that differ from those of the same facility on one server."""
FROM = r'include "datauploader\.from" \(list \. "([A-Z_]+)" "([A-Z_]+)"( "optional")?\)'


def variables(name: str) -> dict[str, str]:
    """Read the variables of a definition of the templates, written as docker-compose.yml writes them."""
    text = "\n".join(TEMPLATES.values())
    (body,) = re.findall(rf'(?ms)^\{{\{{- define "datauploader\.{name}" -\}}\}}(.*?)^\{{\{{- end -?\}}\}}', text)
    found = {}
    if used := re.search(r'(?m)^\{\{ include "datauploader\.([a-z]+-environment)" \. \}\}$', body):
        found |= variables(used[1])
    for variable, key, optional in re.findall(FROM, body):
        found[variable] = f"${{{key}:-}}" if optional else f"${{{key}}}"
    body = re.sub(
        r'\{\{ include "datauploader.broker" \(list \. "(.+?)" "([A-Z_]+)"\) \}\}',
        r"amqp://\1:$(\2)@rabbitmq:5672/%2F",
        body,
    )
    for variable, value in re.findall(r"- name: ([A-Z_]+)\n  value: (.+)", body):
        plain = value.strip('"').replace("{{ .Release.Name }}-redis", "redis")
        found[variable] = re.sub(r"\$\(([A-Z_]+)\)", r"${\1}", plain)
    return found


def test_every_service_of_the_compose_file_is_in_the_chart_or_named_as_left_out():
    """Who adds a service there decides about it here."""
    assert set(COMPOSE) == {*OURS, *SERVERS, *ELSEWHERE}
    assert set(VALUES) >= {*OURS, *SERVERS.values()}
    made = re.findall(
        r'include "datauploader\.service" \(dict "root" \. "name" "([a-z]+)"', "".join(TEMPLATES.values())
    )
    assert sorted(made) == sorted(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_the_same_variables(name):
    """Each from the same line of .env, and needed or not needed alike."""
    helpers = {"watcher": "station"}
    mine = variables("environment") | variables(f"{helpers.get(name, name)}-environment")
    theirs = {key: re.sub(r":\?[^}]*\}", "}", str(value)) for key, value in COMPOSE[name]["environment"].items()}
    passwords = {key for key, value in mine.items() if value == f"${{{key}}}" and key not in theirs}
    assert {key: value for key, value in mine.items() if key not in BY_VALUES | passwords} == {
        key: value for key, value in theirs.items() if key not in BY_VALUES
    }
    assert BY_VALUES & set(mine) == BY_VALUES & set(theirs)


@pytest.mark.parametrize("name", [*OURS, *SERVERS])
def test_a_service_has_the_same_image_and_the_same_memory(name):
    """What was found to be enough there is enough here."""
    values, service = VALUES[SERVERS.get(name, name)], COMPOSE[name]
    image = re.sub(r"\$\{[A-Z]+_IMAGE:-([^}]+)\}", r"\1", service["image"]).replace(":${VERSION:-local}", "")
    assert values["image"] == image
    assert values["memory"] == service["mem_limit"].replace("m", "Mi").replace("g", "Gi")
    assert VALUES["images"]["tag"] == "local"
    has_state = any(":/state" in volume for volume in service["volumes"])
    assert name in SERVERS or ("size" in values) == has_state


def test_the_bounds_of_a_pod_are_those_of_a_container():
    """User, /tmp, time to stop, ports, and the health that the image is asked for."""
    helpers = TEMPLATES["_helpers"]
    assert COMPOSE["gateway"]["user"] == "10001:10001"
    assert '"user" 10001' in helpers
    for said in (
        "runAsNonRoot: true", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false",
        "capabilities: {drop: [ALL]}", "seccompProfile: {type: RuntimeDefault}",
    ):  # fmt: skip
        assert said in helpers
    assert COMPOSE["gateway"]["tmpfs"] == ["/tmp:mode=1777,size=64m"]
    assert "emptyDir: {medium: Memory, sizeLimit: 64Mi}" in helpers
    assert f"terminationGracePeriodSeconds: {COMPOSE['gateway']['stop_grace_period'].rstrip('s')}" in helpers
    assert (
        f"terminationGracePeriodSeconds: {COMPOSE['rabbitmq']['stop_grace_period'].rstrip('s')}"
        in TEMPLATES["rabbitmq"]
    )
    (port,) = re.findall(r"DATAUPLOADER_HEALTH_PORT=(\d+)", (ROOT / "deploy" / "Dockerfile").read_text("utf-8"))
    assert f"{{name: health, containerPort: {port}}}" in helpers
    assert "enableServiceLinks: false" in helpers, "the service `gateway` would set DATAUPLOADER_GATEWAY_PORT"


def test_the_servers_read_the_same_files():
    """Not copies of them, which would be forgotten."""
    for name in ("redis.conf", "rabbitmq.conf", "rabbitmq-tls.conf"):
        assert (CHART / "files" / name).resolve() == ROOT / "deploy" / name
        assert f'.Files.Get "files/{name}"' in TEMPLATES[name.split(".")[0].split("-")[0]]
    asked = COMPOSE["redis"]["healthcheck"]["test"][1:]
    assert f"command: [{', '.join(asked)}]" in TEMPLATES["redis"]
    start = COMPOSE["rabbitmq"]["entrypoint"][-1].splitlines()[-1].replace("$$", "$")
    assert f'command: [sh, -c, "{start}"]' in TEMPLATES["rabbitmq"]
    for path in (
        "rabbitmq/site",
        "rabbitmq/tls",
        "rabbitmq/conf.d/90-datauploader.conf",
        "redis/site",
    ):
        assert f"mountPath: /etc/{path}" in TEMPLATES["rabbitmq"] + TEMPLATES["redis"]


def test_the_schema_knows_every_value():
    """A value without a schema could be mistyped unseen."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))

    def known(part: dict[str, Any], values: dict[str, Any]) -> None:
        part = schema["definitions"]["service"] if "$ref" in part else part
        assert part["additionalProperties"] is False
        assert set(values) <= set(part["properties"])
        for name, value in values.items():
            if isinstance(value, dict) and value:
                known(part["properties"][name], value)

    known(schema, VALUES)


def test_the_chart_has_the_version_of_the_product():
    """`./dev version` raises it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "shared" / "core" / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]
