"""A catalogue in memory that keeps every promise of the port, for trials without a facility and for tests."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import quote

from pydantic import SecretStr

from datauploader.contracts.questions import CatalogueAbout
from datauploader.plugins.catalogue.ensure import ensure
from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NoSuchInvestigation,
    NotYetThere,
    UnknownSession,
    UnknownTrouble,
    ValueRefused,
)
from datauploader.plugins.catalogue.inspection import RegisteredContents
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


class Fault(StrEnum):
    """What can be made to go wrong."""

    UNAVAILABLE = "unavailable"
    LOST = "lost"
    """The effect happens, the answer never arrives."""
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    VALUE = "value"
    """One value is refused: whatever is said with it goes in without it."""
    UNKNOWN = "unknown"


@dataclass(slots=True)
class _Planned:
    operation: str
    kind: Fault
    times: int
    match: str


class MemoryCatalogue:
    """Holds everything in dictionaries; its faults are switched with `fail`, its contents are public."""

    def __init__(self) -> None:
        self.users: dict[str, CatalogueUser] = {}
        """By session."""
        self.known: dict[str, CatalogueInvestigation] = {}
        self.members: dict[str, set[str]] = {}
        self.datasets: dict[str, Dataset] = {}
        self.datafiles: dict[str, dict[str, Datafile]] = {}
        self.parameters: dict[tuple[str, str], dict[str, NamedValue]] = {}
        self.duplicates: Counter[str] = Counter()
        """How often something was to be created that exists already, by operation."""
        self.descriptions: dict[str, str] = {}
        """Of datasets, by their ids."""
        self.may_create = True
        self._made = 0
        self._planned: list[_Planned] = []
        self._lock = threading.RLock()

    def seed(self, session: str, user: CatalogueUser, investigations: Iterable[CatalogueInvestigation]) -> None:
        """Let this user sign in with this session and belong to these investigations."""
        with self._lock:
            self.users[session] = user
            for investigation in investigations:
                self.known[investigation.id] = investigation
                self.members.setdefault(investigation.id, set()).add(user.id)

    def fail(self, operation: str, kind: Fault, *, times: int = 1, match: str = "") -> None:
        """Let the next calls of an operation that mention `match` fail in this way."""
        with self._lock:
            self._planned.append(_Planned(operation, kind, times, match))

    def heal(self) -> None:
        """Let nothing fail any more."""
        with self._lock:
            self._planned.clear()

    about = CatalogueAbout()

    def sign_in(self, username: str, password: SecretStr) -> CatalogueUser:
        """Take somebody's session for the password."""
        user = self.identify(password)
        if user.name != username:
            raise UnknownSession("The name or the password is wrong.")
        return user

    def identify(self, session: SecretStr) -> CatalogueUser:
        """Look the session up."""
        with self._doing("identify"):
            user = self.users.get(session.get_secret_value())
            if user is None:
                raise UnknownSession("The catalogue does not know this session; sign in again.")
            return user

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List the user's investigations."""
        with self._doing("list_investigations", user_id):
            return tuple(i for i in self.known.values() if user_id in self.members[i.id])

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Look the membership up."""
        with self._doing("authorise", user_id, investigation_id):
            investigation = self._open_to(user_id, investigation_id)
            uid = next((user.uid for user in self.users.values() if user.id == user_id), 0)
            return Grant(investigation.base_dir, uid)

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Look an investigation up by its id."""
        with self._doing("find_investigation", investigation_id):
            if investigation_id not in self.known:
                raise NoSuchInvestigation(f"The catalogue has no investigation {investigation_id!r}.")
            return self.known[investigation_id]

    def investigations_named(self, name: str) -> tuple[CatalogueInvestigation, ...]:
        """Look investigations up by their name."""
        with self._doing("find_investigation", name):
            return tuple(one for one in self.known.values() if one.name == name)

    def ensure_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation:
        """Find by name and visit, or create."""
        return ensure(lambda: self._find_investigation(wanted), lambda: self._create_investigation(wanted))

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Look a dataset up by investigation and name."""
        with self._doing("find_dataset", name):
            return self._dataset_named(investigation_id, name)

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Find by investigation and name, or create."""
        key = wanted.investigation_id, wanted.name
        return ensure(lambda: self.find_dataset(*key), lambda: self._create_dataset(wanted))

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Keep the datafiles by their path; a complete dataset takes no other ones."""
        if not datafiles:
            return
        with self._doing("add_datafiles", dataset_id, *(new.path for new in datafiles)):
            dataset = self._dataset(dataset_id)
            held = self.datafiles[dataset_id]
            known = {(path, datafile.checksum) for path, datafile in held.items()}
            if dataset.complete and any((new.path, new.checksum) not in known for new in datafiles):
                raise CatalogueRefused(f"Dataset {dataset_id} is complete; put new files into another one.")
            held.update({datafile.path: datafile for datafile in datafiles})

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Keep the parameters by their name."""
        if not parameters:
            return
        with self._doing("add_parameters", dataset_id, *(new.name for new in parameters), datafile or ""):
            self._dataset(dataset_id)
            if datafile is not None and datafile not in self.datafiles[dataset_id]:
                raise NotYetThere(f"The catalogue has no datafile {datafile!r} in dataset {dataset_id} yet.")
            held = self.parameters.setdefault((dataset_id, datafile or ""), {})
            held.update({parameter.name: parameter for parameter in parameters})

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Keep the description; only members may change it."""
        with self._doing("describe_dataset", dataset_id):
            self._require_member(by, self._dataset(dataset_id).investigation_id)
            self.descriptions[dataset_id] = description

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Keep the description; only members may change it."""
        with self._doing("describe_investigation", investigation_id):
            self._require_member(by, investigation_id)
            self.known[investigation_id] = replace(self.known[investigation_id], description=description)

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Mark the dataset as complete."""
        with self._doing("complete_dataset", dataset_id):
            self.datasets[dataset_id] = replace(self._dataset(dataset_id), complete=True)
            return self.datasets[dataset_id]

    def dataset_url(self, dataset_id: str) -> str:
        """Return an address that leads nowhere but names the dataset."""
        return f"memory://catalogue/datasets/{quote(dataset_id, safe='')}"

    def dataset_contents(self, dataset_id: str) -> RegisteredContents:
        """Copy what is held of a dataset."""
        with self._lock:
            self._dataset(dataset_id)
            named = [
                (path, one)
                for (held, path), some in self.parameters.items()
                if held == dataset_id
                for one in some.values()
            ]
            files = self.datafiles[dataset_id].values()
            return RegisteredContents(self.descriptions[dataset_id], tuple(files), tuple(named))

    def remove_dataset(self, dataset_id: str) -> str:
        """Forget a dataset."""
        with self._lock:
            for held in (self.datasets, self.datafiles, self.descriptions):
                held.pop(dataset_id, None)
            self.parameters = {key: some for key, some in self.parameters.items() if key[0] != dataset_id}
            return ""

    def probe_catalogue(self) -> None:
        """Fail only where it was told to."""
        with self._doing("identify"):
            return

    def close(self) -> None:
        """Hold nothing that needs closing."""

    def _find_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation | None:
        with self._doing("find_investigation", wanted.name):
            return self._investigation_named(wanted)

    def _create_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation | None:
        with self._doing("create_investigation", wanted.name):
            if self._investigation_named(wanted):
                self.duplicates["create_investigation"] += 1
                return None
            new = str(len(self.known) + 1)
            made = CatalogueInvestigation(
                new, wanted.name, wanted.visit, wanted.title, f"/investigations/{new}",
                beamline=wanted.beamline, start=wanted.start, end=wanted.end,
            )  # fmt: skip
            self.known[new] = made
            self.members[new] = {wanted.owner}
            return made

    def _create_dataset(self, wanted: NewDataset) -> Dataset | None:
        with self._doing("create_dataset", wanted.name):
            self._open_to(wanted.owner, wanted.investigation_id)
            if self._dataset_named(wanted.investigation_id, wanted.name):
                self.duplicates["create_dataset"] += 1
                return None
            self._made += 1
            made = Dataset(str(self._made), wanted.investigation_id, wanted.name, wanted.location)
            self.datasets[made.id] = made
            self.datafiles[made.id] = {}
            self.descriptions[made.id] = wanted.description
            return made

    def _investigation_named(self, wanted: NewInvestigation) -> CatalogueInvestigation | None:
        key = (wanted.name, wanted.visit)
        return next((i for i in self.known.values() if (i.name, i.visit) == key), None)

    def _dataset_named(self, *key: str) -> Dataset | None:
        return next((d for d in self.datasets.values() if (d.investigation_id, d.name) == key), None)

    def _dataset(self, dataset_id: str) -> Dataset:
        if dataset_id not in self.datasets:
            raise CatalogueRefused(f"The catalogue has no dataset {dataset_id!r}; it may have been removed there.")
        return self.datasets[dataset_id]

    def _require_member(self, user_id: str, investigation_id: str) -> CatalogueInvestigation:
        investigation = self.known.get(investigation_id)
        if investigation is None or (user_id and user_id not in self.members[investigation_id]):
            words = f"User {user_id} does not belong to investigation {investigation_id}."
            raise CatalogueForbids(words, words=words)
        return investigation

    def _open_to(self, user_id: str, investigation_id: str) -> CatalogueInvestigation:
        investigation = self._require_member(user_id, investigation_id)
        if not investigation.active:
            words = f"Investigation {investigation_id} is closed."
            raise CatalogueForbids(words, words=words)
        return investigation

    @contextmanager
    def _doing(self, operation: str, *mentioned: str) -> Iterator[None]:
        with self._lock:
            fault: Fault | None = None
            for plan in self._planned:
                if plan.operation == operation and (not plan.match or plan.match in mentioned) and plan.times:
                    plan.times -= 1
                    fault = plan.kind
                    break
            if fault is Fault.UNAVAILABLE:
                raise CatalogueUnavailable("The catalogue does not answer, as it was told.")
            if fault is Fault.UNREADABLE:
                raise BadAnswer("The catalogue answers gibberish, as it was told.")
            if fault is Fault.REFUSED:
                raise CatalogueRefused("The catalogue refuses, as it was told.", words="as told")
            if fault is Fault.VALUE:
                raise ValueRefused("The catalogue refuses a value, as it was told.", words="as told")
            if fault is Fault.UNKNOWN:
                raise UnknownTrouble("The catalogue fails, as it was told.")
            yield
            if fault is Fault.LOST:
                raise CatalogueUnavailable("The catalogue's answer got lost, as it was told.")
