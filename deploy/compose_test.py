"""Brings the compose file up as a facility in a box, uploads through it, compares every byte, takes it all down."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from image_secrets import leaked, secrets_of

ROOT = Path(__file__).resolve().parent.parent
SESSION = "sandbox-session-anna"
INVESTIGATION = "20260101"
DATASET = "compose test"
BUILD_S, UP_S, UPLOAD_S, DOWN_S = 900.0, 240.0, 300.0, 120.0
LOG_LINES = 40
HASHES = """
import hashlib, json, os, sys
found = {}
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            found[os.path.relpath(path, sys.argv[1])] = hashlib.file_digest(file, "sha256").hexdigest()
print(json.dumps(found))
"""


class Failed(Exception):
    """Something was not as it must be; the message says what."""


class Compose:
    """The compose file under a project name, settings and secrets of its own."""

    def __init__(self, folder: Path) -> None:
        """Write fresh secrets into this folder; ports are whatever is free on loopback."""
        self.project = f"datauploader-test-{os.getpid()}"
        self._env = folder / "env"
        ports = ("AMQP_PORT", "AMQPS_PORT", "MANAGEMENT_PORT", "GATEWAY_PORT", "VUO_PORT")
        own = {"SITE_DIR": str(folder / "site"), "FRONT_SUBNET": f"172.31.{os.getpid() % 250}.0/24"}
        lines = [f"{name}=0\n" for name in ports] + [f"{name}={value}\n" for name, value in own.items()]
        self._env.write_text("".join(lines), encoding="utf-8")
        make = [str(Path(sys.executable).with_name("datauploader")), "admin", "--folder", str(ROOT)]
        _run([*make, "--env", str(self._env), "install", "--sandbox"], 60)

    def __call__(self, *arguments: str, within_s: float = 60.0) -> str:
        """Run one command of Compose and return what it printed.

        Raises:
            Failed: it ended with an error or not in time.
        """
        return _run(self.command(*arguments), within_s)

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        own = [
            "--ansi",
            "never",
            "--progress",
            "quiet",
            "--project-name",
            self.project,
            "--env-file",
            str(self._env),
            "--profile",
            "sandbox",
        ]
        return ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), *own, *arguments]

    def url(self, service: str, port: int) -> str:
        """Tell where a service's port is published."""
        return f"http://{self('port', service, str(port)).strip()}"

    def hashes(self, service: str, folder: str) -> dict[str, str]:
        """Hash every file below a folder of a running container."""
        found: dict[str, str] = json.loads(self("exec", "-T", service, "python", "-c", HASHES, folder))
        return found

    def troubled(self) -> list[str]:
        """Name the services whose containers do not run, restarted, or are not healthy."""
        rows = [json.loads(line) for line in self("ps", "--all", "--format", "json").splitlines() if line.strip()]
        return [
            row["Service"] for row in rows if row["State"] != "running" or row.get("Health", "") not in ("", "healthy")
        ]

    def images(self) -> list[str]:
        """Name the images that are built here."""
        services: dict[str, dict[str, Any]] = json.loads(self("config", "--format", "json"))["services"]
        built = {name: service for name, service in services.items() if "build" in service}
        return sorted({str(service.get("image") or f"{self.project}-{name}") for name, service in built.items()})

    def leaks(self) -> dict[str, list[str]]:
        """Look for this test's secrets, and for those of a deployment in this folder, in every image that is built."""
        secrets = secrets_of(ROOT / ".env") | secrets_of(self._env)
        found = {}
        for image in self.images():
            with subprocess.Popen(["docker", "image", "save", image], stdout=subprocess.PIPE) as saved:
                assert saved.stdout is not None
                found[image] = sorted(leaked(saved.stdout, secrets))
                saved.stdout.read()
            if saved.returncode:
                raise Failed(f"`docker image save {image}` ended with {saved.returncode}")
        return found


