"""ICAT as a `Catalogue`, over its REST interface; docs/catalogues/icat.md says what is asked of it."""

import re
from collections.abc import Iterator, Sequence

from pydantic import SecretStr, TypeAdapter

from datauploader.contracts.questions import CatalogueAbout
from datauploader.plugins.catalogue.ensure import ensure
from datauploader.plugins.catalogue.errors import (
    CatalogueForbids,
    CatalogueRefused,
    NoSuchInvestigation,
    UnknownSession,
)
from datauploader.plugins.catalogue.inspection import Finding, RegisteredContents
from datauploader.plugins.catalogue.port import (
    CatalogueInvestigation,
    CatalogueUser,
    Datafile,
    Dataset,
    Grant,
    NamedValue,
    NewDataset,
    NewInvestigation,
)
from datauploader_catalog.adapters.icat.datafiles import IcatDatafiles
from datauploader_catalog.adapters.icat.inspection import IcatInspection
from datauploader_catalog.adapters.icat.investigations import IcatInvestigations, Investigation
from datauploader_catalog.adapters.icat.parameters import Parameters
from datauploader_catalog.adapters.icat.people import People
from datauploader_catalog.adapters.icat.queries import entity, filled, is_id, reference
from datauploader_catalog.adapters.icat.refusals import AlreadyExists, SessionLost
from datauploader_catalog.adapters.icat.session import IcatSession
from datauploader_catalog.adapters.icat.wire import IcatWire
from datauploader_catalog.settings import IcatSettings

_DATASET = "SELECT ds.id, ds.investigation.id, ds.name, ds.location, ds.complete, ds.doi FROM Dataset ds "
_BY_ID = _DATASET + "WHERE ds.id = {id}"
_BY_NAME = _DATASET + "WHERE ds.investigation.id = {investigation} AND ds.name = {name}"
_SESSION = re.compile(r"[A-Za-z0-9-]{1,128}")
_DATASETS = TypeAdapter(list[tuple[int, int, str, str | None, bool, str | None]])


