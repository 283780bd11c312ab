"""Which stations and plug-ins a facility has: a file that `datauploader admin` writes, read again when it changes."""

import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar, overload

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from datauploader.contracts.address import CONSUMER, Station
from datauploader.errors import ConfigurationError

T = TypeVar("T")


def _key(text: str) -> str:
    return Station.parse(text).key


StationKey = Annotated[str, AfterValidator(_key)]
"""A station, as `facility.beamline.station`."""
HarvesterName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}$")]


class RegisteredConsumer(BaseModel):
    """A consumer that is no harvester, and what it may hear."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: HarvesterName
    events: tuple[str, ...]
    """Kinds of events, such as `dataset.completed.v1`."""
    reads_log: bool = False
    """It may read the event log, in which all events are."""

    @property
    def account(self) -> str:
        """Its user at the broker, which its queue is called after."""
        return f"{CONSUMER}.{self.name}"


class Registrations(BaseModel):
    """What stands in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stations: tuple[StationKey, ...] = ()
    harvesters: tuple[HarvesterName, ...] = ()
    consumers: tuple[RegisteredConsumer, ...] = ()
    removed: tuple[StationKey, ...] = ()
    """Stations, and plug-ins as `facility.harvester.name` or `facility.consumer.name`, that were removed: what they
    reported is not shown."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """The broker users of all that are registered."""
        return (*self.stations, *self.harvesters, *(one.account for one in self.consumers))


class RegistrationsFile:
    """The registrations as they are now; while the file is missing or wrong, as they were before."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigurationError: it is missing or wrong.
        """
        self._path = path
        self._lock = threading.Lock()
        self._version = _version(path)
        self._known = _read(path)

    def now(self) -> Registrations:
        """Return what the file says, read anew if it has changed."""
        with self._lock:
            try:
                version = _version(self._path)
                if version != self._version:
                    self._known, self._version = _read(self._path), version
            except ConfigurationError:
                pass  # what was known goes on to count until the file is mended
            return self._known


@cache
def registrations_file(path: Path) -> RegistrationsFile:
    """Return the one reader of this file.

    Raises:
        ConfigurationError: it is missing or wrong.
    """
    return RegistrationsFile(path)


class Live(Sequence[T]):
    """A sequence that is looked up anew at each use, for those who are given it once and keep it."""

    def __init__(self, look: Callable[[], Sequence[T]]) -> None:
        """Look it up with `look`."""
        self._look = look

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        """Return one item, or some."""
        return self._look()[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._look())


def _version(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(f"the registrations {path} cannot be read: {error.strerror}") from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> Registrations:
    try:
        return Registrations.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the registrations {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(
            f"the registrations {path} are wrong{f' at {where}' if where else ''}: {problem['msg']}; "
            "`datauploader admin apply` writes them"
        ) from None
