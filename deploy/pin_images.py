"""Writes into .env the digests of the images of others that docker has here, so that nothing else is ever started."""

import json
import subprocess
import sys
from pathlib import Path

from datauploader_client.admin.files import read_env, render_env, write_file

IMAGES = {
    "RABBITMQ_IMAGE": "rabbitmq:4-management",
    "REDIS_IMAGE": "redis:8",
    "PYTHON_IMAGE": "python:3.13-slim",
    "CADDY_IMAGE": "caddy:2",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.0",
    "ALERTMANAGER_IMAGE": "prom/alertmanager:v0.28.1",
    "GRAFANA_IMAGE": "grafana/grafana:12.1.0",
}
"""The variables of docker-compose.yml, and what they stand for where they are empty."""
PROFILES = {
    "tls": ("CADDY_IMAGE",),
    "monitoring": ("PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE", "GRAFANA_IMAGE"),
}
"""Images that a profile alone needs."""


class Unpinned(Exception):
    """An image has no digest here; says what to do."""


def pinned(image: str) -> str:
    """Return an image's name with the digest of what is installed.

    Raises:
        Unpinned: it is not installed, or was made here and never pulled.
    """
    try:
        asked = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unpinned("there is no docker here; run this on the machine that runs the containers") from None
    if asked.returncode:
        raise Unpinned(f"{image} is not here; run: docker pull {image}")
    digests = json.loads(asked.stdout)[0].get("RepoDigests") or []
    name = image.partition(":")[0].rpartition("/")[2]
    for digest in digests:
        repository, at, value = digest.partition("@")
        if at and repository.rpartition("/")[2] == name:
            return f"{image}@{value}"
    raise Unpinned(f"{image} was made here and has no digest; run: docker pull {image}")


def main(env: Path) -> int:
    """Pin every image, or none."""
    values = read_env(env)
    if not values:
        print(f"there is no {env}; ./install writes it", file=sys.stderr)
        return 2
    try:
        profiles = values.get("COMPOSE_PROFILES", "").split(",")
        without = {name for profile, names in PROFILES.items() if profile not in profiles for name in names}
        found = {name: pinned(image) for name, image in IMAGES.items() if name not in without}
    except Unpinned as error:
        print(error, file=sys.stderr)
        return 1
    template = Path(__file__).resolve().parent.parent / ".env.example"
    write_file(env, render_env(template.read_text(encoding="utf-8"), values | found), 0o600)
    for name, image in found.items():
        print(f"{name}={image}")
    print("docker compose up -d --build starts these; run this again after the next docker compose pull")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
