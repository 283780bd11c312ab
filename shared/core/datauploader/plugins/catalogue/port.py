"""The one port to any user-office system, in ICAT's words: no handler knows which one it speaks to."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

from datauploader.contracts.questions import CatalogueAbout
from datauploader.plugins.catalogue.errors import ValueRefused

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 1000
NO_ACCOUNT = -1
"""In place of a uid or gid that the catalogue does not tell; 0 would be root's."""


@dataclass(frozen=True, slots=True)
class CatalogueUser:
    """A person as the catalogue knows them, with the account that owns their files."""

    id: str
    name: str
    uid: int = NO_ACCOUNT
    gid: int = NO_ACCOUNT


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission to upload to one investigation: where its data belong, and under which account."""

    base_dir: str
    uid: int = NO_ACCOUNT


@dataclass(frozen=True, slots=True)
class CatalogueInvestigation:
    """An experiment as the catalogue holds it; what it does not tell is empty."""

    id: str
    name: str
    visit: str
    title: str
    base_dir: str
    """Where its data belong on the storage."""
    active: bool = True
    reason: str = ""
    """Why it is closed, in the catalogue's words."""
    beamline: str = ""
    start: date | None = None
    end: date | None = None
    principal_investigator: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class NewInvestigation:
    """What is asked for when an investigation must exist; natural key: name and visit."""

    name: str
    visit: str
    title: str
    owner: str = ""
    """Catalogue id of the person; empty when an operator's standing rule asks."""
    beamline: str = ""
    start: date | None = None
    end: date | None = None

    def __post_init__(self) -> None:
        for what in ("name", "visit", "title"):
            _require_name(f"The investigation's {what}", getattr(self, what))
        _require_encodable("The investigation's beamline", self.beamline)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as the catalogue holds it."""

    id: str
    investigation_id: str
    name: str
    location: str
    complete: bool = False
    doi: str | None = None


@dataclass(frozen=True, slots=True)
class NewDataset:
    """What is asked for when a dataset must exist; natural key: investigation and name."""

    investigation_id: str
    name: str
    location: str = ""
    description: str = ""
    type: str = "raw"
    owner: str = ""
    """Catalogue id of the person; empty when an operator's standing rule asks, or the service has found out itself that
    the person may."""

    def __post_init__(self) -> None:
        _require_name("The dataset's name", self.name)
        _require_encodable("The dataset's location", self.location)
        _require_encodable("The dataset's description", self.description)
        _require_name("The dataset's type", self.type)


@dataclass(frozen=True, slots=True)
class Datafile:
    """One stored file of a dataset; natural key: dataset and path."""

    path: str
    """Relative to the dataset, with forward slashes."""
    location: str
    """Where the bytes lie on the facility's storage."""
    size: int
    """Bytes."""
    checksum: str
    """SHA-256 of the bytes, 64 lower-case hexadecimal digits."""
    mtime_ns: int
    """Modification time, nanoseconds since 1970."""

    def __post_init__(self) -> None:
        if not (self.path.isascii() and self.location.isascii() and self.path.strip()):
            _require_text("The datafile's path", self.path)
            _require_encodable("The datafile's location", self.location)
        if self.size < 0 or not _SHA256.fullmatch(self.checksum):
            raise ValueRefused(
                f"Datafile {self.path!r} has size {self.size} and checksum {self.checksum!r}; a size of at "
                "least 0 and a SHA-256 of 64 lower-case hexadecimal digits are needed to register it."
            )


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A named value, one piece of metadata; natural key: what it belongs to and its name."""

    name: str
    value: str | int | float
    units: str = ""

    def __post_init__(self) -> None:
        _require_text("The parameter's name", self.name)
        _require_encodable("The parameter's units", self.units)
        if isinstance(self.value, str):
            _require_encodable(f"Parameter {self.name!r}", self.value)
        elif not math.isfinite(self.value):
            raise ValueRefused(f"Parameter {self.name!r} is {self.value}; give it as text.")


class Catalogue(Protocol):
    """A user-office system; every method blocks, may be called from any thread and raises `CatalogError`."""

    @property
    def about(self) -> CatalogueAbout:
        """What people call it and its investigations, and how they sign in with it."""
        ...

    @property
    def may_create(self) -> bool:
        """Whether investigations can be made here, by whom the catalogue lets do so."""
        ...

    def identify(self, session: SecretStr) -> CatalogueUser:
        """Say whose session this is, or raise `UnknownSession`."""
        ...

    def sign_in(self, username: str, password: SecretStr) -> CatalogueUser:
        """Say whose name and password these are, or raise `UnknownSession`; only asked where `about` says so."""
        ...

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List the investigations of this user; to those that are not active, nothing can be uploaded."""
        ...

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Say where this user's uploads to this investigation belong, or raise `CatalogueForbids`."""
        ...

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Fetch one investigation by its id, or raise `NoSuchInvestigation`."""
        ...

    def ensure_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation:
        """Return the investigation with this name and visit, made if the catalogue says it is absent."""
        ...

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Return the dataset with this name, None where the catalogue says that it is absent."""
        ...

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Return the dataset with this name, made if the catalogue says it is absent."""
        ...

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Register any number of datafiles; one whose path is known already takes the new values.

        After an error some of them may be registered: calling again with all of them is safe.
        """
        ...

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Set parameters of a dataset or of one datafile of it; raise `NotYetThere` while that is unknown."""
        ...

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Set the description of a dataset, complete or not; raise `CatalogueForbids` where this user may not.

        With "" for `by` the service has found out itself that somebody may.
        """
        ...

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Set the description of an investigation; `by` and errors as in `describe_dataset`."""
        ...

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Say that all files of the dataset are there; saying it twice changes nothing."""
        ...

    def dataset_url(self, dataset_id: str) -> str:
        """Return the address of the page that shows the dataset to people, "" where there is none; asks nobody."""
        ...

    def probe_catalogue(self) -> None:
        """Raise unless the catalogue answers sensibly, and lets the service in.

        It is asked by `doctor`, and once a minute by the service: it changes nothing, is cheap, and uses the session
        that is open rather than sign in anew.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class SearchesByName(Protocol):
    """What a catalogue may offer besides: finding investigations by their names, whoever belongs to them."""

    def investigations_named(self, name: str) -> tuple[CatalogueInvestigation, ...]:
        """Return all investigations with exactly this name, one for each visit."""
        ...


def _require_text(what: str, value: str) -> None:
    if not value.strip():
        raise ValueRefused(f"{what} is empty; give it one.")
    _require_encodable(what, value)


def _require_name(what: str, value: str) -> None:
    _require_text(what, value)
    if len(value) > _LONGEST_NAME:
        raise ValueRefused(f"{what} has {len(value)} characters; use at most {_LONGEST_NAME}.")


def _require_encodable(what: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueRefused(f"{what} holds characters that are not text ({value!a}); use its display form.") from error
