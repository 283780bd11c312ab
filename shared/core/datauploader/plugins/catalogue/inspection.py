"""What a catalogue may offer beside its port, for `datauploader catalogue check` to look closer; all optional."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

from datauploader.plugins.catalogue.port import Datafile, NamedValue

SCRATCH = "datauploader-check-"
"""How the names of datasets and parameters begin that a check makes: whatever begins so may be removed."""


class Mark(StrEnum):
    """Whether a catalogue does what it should."""

    HOLDS = "holds"
    FAILS = "does not hold"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check: what should be so, whether it is, and what follows."""

    duty: str
    """One sentence that is true of a catalogue as it should be."""
    mark: Mark
    seen: str = ""
    """What was seen; where it was not tried, why."""
    therefore: str = ""
    """What the catalog service will do, where it does not hold."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What a check is to be made with."""

    session: SecretStr | None = None
    """A person's session at the catalogue."""
    person: str = ""
    """The person's id at the catalogue, where there is no session."""
    investigation: str = ""
    """The id of the investigation in which datasets may be made."""
    write: bool = False
    """Make datasets there, and remove them again."""


class CatalogueCheck(Protocol):
    """Checks the configured catalogue; what an entry point of the group `datauploader.catalogue_check` names."""

    def __call__(self, request: CheckRequest) -> Generator[Finding]:
        """Yield one finding for each duty, as it is tried; closed early, it removes what it has made.

        Raises:
            ConfigurationError: the settings of the catalogue are missing or wrong.
        """


@dataclass(frozen=True, slots=True)
class RegisteredContents:
    """What a catalogue holds of a dataset; of a datafile that it holds twice, both."""

    description: str
    datafiles: tuple[Datafile, ...]
    """What the catalogue does not keep of them is empty."""
    parameters: tuple[tuple[str, NamedValue], ...]
    """Each with the path of its datafile, "" where it is the dataset's."""


@runtime_checkable
class Inspectable(Protocol):
    """A catalogue that tells what it holds of a dataset."""

    def dataset_contents(self, dataset_id: str) -> RegisteredContents:
        """Read everything that was registered; raise `CatalogueRefused` where this may not be read here."""
        ...


@runtime_checkable
class Removable(Protocol):
    """A catalogue from which a dataset can be removed; only a check does so."""

    def remove_dataset(self, dataset_id: str) -> str:
        """Remove a dataset with everything in it; return in words what of it stays, "" for nothing.

        Raises:
            CatalogueRefused: this may not be done here.
        """
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """A catalogue that knows traps of its own system, and looks for them."""

    def traps(self, dataset_id: str | None) -> Iterator[Finding]:
        """Yield a finding for each; `dataset_id` is a dataset to write to, None where nothing may be written."""
        ...
