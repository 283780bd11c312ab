"""A catalogue whose people the user office names: who may upload to what is looked up, all else is the catalogue's own.

The catalogue is asked without a person: it may not know those whom the user office names, or know them by other names.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from pydantic import SecretStr

from datauploader.contracts.questions import CatalogueAbout
from datauploader.errors import ConfigurationError
from datauploader.plugins.catalogue.errors import (
    CatalogueForbids,
    CatalogueUnavailable,
    NoSuchInvestigation,
    UnknownSession,
)
from datauploader.plugins.catalogue.port import (
    Catalogue,
    CatalogueInvestigation,
    Datafile,
    Dataset,
    Grant,
    NamedValue,
    NewDataset,
    NewInvestigation,
    SearchesByName,
)
from datauploader.reliability import Store
from datauploader_catalog.ledger import WantedDatasets
from datauploader_catalog.proposals import ProposalTable
from datauploader_catalog.settings import UserOfficeSettings

_ONLY_NO_ONE = "Investigations are made by the user office alone; ask there for a proposal."


class NotHeardYet(CatalogueUnavailable):
    """The user office has said nothing yet of a proposal, so nobody knows who belongs to it."""


class UserOfficeMembership:
    """A `Catalogue` in which the user office's messages say who belongs to which investigation."""

    may_create = False

    def __init__(self, catalogue: Catalogue, store: Store, settings: UserOfficeSettings) -> None:
        """Stand in front of a catalogue.

        Raises:
            ConfigurationError: the catalogue cannot search by name, and proposals are to be found by it.
        """
        self._catalogue, self._store, self._roles = catalogue, store, settings.decides
        self._code: Callable[[CatalogueInvestigation], str]
        self._find: Callable[[str], Sequence[CatalogueInvestigation]]
        if settings.proposal_is == "id":
            self._code, self._find = lambda found: found.id, self._by_id
        elif isinstance(catalogue, SearchesByName):
            self._code, self._find = lambda found: found.name, catalogue.investigations_named
        else:
            raise ConfigurationError(
                "this catalogue cannot look for investigations by their names, so a proposal's code must be their id: "
                'set proposal_is = "id" in [catalog.useroffice], or use another catalogue'
            )

    @property
    def about(self) -> CatalogueAbout:
        """What people call the catalogue; nobody signs in with it."""
        return self._catalogue.about.model_copy(update={"session": "", "password": False})

    def sign_in(self, username: str, password: SecretStr) -> NoReturn:
        """Let nobody in, as `identify`."""
        del username
        self.identify(password)

    def identify(self, session: SecretStr) -> NoReturn:
        """Ask the catalogue, so that its being away is heard, and let nobody in by it: its names are others."""
        self._catalogue.identify(session)
        raise UnknownSession("Here people sign in with the identity provider, not with a session of the catalogue.")

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List what the catalogue has of this person's proposals."""
        with self._store.reading() as db:
            proposals = ProposalTable(db)
            codes = proposals.codes_of(user_id, self._roles)
            if not codes and proposals.is_empty():
                raise NotHeardYet(
                    "Nothing has been heard from the user office yet, so nobody knows who belongs to which proposal; "
                    "have the proposals sent again, and check the catalog's connection to its broker."
                )
        return tuple(found for code in codes for found in self._find(code))

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Look whether the user office names this person, and the catalogue's investigation is open."""
        found = self._member(user_id, investigation_id)
        if not found.active:
            words = f"Investigation {investigation_id} is closed."
            raise CatalogueForbids(f"{words} {found.reason}".strip(), words=found.reason or words)
        return Grant(found.base_dir)

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Ask the catalogue."""
        return self._catalogue.investigation(investigation_id)

    def ensure_investigation(self, wanted: NewInvestigation) -> NoReturn:  # noqa: ARG002 - whatever is wanted
        """Make none: somebody could make one with the code of another's proposal."""
        raise CatalogueForbids(_ONLY_NO_ONE)

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Ask the catalogue."""
        return self._catalogue.find_dataset(investigation_id, name)

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Have the catalogue make it for nobody, once this person was found among the proposal's people."""
        if wanted.owner:
            self._member(wanted.owner, wanted.investigation_id)
        return self._catalogue.ensure_dataset(replace(wanted, owner=""))

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Tell the catalogue."""
        self._catalogue.register_datafiles(dataset_id, datafiles)

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Tell the catalogue."""
        self._catalogue.attach_parameters(dataset_id, parameters, datafile=datafile)

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Tell the catalogue, once this person was found among the people of the dataset's proposal."""
        with self._store.reading() as db:
            investigation_id = WantedDatasets(db).investigation_of(dataset_id)
        if not investigation_id:
            raise CatalogueForbids(f"Nobody knows here to which investigation dataset {dataset_id} belongs.")
        self._member(by, investigation_id)
        self._catalogue.describe_dataset(dataset_id, description, "")

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Tell the catalogue, once this person was found among the proposal's people."""
        self._member(by, investigation_id)
        self._catalogue.describe_investigation(investigation_id, description, "")

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Tell the catalogue."""
        return self._catalogue.complete_dataset(dataset_id)

    def dataset_url(self, dataset_id: str) -> str:
        """Ask the catalogue."""
        return self._catalogue.dataset_url(dataset_id)

    def probe_catalogue(self) -> None:
        """Ask the catalogue."""
        self._catalogue.probe_catalogue()

    def close(self) -> None:
        """Let go of the catalogue."""
        self._catalogue.close()

    def _by_id(self, code: str) -> Sequence[CatalogueInvestigation]:
        try:
            return (self._catalogue.investigation(code),)
        except NoSuchInvestigation:  # the catalogue gets it later, or never
            return ()

    def _member(self, user_id: str, investigation_id: str) -> CatalogueInvestigation:
        """Return the investigation, open or not, to whose proposal this person belongs."""
        found = self._catalogue.investigation(investigation_id)
        code = self._code(found)
        with self._store.reading() as db:
            standing = ProposalTable(db).standing(code, user_id, self._roles)
        if standing.member:
            return found
        if not standing.heard:
            raise NotHeardYet(
                f"Nothing has been heard of proposal {code} from the user office yet, so nobody knows who belongs to "
                "it; have it sent again: open it there and save it."
            )
        if standing.deleted:
            words = f"The user office has deleted proposal {code}."
            raise CatalogueForbids(f"{words} Ask there.", words=words)
        words = f"The user office does not name {user_id!r} for proposal {code} ({', '.join(self._roles)})."
        hint = "Ask its principal investigator to add this person there."
        if standing.nameless:
            hint += (
                f" {standing.nameless} of its people could not be recognised when it was sent, because they had never "
                "signed in there: whoever is one of them signs in there, then has the proposal saved again."
            )
        raise CatalogueForbids(f"{words} {hint}", words=words)