class IcatCatalogue:
    """Speaks to ICAT as one account that may read and write for everybody; may be used from any number of threads."""

    def __init__(self, settings: IcatSettings) -> None:
        self._settings = settings
        self._wire = IcatWire(settings)
        self._session = IcatSession(settings, self._wire)
        self._people = People(settings, self._session)
        self._investigations = IcatInvestigations(settings, self._session)
        self._datafiles = IcatDatafiles(settings, self._session)
        self._parameters = Parameters(settings, self._session, self._investigations)
        self._inspection = IcatInspection(settings, self._wire, self._session, self._investigations)

    @property
    def about(self) -> CatalogueAbout:
        """People have sessions, and passwords where the settings name an authenticator."""
        return CatalogueAbout(
            system="ICAT", session="ICAT session", session_help="The session ID of the portal where you signed in.",
            password=bool(self._settings.people_plugin),
        )  # fmt: skip

    @property
    def may_create(self) -> bool:
        """Those who run an instrument may."""
        return True

    def identify(self, session: SecretStr) -> CatalogueUser:
        """Ask whose session this is, and who that is in ICAT's table of users."""
        text = session.get_secret_value()
        try:
            name = self._session.user_of(text) if _SESSION.fullmatch(text) else None
        except SessionLost:
            name = None
        if name is None:
            raise UnknownSession(
                "ICAT does not know this session; it may have expired. Sign in again.",
                login_url=self._settings.login_page or None,
            )
        return self._people.signed_in(name)

    def sign_in(self, username: str, password: SecretStr) -> CatalogueUser:
        """Sign in to ICAT as this person, and ask who that is in its table of users."""
        try:
            name = self._session.sign_in(username, password)
        except SessionLost as error:
            raise UnknownSession("ICAT does not accept this name and password.") from error
        return self._people.signed_in(name)

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List those of which this person is an InvestigationUser."""
        person = self._people.find(user_id)
        found = [] if person is None else self._investigations.of_user(person)
        return tuple(self._investigations.describe(one) for one in found)

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Look whether this person is an InvestigationUser, and the time is not over."""
        if not user_id:
            raise CatalogueForbids("Nobody is named who would upload.")
        found = self._open_to(user_id, investigation_id)
        return Grant(found.base_dir)

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Fetch an investigation by its id."""
        found = self._investigations.find(investigation_id)
        if found is None:
            raise NoSuchInvestigation(
                f"ICAT has no investigation {investigation_id!r}; choose one of those that are listed for you."
            )
        return self._investigations.describe(found)

    def investigations_named(self, name: str) -> tuple[CatalogueInvestigation, ...]:
        """Fetch all visits of this name."""
        found = self._investigations.of_name(name)
        return tuple(self._investigations.describe(one) for one in found if one.name == name)

    def ensure_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation:
        """Find the investigation by name and visit, or create it with its member and instrument."""
        found = ensure(
            lambda: self._investigations.named(wanted.name, wanted.visit), lambda: self._create_investigation(wanted)
        )
        _require_same((wanted.name, wanted.visit), (found.name, found.visit_id))
        return self._investigations.describe(found)

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Look the dataset up by investigation and name."""
        if not is_id(investigation_id):
            return None
        found = self._dataset(filled(_BY_NAME, investigation=int(investigation_id), name=name))
        if found is not None:
            _require_same((investigation_id, name), (found.investigation_id, found.name))
        return found

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Find the dataset by investigation and name, or create it."""
        key = wanted.investigation_id, wanted.name
        return ensure(lambda: self.find_dataset(*key), lambda: self._create_dataset(wanted))

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Write the datafiles in arrays, each of which is one transaction."""
        if datafiles:
            self._datafiles.register(self._known(dataset_id), datafiles)

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Write the parameters in one array, after their types."""
        if parameters:
            self._require_id(dataset_id)
            self._parameters.attach(dataset_id, parameters, datafile)

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Set `description`, of which ICAT takes 255 characters."""
        dataset = self._known(dataset_id)
        self._member(by, dataset.investigation_id)
        self._session.write([entity("Dataset", reference(dataset_id) | {"description": description})])

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Set `summary`, of which ICAT takes 4000 characters."""
        self._member(by, investigation_id)
        self._session.write([entity("Investigation", reference(investigation_id) | {"summary": description})])

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Set `complete`."""
        dataset = self._known(dataset_id)
        if not dataset.complete:
            self._session.write([entity("Dataset", reference(dataset_id) | {"complete": True})])
        return Dataset(
            dataset.id, dataset.investigation_id, dataset.name, dataset.location, complete=True, doi=dataset.doi
        )

    def dataset_contents(self, dataset_id: str) -> RegisteredContents:
        """Read a dataset with its datafiles and parameters; only checks do."""
        return self._inspection.contents(int(self._known(dataset_id).id))

    def remove_dataset(self, dataset_id: str) -> str:
        """Remove a dataset with its datafiles and parameters; only checks do, and it needs D on all of them."""
        return self._inspection.remove(int(self._known(dataset_id).id))

    def traps(self, dataset_id: str | None) -> Iterator[Finding]:
        """Look for what ICAT lets its operators choose; nothing is written."""
        del dataset_id
        yield from self._inspection.traps()

    def dataset_url(self, dataset_id: str) -> str:
        """Fill the dataset's id into the configured address of its page; "" where none is configured."""
        return self._settings.dataset_url(dataset_id)

    def probe_catalogue(self) -> None:
        """Ask for a session that cannot exist, and as the service for the facility."""
        try:
            self.identify(SecretStr("health-check"))
        except UnknownSession:
            self._investigations.facility_id()

    def close(self) -> None:
        """Sign out, and close the kept connections."""
        self._session.close()
        self._wire.close()

    def _create_investigation(self, wanted: NewInvestigation) -> Investigation | None:
        if not wanted.owner:
            return self._investigations.create(wanted, None)
        person = self._people.find(wanted.owner)
        if person is None:
            raise CatalogueForbids(f"ICAT has no user {wanted.owner!r}.")
        return self._investigations.create(wanted, person)

    def _create_dataset(self, wanted: NewDataset) -> Dataset | None:
        self._open_to(wanted.owner, wanted.investigation_id)
        values = {
            "name": wanted.name,
            "investigation": reference(wanted.investigation_id),
            "type": reference(self._investigations.dataset_type(wanted.type)),
            "complete": False,
            "location": wanted.location or None,
            "description": wanted.description or None,
        }
        try:
            made = self._session.write([entity("Dataset", values)])
        except AlreadyExists:
            return None
        return Dataset(str(made[0]), wanted.investigation_id, wanted.name, wanted.location)

    def _known(self, dataset_id: str) -> Dataset:
        self._require_id(dataset_id)
        dataset = self._dataset(filled(_BY_ID, id=int(dataset_id)))
        if dataset is None:
            raise CatalogueRefused(f"ICAT has no dataset {dataset_id}; it may have been removed there.")
        return dataset

    @staticmethod
    def _require_id(dataset_id: str) -> None:
        if not is_id(dataset_id):
            raise CatalogueRefused(f"{dataset_id!r} is no id of a dataset of ICAT's.")

    def _dataset(self, query: str) -> Dataset | None:
        for number, investigation, name, location, complete, doi in self._session.search(query, _DATASETS):
            return Dataset(str(number), str(investigation), name, location or "", complete, doi)
        return None

    def _member(self, user_id: str, investigation_id: str) -> Investigation:
        """Return the investigation, open or not, to which this person belongs; "" is the service itself."""
        found = self._investigations.find(investigation_id)
        if found is None or (user_id and not found.has_member(self._people.find(user_id))):
            words = f"User {user_id} does not belong to investigation {investigation_id}."
            raise CatalogueForbids(
                f"{words} Ask the investigation's principal investigator or the user office.", words=words
            )
        return found

    def _open_to(self, user_id: str, investigation_id: str) -> CatalogueInvestigation:
        found = self._investigations.describe(self._member(user_id, investigation_id))
        if not found.active:
            raise CatalogueForbids(f"Investigation {investigation_id} is closed: {found.reason}", words=found.reason)
        return found


def _require_same(asked: tuple[str, str], answered: tuple[str, str]) -> None:
    """Refuse to take one thing for another where ICAT's database does not tell their names apart."""
    if asked != answered:
        raise CatalogueRefused(
            f"ICAT answered with {answered!r} when it was asked for {asked!r}, because its database does not tell them "
            "apart; nothing was written to the wrong place. Choose a name that differs in more than case and accents."
        )
