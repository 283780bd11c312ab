"""What a service is to the process that runs it: made from a context, started, asked how it is, stopped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from datauploader.messaging.port import Bus
from datauploader.runtime.config import Settings


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
