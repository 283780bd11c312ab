"""A storage as two sides see it: rclone by a remote's definition, a test by the directory with the bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

from datauploader_testing.servers.programs import find_rclone
from datauploader_testing.servers.server import environment, run_tool


@dataclass(frozen=True, slots=True)
class StorageAddress:
    """Say how rclone reaches a storage, and where its bytes really are."""

    remote: Mapping[str, str]
    """The rclone backend: `type` and its options, as they stand in a configuration file."""
    base: str
    """The path inside the remote under which everything belongs; empty where the remote is the base."""
    directory: Path
    """The directory on this machine that holds what is stored under the base."""
    port: int = 0
    """The port that the server listens on; 0 where there is none."""
    port_option: str = field(default="port", repr=False)

    def through(self, port: int) -> "StorageAddress":
        """Point at the same storage behind another port, such as a fault proxy's; SSH knows host keys by port."""
        value = self.remote[self.port_option].replace(str(self.port), str(port))
        remote = {name: text for name, text in self.remote.items() if name != "known_hosts_file"}
        return replace(self, remote={**remote, self.port_option: value}, port=port)

    def configuration(self, name: str) -> str:
        """Write the remote as a section of an rclone configuration file."""
        return "\n".join([f"[{name}]", *(f"{option} = {value}" for option, value in self.remote.items()), ""])


class StorageServer(Protocol):
    """What the sandbox asks of a storage: a life, and an address."""

    address: StorageAddress

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(self, *_: object) -> None:
        """End it and remove what it made."""


def obscure(password: str) -> str:
    """Write a password as rclone wants it in a configuration; this hides it from eyes, not from programs."""
    return run_tool([find_rclone(), "obscure", "-"], env=environment(), stdin=password).strip()


def reveal(obscured: str) -> str:
    """Read a password that `obscure` has written."""
    return run_tool([find_rclone(), "reveal", "--", obscured], env=environment()).strip()
