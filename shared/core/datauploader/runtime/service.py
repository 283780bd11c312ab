"""What a service is to the process that runs it: made from a context, started, asked how it is, stopped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, Protocol

from datauploader.errors import ConfigurationError
from datauploader.messaging.port import Bus
from datauploader.runtime.config import Settings

GROUP = "datauploader.services"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be well for a service to do its work."""

    name: str
    ok: bool
    detail: str = ""
    """What is wrong and what to do; "" when nothing is."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the process gives to each service that it runs."""

    settings: Settings
    bus: Bus
    end: Callable[[], None] = lambda: None
    """Ask the whole process to end soon, as Ctrl-C does."""


class Service(Protocol):
    """A part of DataUploader that `datauploader run` can run."""

    name: str

    def start(self) -> None:
        """Begin to work and return; raise ConfigurationError when it cannot."""

    def stop(self, deadline_s: float) -> None:
        """End within the deadline, losing nothing: what is not finished is found again at the next start."""

    def checks(self) -> Sequence[Check]:
        """Say how everything is that the work depends on."""


class Factory(Protocol):
    """Makes a service; what an entry point of the group `datauploader.services` names."""

    def __call__(self, context: Context) -> Service:
        """Read the service's own settings and build it, without starting anything."""


def available() -> tuple[str, ...]:
    """Name the services that are installed here, plug-ins included."""
    return tuple(sorted(entry.name for entry in entry_points(group=GROUP)))


class Installed(NamedTuple):
    """A service that can be run here."""

    name: str
    factory: Factory


def find(name: str) -> Installed:
    """Load the factory of a service: of one that is installed, or of the harvester that a file `….toml` describes.

    Raises:
        ConfigurationError: no distribution installed here offers it, or something is wrong with its package or file.
    """
    if name.endswith(".toml"):
        from datauploader.plugins.harvester.harvester_file import load_harvester  # noqa: PLC0415 - it needs this module

        harvester = load_harvester(Path(name))
        return Installed(harvester.kind.service, harvester)
    for entry in entry_points(group=GROUP, name=name):
        try:
            return Installed(name, entry.load())
        except (ImportError, AttributeError, SyntaxError) as error:
            raise ConfigurationError(
                f"the service {name} cannot be loaded from {entry.value}: {error}; install its package again, and "
                f"where it is your own, look whether its pyproject.toml names this module"
            ) from error
    raise ConfigurationError(
        f"there is no service {name!r} installed here; there are: {', '.join(available()) or 'none'}"
    )
