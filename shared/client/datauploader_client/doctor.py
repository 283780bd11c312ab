"""What `datauploader doctor` looks at: what every installation needs here, the rest through entry points."""

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from datauploader.errors import DataUploaderError, GatewayError, MessagingError
from datauploader.messaging.nodes import urls_of_nodes
from datauploader.runtime import version_floors
from datauploader.runtime.config import Settings
from datauploader.runtime.installed import available
from datauploader.runtime.service import Check
from datauploader_client.gateway_client import GatewayClient

GROUP = "datauploader.doctor"
FREE_BYTES = 1_000_000_000
WATCHES = 65_536
SKEW_S = 5.0
_PORTS = {"amqp": 5672, "amqps": 5671, "http": 80, "https": 443}


class Examiner(Protocol):
    """Looks at what one service needs; what an entry point of the group `datauploader.doctor` names."""

    def __call__(self, settings: Settings) -> Iterator[Check]:
        """Yield one check for each thing, and take no longer than some seconds for each."""


def examine(settings: Settings, gateway: GatewayClient | None) -> Iterator[Check]:
    """Look at everything that this installation needs."""
    yield from _state_dir(settings.state_dir)
    if "watcher" in available() and sys.platform == "linux":
        try:
            watches = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
        except (OSError, ValueError):
            yield Check("inotify", ok=True, detail="the limit cannot be read on this system")
        else:
            detail = f"{watches} folders can be watched"
            if watches < WATCHES:
                detail = f"only {detail} at once; run: sysctl fs.inotify.max_user_watches=524288"
            yield Check("inotify", ok=watches >= WATCHES, detail=detail)
    yield from _broker(settings)
    if gateway is None:
        yield Check("gateway", ok=True, detail="DATAUPLOADER_GATEWAY is not set; not checked")
    else:
        yield from _gateway(gateway)
    for entry in entry_points(group=GROUP):
        examiner: Examiner = entry.load()
        try:
            yield from examiner(settings)
        except DataUploaderError as error:
            yield Check(entry.name, ok=False, detail=str(error))


def _state_dir(folder: Path) -> Iterator[Check]:
    name = "state folder"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Check(
            name, ok=False, detail=f"{folder} cannot be written to ({error.strerror}); see DATAUPLOADER_STATE_DIR"
        )
        return
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        yield Check(name, ok=False, detail=f"{folder} has only {free / 1e6:.0f} MB free; free more space there")
    else:
        yield Check(name, ok=True, detail=f"{folder}, {free / 1e9:.0f} GB free")


def _broker(settings: Settings) -> Iterator[Check]:
    url = settings.broker.get_secret_value()
    if url.startswith("memory:"):
        yield Check("broker", ok=True, detail="memory://, inside the process of the services")
        return
    reaches = [_reach("broker", one) for one in urls_of_nodes(url)]
    yield from reaches
    if not any(reach.ok for reach in reaches):
        return
    from datauploader.messaging.rabbit.administration import check_topology, server_version  # noqa: PLC0415 - needs one

    try:
        missing = check_topology(url, settings.all_stations)
    except MessagingError as error:
        yield Check("broker sign-in", ok=False, detail=str(error))
        return
    yield Check("broker sign-in", ok=True)
    if version := server_version(url):
        yield version_floors.judge("broker release", version, version_floors.RABBITMQ)
    detail = "; ".join([*missing[:3], *(["…"] if missing[3:] else [])])
    yield Check(
        "broker topology", ok=not missing, detail=f"{detail}; run: datauploader topology apply" if missing else ""
    )


def _reach(name: str, url: str) -> Check:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        return Check(
            f"{name} name", ok=False, detail=f"{host} cannot be resolved ({error.strerror}); check the name and DNS"
        )
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        where = f"{host} ({', '.join(sorted(addresses))}) port {port}"
        return Check(
            f"{name} port",
            ok=False,
            detail=f"{where} does not answer ({error}); check that it is running and that no firewall blocks it",
        )
    return Check(f"{name} port", ok=True, detail=f"{host} port {port} answers")


def _gateway(gateway: GatewayClient) -> Iterator[Check]:
    reach = _reach("gateway", gateway.url)
    yield reach
    if not reach.ok:
        return
    try:
        sent = gateway.date()
        ready = gateway.ready()
    except GatewayError as error:
        yield Check("gateway", ok=False, detail=f"{error} {error.hint}".strip())
        return
    try:
        skew = (datetime.now(UTC) - parsedate_to_datetime(sent)).total_seconds()
    except ValueError:
        yield Check("clock", ok=True, detail="the gateway does not report its time")
    else:
        detail = "agrees with the gateway's"
        if abs(skew) > SKEW_S:
            detail = f"the clock of this machine and that of the gateway differ by {skew:.0f} s; turn on NTP"
        yield Check("clock", ok=abs(skew) <= SKEW_S, detail=detail)
    for check in ready.checks:
        yield Check(f"gateway {check.name}", ok=check.ok, detail=check.detail)
