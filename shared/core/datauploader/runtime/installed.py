"""Which services can be run here: those that are installed, and harvesters that a file describes."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from datauploader.errors import ConfigurationError
from datauploader.plugins.harvester.harvester_file import load_harvester
from datauploader.runtime.service import Factory

GROUP = "datauploader.services"


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
