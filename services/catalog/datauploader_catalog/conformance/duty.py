"""A duty of a catalogue, and what is known while the duties are tried one after the other."""

from collections.abc import Callable
from dataclasses import dataclass, field

from datauploader.plugins.catalogue.errors import CatalogError, CatalogueRefused
from datauploader.plugins.catalogue.inspection import CheckRequest, Finding, Inspectable, Mark, RegisteredContents
from datauploader.plugins.catalogue.port import Catalogue, CatalogueInvestigation, Dataset

NOBODY = "0"
"""An id that no user has, and no investigation."""


class DutyFailedError(Exception):
    """What was seen is not what should be."""


class NotTriedError(Exception):
    """The duty cannot be tried here."""


@dataclass(slots=True)
class Trial:
    """A check that runs: with what, and what was found and made so far."""

    catalogue: Catalogue
    request: CheckRequest
    name: str
    """The name of the dataset that is made; also how the names of all else begin."""
    person: str = ""
    listed: tuple[CatalogueInvestigation, ...] = ()
    dataset: Dataset | None = None
    failures: list[BaseException] = field(default_factory=list)
    """Of those that asked for the dataset at the same time."""
    names: list[str] = field(default_factory=list)
    """Of the datasets that were asked for, whether they were made or not."""
    made: dict[str, str] = field(default_factory=dict)
    """Names of datasets that were made, by their ids."""

    def require_person(self) -> str:
        """Return the id of the person to test with."""
        if not self.person:
            raise NotTriedError("nobody is named; give --session or --user")
        return self.person

    def require_open(self) -> CatalogueInvestigation:
        """Return an investigation of the person's that takes uploads: the named one, else the first."""
        some = [one for one in self.listed if one.active]
        named = [one for one in some if one.id == self.request.investigation]
        if not some:
            raise NotTriedError("no open investigation is listed for the person")
        return (named or some)[0]

    def require_dataset(self) -> Dataset:
        """Return the dataset that was made."""
        if self.dataset is None:
            raise NotTriedError("there is no dataset to try it with")
        return self.dataset

    def contents(self) -> RegisteredContents:
        """Read what the catalogue holds of the dataset."""
        dataset = self.require_dataset()
        if not isinstance(self.catalogue, Inspectable):
            raise NotTriedError("it was accepted, but this catalogue does not show what a dataset holds")
        try:
            return self.catalogue.dataset_contents(dataset.id)
        except CatalogueRefused as error:
            raise NotTriedError(f"it was accepted, but what the dataset holds cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Duty:
    """One thing that a catalogue should do."""

    sentence: str
    therefore: str
    """What the catalog service will do where it does not."""
    attempt: Callable[[Trial], str]
    """Tries it; returns what is worth knowing though it holds, or raises `DutyFailedError` or `NotTriedError`."""

    def judge(self, trial: Trial) -> Finding:
        """Try it, and say how it went."""
        try:
            return Finding(self.sentence, Mark.HOLDS, self.attempt(trial))
        except NotTriedError as why:
            return self.untried(str(why))
        except (DutyFailedError, CatalogError) as error:
            return Finding(self.sentence, Mark.FAILS, str(error), self.therefore)
        except Exception as error:  # noqa: BLE001 - a plug-in's own mistake, which its author is to see as a finding
            seen = f"{type(error).__name__} was raised ({error}), which is no CatalogError."
            return Finding(self.sentence, Mark.FAILS, seen, self.therefore)

    def untried(self, why: str) -> Finding:
        """Say that it was not tried."""
        return Finding(self.sentence, Mark.NOT_TRIED, why)


def require(truth: object, seen: str) -> None:
    """Fail the duty unless this is so."""
    if not truth:
        raise DutyFailedError(seen)
