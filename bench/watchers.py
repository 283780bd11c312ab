"""Who watches folders in the benchmarks of sync mode: DataUploader, and the tools that people would take otherwise."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import httpx
from parties import FOLDER, OURS, arrangement, end, our_release, said
from watching import Watcher, Watching, complete

from datauploader.contracts.files import FileStored
from datauploader.contracts.registry import topic
from datauploader.messaging import Delivery, connect
from datauploader.messaging.topology import harvester_queue
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run
from datauploader_testing.servers import MissingProgramError
from datauploader_testing.servers.ports import free_port
from datauploader_testing.servers.programs import find_program, find_rclone
from datauploader_testing.waiting import eventually

LSYNCD, LSYNCD_AT_ONCE, SYNCTHING, SCRIPT = "lsyncd", "lsyncd without delay", "Syncthing", "watchdog and rclone"
BESIDE = (LSYNCD, LSYNCD_AT_ONCE, SYNCTHING, SCRIPT)
BATCH = f"{OURS}, batch"
START_S = 60.0
"""Within which a program must be ready."""
KEY = "benchmark"
"""What opens the REST interface of Syncthing."""


def gather(facility: Facility, goals: Path, quiet_s: float, beside: Sequence[str]) -> tuple[list[Watcher], list[str]]:
    """Return who takes part, ours first, and of each that cannot, why."""
    makers: dict[str, Callable[[], Watcher]] = {
        LSYNCD: partial(lsyncd, goals, LSYNCD),
        LSYNCD_AT_ONCE: partial(lsyncd, goals, LSYNCD_AT_ONCE, delay_s=0),
        SYNCTHING: partial(syncthing, goals),
        SCRIPT: partial(script, goals),
    }
    watchers, missing = [datauploader(facility, quiet_s)], []
    for name in beside:
        try:
            watchers.append(makers[name]())
        except MissingProgramError as absence:
            missing.append(str(absence))
    return watchers, missing


def datauploader(facility: Facility, quiet_s: float, mode: Literal["sync", "batch"] = "sync") -> Watcher:
    """Upload with ours; a file has arrived when a listener at the broker hears that its stored bytes are verified."""
    run = Run(facility, facility.folder / "no ledger")

    @contextmanager
    def watch(source: Path) -> Iterator[Watching]:
        verified: dict[str, float] = {}

        def hear(delivery: Delivery) -> None:
            if isinstance(event := delivery.event.data, FileStored) and event.upload_id == upload:
                at = time.time()
                verified.update((one.file.path, at) for one in event.files if one.state == "verified")

        with ExitStack() as stack:
            bus = connect(facility.broker_address, name="bench")
            stack.callback(bus.close)
            upload = run.request(source.name, mode, path=str(source.resolve()), quiet_period_s=quiet_s)
            queue = harvester_queue("bench", [f"*.*.*.{topic(FileStored)}"])
            stack.callback(bus.consume(queue, hear, prefetch=500).stop)
            if mode == "sync":
                run.opened(upload)
            notes: dict[str, Any] = {}
            yield Watching(facility.storage / FOLDER / source.name, lambda name, _size: verified.get(name), notes)
            if mode == "sync":
                run.control(upload, "close")
            run.completed(upload, within_s=3600)
            with GatewayClient(facility.url, run.token) as gateway:
                notes["steps"] = [step.model_dump() for step in gateway.timing(upload).steps]

    settings = f"{mode}, quiet period {quiet_s:g} s, verified, {arrangement(facility)}"
    return Watcher(OURS if mode == "sync" else BATCH, our_release(), settings, watch, batch=mode == "batch")


def lsyncd(goals: Path, name: str, *, delay_s: int | None = None) -> Watcher:
    """Mirror with lsyncd, which collects changes and starts rsync for them; by default after 15 s."""
    program = find_program("lsyncd", install="apt-get install lsyncd")
    rsync = said((str(find_program("rsync", install="apt-get install rsync")), "--version"))
    delay = "" if delay_s is None else f", delay = {delay_s}"

    @contextmanager
    def watch(source: Path) -> Iterator[Watching]:
        goal = goals / source.name
        goal.mkdir(parents=True)
        config, log = goals / f"{source.name}.lua", goals / f"{source.name}.log"
        config.write_text(
            f'settings {{ logfile = "{log}" }}\n'
            f'sync {{ default.rsync, source = "{source}", target = "{goal}"{delay} }}\n',
            encoding="utf-8",
        )
        with running([program, "-nodaemon", config], goals / f"{source.name}.out") as notes:
            eventually(
                lambda: log.exists() and " finished." in log.read_text(), within_s=START_S, what=f"{log} finished"
            )
            yield Watching(goal, partial(complete, goal), notes)

    settings = f"default.rsync, {'default settings' if delay_s is None else f'delay = {delay_s}'}; {rsync}"
    return Watcher(name, said((str(program), "--version")).removeprefix("Version: "), settings, watch)


def syncthing(goals: Path) -> Watcher:
    """Mirror with two instances of Syncthing, one that sends and one that receives, which see nobody but each other."""
    program = find_program("syncthing", install="apt-get install syncthing")

    @contextmanager
    def watch(source: Path) -> Iterator[Watching]:
        goal = goals / source.name
        goal.mkdir(parents=True)
        homes = [goals / f"{source.name}-{side}" for side in ("sends", "receives")]
        devices: dict[str, int] = {}
        for home in homes:
            end([program, "generate", f"--home={home}", "--no-default-folder", "--skip-port-probing"])
            (device,) = re.findall('^    <device id="([^"]+)"', (home / "config.xml").read_text("utf-8"), re.MULTILINE)
            devices[device] = free_port()
        with ExitStack() as stack:
            ready: list[Callable[[], bool]] = []
            for home, own, folder, kind in zip(
                homes, devices, (source, goal), ("sendonly", "receiveonly"), strict=True
            ):
                door = f"127.0.0.1:{free_port()}"
                (home / "config.xml").write_text(syncthing_settings(devices, own, folder, kind, door), encoding="utf-8")
                serve = [program, "serve", f"--home={home}", "--no-browser", "--no-restart", "--no-upgrade"]
                notes = stack.enter_context(running(serve, home / "out"))
                ready.append(partial(is_joined, door))
            eventually(lambda: all(one() for one in ready), within_s=START_S, every_s=0.1, what="Syncthing is ready")
            yield Watching(goal, partial(complete, goal), notes)

    settings = "two instances on the loopback, fsWatcherDelayS 1 (the least), normal priority, else default settings"
    return Watcher(SYNCTHING, said((str(program), "--version")).split()[1], settings, watch)


def syncthing_settings(devices: Mapping[str, int], own: str, folder: Path, kind: str, door: str) -> str:
    """Write the settings of one instance: devices with their ports, its folder and what it does, where it is asked."""
    known = "".join(
        f'<device id="{device}"><address>tcp://127.0.0.1:{port}</address></device>' for device, port in devices.items()
    )
    shares = "".join(f'<device id="{device}"/>' for device in devices)
    alone = ("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled", "crashReportingEnabled",
             "startBrowser", "announceLANAddresses", "setLowPriority")  # fmt: skip
    options = "".join(f"<{name}>false</{name}>" for name in alone)
    return f"""<configuration version="36">
  <folder id="{KEY}" path="{folder}" type="{kind}" fsWatcherEnabled="true" fsWatcherDelayS="1">{shares}</folder>
  {known}
  <gui enabled="true"><address>{door}</address><apikey>{KEY}</apikey></gui>
  <options>
    <listenAddress>tcp://127.0.0.1:{devices[own]}</listenAddress>
    {options}
    <urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH><stunKeepaliveStartS>0</stunKeepaliveStartS>
  </options>
