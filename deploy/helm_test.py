"""Renders the Helm chart in every form and checks each document: Kubernetes' own schemas, references, bounds.

`./dev helm-test` runs it, in an environment of its own that has Helm's engine as a library; no cluster is needed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart, HelmError
from kubernetes_validate import ValidationError, latest_version, validate

CHART = Path(__file__).parent / "helm" / "datauploader"
VERSIONS = ("1.27", latest_version())
"""The oldest Kubernetes that Chart.yaml allows, and the newest that the schemas are known of."""
SMALL = {"publicUrl": "https://upload.facility.eu"}
FULL: dict[str, Any] = SMALL | {
    "trustedProxies": ["10.42.0.0/16"],
    "caFile": "/etc/datauploader/ca.crt",
    "images": {"registry": "registry.facility.eu/", "tag": "1.2.0", "pullSecrets": [{"name": "registry"}]},
    "broker": {"certificate": "upload-tls", "serviceType": "LoadBalancer"},
    "storageClass": "fast",
    "station": {"enabled": True, "data": {"nfs": {"server": "nas", "path": "/beamline", "readOnly": True}}},
    "mover": {"replicas": 2},
    "harvesters": [
        {
            "name": name, "image": f"datauploader-{name}-harvester", "passwordKey": "BROKER_NEXUS_PASSWORD",
            "memory": "768Mi", "cpu": "100m", "size": "1Gi",
            "volumes": [{"name": "store", "nfs": {"server": "nas", "path": "/archive"}}],
            "mounts": [{"name": "store", "mountPath": "/store", "readOnly": True}],
        }
        for name in ("nexus", "thumbnails")
    ],
    "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "off"}, "certificate": "upload-tls"},
}  # fmt: skip
SERVERS = {"redis", "rabbitmq"}
SERVICES = {"catalog", "gateway"}
CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "the least": (SMALL, SERVERS | SERVICES),
    "everything": (
        FULL, SERVERS | SERVICES | {"watcher", "transfer", "mover", "nexus-harvester", "thumbnails-harvester"},
    ),
    "a broker elsewhere": (
        FULL | {"broker": {"address": "a.facility.eu:5671,b.facility.eu:5671"}, "mover": {"replicas": 0}},
        {"redis", *SERVICES, "watcher", "transfer", "nexus-harvester", "thumbnails-harvester"},
    ),
}  # fmt: skip
"""Values, and the components that they make."""
REFUSED = {
    "no address": {},
    "a second gateway": SMALL | {"gateway": {"replicas": 2}},
    "a fifth mover": SMALL | {"mover": {"replicas": 5}},
    "a station without folders": SMALL | {"station": {"enabled": True}},
    "a mistyped setting": SMALL | {"trustedProxy": ["10.0.0.1"]},
}
GIVEN = {f"datauploader-{name}" for name in ("environment", "config", "accounts", "broker", "redis")}
"""Objects that people make, beside the certificates."""


def documents(chart: Chart, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Render the chart as `helm install datauploader` would."""
    rendered = chart.render(values, name="datauploader", namespace="uploads")
    texts = (text for name, text in rendered.items() if name.endswith(".yaml"))
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def complaints(found: list[dict[str, Any]], expected: set[str]) -> Iterator[str]:
    """Say what is wrong with the documents of one rendering."""
    for document in found:
        for version in VERSIONS:
            try:
                validate(document, version, strict=True)
            except ValidationError as error:
                where = ".".join(map(str, error.path))
                yield f"{document['kind']} {document['metadata']['name']}: {where}: {error.message}"
    names = [(document["kind"], document["metadata"]["name"]) for document in found]
    yield from (f"{name} is there twice" for name in set(names) if names.count(name) > 1)
    pods = [document for document in found if document["kind"] in ("Deployment", "StatefulSet")]
    made = {pod["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}
    if made != expected:
        yield f"it has {sorted(made)} and should have {sorted(expected)}"
    there = GIVEN | {"upload-tls"} | {name for kind, name in names if kind in ("ConfigMap", "PersistentVolumeClaim")}
    for pod in pods:
        yield from (f"{pod['metadata']['name']} {said}" for said in of_pod(pod["spec"], there))
    yield from (
        f"{document['metadata']['name']} leads to no pod"
        for document in found
        if document["kind"] == "Service"
        and document["spec"]["selector"] not in [pod["spec"]["selector"]["matchLabels"] for pod in pods]
    )


def of_pod(spec: dict[str, Any], there: set[str]) -> Iterator[str]:
    """Say what a pod may that it should not, and what it refers to that is not there."""
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    own, shared = container["securityContext"], pod["securityContext"]
    if not (
        own["readOnlyRootFilesystem"]
        and own["allowPrivilegeEscalation"] is False
        and own["capabilities"] == {"drop": ["ALL"]}
        and shared["runAsNonRoot"]
        and shared["runAsUser"] > 0
        and shared["seccompProfile"] == {"type": "RuntimeDefault"}
        and container["resources"]["limits"]["memory"]
    ):
        yield "has more rights than in docker-compose.yml"
    if pod["automountServiceAccountToken"] or pod["enableServiceLinks"]:
        yield "has a token, or the addresses of services among its settings"
    if not {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container):
        yield "is not asked how it is"
    volumes = {volume["name"]: volume for volume in (*pod["volumes"], *claims(spec))}
    if {mount["name"] for mount in container["volumeMounts"]} != set(volumes):
        yield "mounts other volumes than it has"
    if "persistentVolumeClaim" in str(volumes) and (spec["replicas"], spec["strategy"]["type"]) != (1, "Recreate"):
        yield "could run twice on one state"
    yield from of_environment(container.get("env", []), there)
    for volume in volumes.values():
        for kind, key in (("configMap", "name"), ("secret", "secretName"), ("persistentVolumeClaim", "claimName")):
            if kind in volume and volume[kind][key] not in there:
                yield f"needs {volume[kind][key]}"


def of_environment(variables: list[dict[str, Any]], there: set[str]) -> Iterator[str]:
    """Say which variables need what is not there, or stands behind them."""
    known = set()
    for variable in variables:
        used = {part.split(")")[0] for part in str(variable.get("value", "")).split("$(")[1:]}
        yield from (f"uses {name} before it has it" for name in used - known)
        known.add(variable["name"])
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        if secret and secret["name"] not in there:
            yield f"needs the Secret {secret['name']}"


def claims(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Name the volumes that a set makes for its pod."""
    return [claim["metadata"] for claim in spec.get("volumeClaimTemplates", [])]


def main() -> int:
    """Check everything and say how it went."""
    wrong, chart = 0, Chart.load(CHART)
    for name, (values, expected) in CASES.items():
        found = documents(chart, values)
        said = list(complaints(found, expected))
        wrong += len(said)
        print(f"{name}: {len(found)} documents, valid for Kubernetes {' and '.join(VERSIONS)}" if not said else name)
        print("".join(f"  {one}\n" for one in said), end="")
    for name, values in REFUSED.items():
        try:
            documents(chart, values)
        except HelmError as error:
            print(f"{name}: refused, {str(error).strip().splitlines()[-1].strip(' -')}")
        else:
            wrong += 1
            print(f"{name}: was taken, and must be refused")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