def _run(command: list[str], within_s: float) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, env=environment, check=True)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{' '.join(command[-4:])}` was not done within {within_s:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise Failed(f"`{' '.join(command[-4:])}` ended with {error.returncode}:\n{error.stderr[-4000:]}") from None
    return done.stdout


def ask(url: str, body: Mapping[str, Any] | None = None, *, token: str = "", method: str = "") -> dict[str, Any]:
    """Send a request and return the JSON of its answer; errors show the server's own words."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, method=method or ("POST" if body is not None else "GET"))
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise Failed(f"{url} answered {error.code}: {error.read()[:2000].decode(errors='replace')}") from None
    except OSError as error:
        raise Failed(f"{url} does not answer: {error}") from None
    return found


def wait(what: str, within_s: float, look: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + within_s
    while not look():
        if time.monotonic() > end:
            raise Failed(f"{what} did not happen within {within_s:.0f} s")
        time.sleep(0.5)


def upload(compose: Compose, gateway: str, token: str) -> dict[str, Any]:
    """Let the detector write while its folder is uploaded; return the upload when its dataset is complete."""

    def reported() -> bool:
        return "watcher" in json.dumps(ask(f"{gateway}/api/v1/stations", token=token))

    wait("a report of the station's watcher", 60, reported)
    wanted = {
        "investigation": INVESTIGATION, "dataset": {"name": DATASET}, "station": "sandbox.xrd1.ws01", "path": "/data",
        "mode": "sync", "quiet_period_s": 1.0,
    }  # fmt: skip
    state = ask(f"{gateway}/api/v1/uploads", wanted, token=token)
    here = f"{gateway}/api/v1/uploads/{state['id']}"
    compose("run", "--rm", "-T", "detector", within_s=180)
    ask(f"{here}/close", token=token, method="POST")

    def over() -> bool:
        state.update(ask(here, token=token))
        if state["needs_person"]:
            raise Failed(f"the upload stands still: {json.dumps(state)}")
        return bool(state["over"])

    try:
        wait("the end of the upload", UPLOAD_S, over)
    except Failed as failure:
        raise Failed(f"{failure}: {json.dumps(state)}") from None
    return state


def check(compose: Compose, state: Mapping[str, Any]) -> dict[str, Any]:
    """Compare source, storage and catalogue; return the figures."""
    source = compose.hashes("watcher", "/data")
    stored = compose.hashes("storage", f"/store/archive/{state['location']}")
    if not source or stored != source:
        names = sorted(name for name in source.keys() | stored.keys() if source.get(name) != stored.get(name))
        raise Failed(f"source ({len(source)} files) and storage ({len(stored)}) differ: {names[:10]}")
    known = ask(f"{compose.url('vuo', 8000)}/_double/state")
    datasets = [one for one in known["datasets"] if one["name"] == DATASET]
    if len(datasets) != 1 or not datasets[0]["complete"]:
        raise Failed(f"the catalogue has not one complete dataset {DATASET!r}: {json.dumps(known['datasets'])[:2000]}")
    catalogued = len(datasets[0]["datafiles"])
    if catalogued != len(source):
        raise Failed(f"{len(source)} files were written and {catalogued} datafiles catalogued")
    if state["state"] != "completed" or state["counts"]["verified"]["files"] != len(source):
        raise Failed(f"the gateway tells another story: {json.dumps(state)}")
    counts = state["counts"]
    return {
        "files": len(source),
        "bytes": counts["found"]["bytes"],
        "verified": counts["verified"]["files"],
        "catalogued": catalogued,
    }


@contextlib.contextmanager
def running(compose: Compose) -> Iterator[None]:
    """Bring everything up; take everything down in any case, after showing the logs of what failed."""
    try:
        compose("up", "--detach", "--wait", "--wait-timeout", str(round(UP_S)), within_s=UP_S + 30)
        yield
    except BaseException:
        with contextlib.suppress(Failed):
            for service in compose.troubled() or ("gateway", "watcher", "transfer", "catalog"):
                sys.stderr.write(compose("logs", "--no-color", "--tail", str(LOG_LINES), service))
        raise
    finally:
        compose("down", "--volumes", "--remove-orphans", "--timeout", "15", within_s=DOWN_S)


def test(options: argparse.Namespace) -> dict[str, Any]:
    """Do all of it and return the figures."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="datauploader-compose-") as folder:
        compose = Compose(Path(folder))
        if not options.no_build:
            compose("--profile", "detector", "build", "--quiet", within_s=BUILD_S)
        built = time.monotonic()
        with running(compose):
            up = time.monotonic()
            gateway = compose.url("gateway", 8080)
            signed_in = ask(
                f"{gateway}/api/v1/tokens", {"method": "vuo", "vuo_session": SESSION, "name": "compose-test"}
            )
            state = upload(compose, gateway, signed_in["token"])
            figures = check(compose, state)
            if restless := compose.troubled():
                raise Failed(f"the upload went through, but these are not well: {', '.join(restless)}")
            done = time.monotonic()
            leaks = compose.leaks()
            if any(leaks.values()):
                raise Failed(f"secrets stand in the layers of images: {leaks}")
    figures["images_without_secrets"] = len(leaks)
    seconds = {"build": built - began, "up": up - built, "upload": done - up, "all": time.monotonic() - began}
    return {"ok": True, **figures, "seconds": {name: round(value, 1) for name, value in seconds.items()}}


def main() -> int:
    """Read the options, test, print one line of JSON."""
    parser = argparse.ArgumentParser(prog="./dev compose-test", description=__doc__)
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    try:
        figures = test(parser.parse_args())
    except Failed as failure:
        sys.stderr.write(f"{failure}\n")
        sys.stdout.write(json.dumps({"ok": False, "problem": str(failure).splitlines()[0]}) + "\n")
        return 1
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