</configuration>
"""


def is_joined(door: str) -> bool:
    """Ask an instance of Syncthing whether it has seen its folder and is connected with the other one."""
    with httpx.Client(base_url=f"http://{door}/rest", headers={"X-API-Key": KEY}, timeout=5) as client:
        try:
            state = client.get("/db/status", params={"folder": KEY}).raise_for_status().json()["state"]
            connections = client.get("/system/connections").raise_for_status().json()["connections"]
        except httpx.HTTPError:
            return False
    return state == "idle" and any(one["connected"] for one in connections.values())


def script(goals: Path) -> Watcher:
    """Copy with a script that starts rclone for each file that is closed."""
    rclone = find_rclone()

    @contextmanager
    def watch(source: Path) -> Iterator[Watching]:
        goal = goals / source.name
        goal.mkdir(parents=True)
        out = goals / f"{source.name}.out"
        with running(
            [sys.executable, Path(__file__).with_name("copy_on_close.py"), rclone, source, goal], out
        ) as notes:
            eventually(lambda: "watching" in out.read_text(), within_s=START_S, what="the script watches")
            yield Watching(goal, partial(complete, goal), notes)

    settings = f"copy_on_close.py, four at once, rclone {said((str(rclone), 'version')).removeprefix('rclone ')}"
    return Watcher(SCRIPT, version("watchdog"), settings, watch, idle_s=5.0)  # what it has missed it never copies


@contextmanager
def running(command: Sequence[str | Path], output: Path) -> Iterator[dict[str, Any]]:
    """Run a program and all that it starts; where it has ended by itself, that is noted with its last words."""
    notes: dict[str, Any] = {}
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield notes
        if process.poll() is not None:
            notes["ended"] = output.read_text(errors="replace")[-500:]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
