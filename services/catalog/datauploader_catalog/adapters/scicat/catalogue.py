"""SciCat as a `Catalogue`.

An investigation is a proposal, and who belongs to the proposal's groups may upload to it. A dataset has a pid that is
made of investigation and name, because pids are all that SciCat keeps unique. The code was written by the sources of
scicat-backend-next at 4055c962, and never ran against a real SciCat: docs/catalogues/scicat.md.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from pydantic import SecretStr

from datauploader.contracts.questions import CatalogueAbout
from datauploader.plugins.catalogue.ensure import ensure
from datauploader.plugins.catalogue.errors import (
    CatalogueRefused,
    NoSuchInvestigation,
    NotYetThere,
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
from datauploader_catalog.adapters.scicat import records
from datauploader_catalog.adapters.scicat.blocks import DatasetBlocks, sizes_of
from datauploader_catalog.adapters.scicat.inspection import ScicatInspection
from datauploader_catalog.adapters.scicat.metadata import NoRoom, merged
from datauploader_catalog.adapters.scicat.proposals import Proposals
from datauploader_catalog.adapters.scicat.session import TOKEN, ScicatSession, address
from datauploader_catalog.adapters.scicat.wire import ScicatWire
from datauploader_catalog.settings import ScicatSettings

_FULL_S = 600.0
"""How long it is believed that a dataset takes no more metadata of files."""
_COUNTED = 10
"""Blocks up to which SciCat itself makes up the size of a dataset: /api/v4 sums the last ten, /api/v3 hundred."""
_SIZES = ("size", "numberOfFiles", "packedSize")
"""What /api/v4 sets to 0 in a change that does not say it: so every change says it (SciCatProject/backend#2746)."""

Record = dict[str, Any]


class ScicatCatalogue:
    """Speaks to SciCat; may be used from any number of threads."""

    def __init__(self, settings: ScicatSettings) -> None:
        self._settings = settings
        self._wire = ScicatWire(settings)
        self._session = ScicatSession(settings, self._wire)
        self._proposals = Proposals(settings, self._session)
        self._blocks = DatasetBlocks(settings, self._session)
        self._inspection = ScicatInspection(self._session, self._blocks)
        self._full: dict[str, float] = {}
        """Datasets that take no more metadata of files, and until when that is believed."""
        self._locks = [threading.Lock() for _ in range(64)]
        """SciCat compares and writes in two steps: at least this process does not write one dataset twice at once."""

    @property
    def about(self) -> CatalogueAbout:
        """Investigations are proposals; people have tokens, and passwords where the settings say so."""
        return CatalogueAbout(
            system="SciCat", investigation="proposal", session="SciCat token",
            session_help="The token that SciCat shows on the page of your settings.",
            password=bool(self._settings.people_login),
        )  # fmt: skip

    @property
    def may_create(self) -> bool:
        """Proposals are made where the settings say for whom, and whose they are then."""
        return self._proposals.may_create

    def identify(self, session: SecretStr) -> CatalogueUser:
        """Ask whose token this is."""
        token = session.get_secret_value()
        identity = self._session.whose(token) if TOKEN.fullmatch(token) else None
        if identity is None:
            raise UnknownSession("SciCat does not know this session; sign in to SciCat and try again.")
        return records.read_user(identity, self._settings)

    def sign_in(self, username: str, password: SecretStr) -> CatalogueUser:
        """Sign in to SciCat as this person, and ask who that is."""
        token = self._session.sign_in(username, password)
        if token is None:
            raise UnknownSession("SciCat does not accept this name and password.")
        return self.identify(SecretStr(token))

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List the proposals that one of the user's groups owns or has access to."""
        return self._proposals.of_user(user_id)

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Say where the data of this proposal belong, if one of the user's groups is the proposal's."""
        identity = self._proposals.identity(user_id)
        proposal = self._proposals.require_member(identity, user_id, investigation_id)
        one = self._proposals.read_active(proposal)
        return Grant(records.require_base_dir(one), records.read_user(identity, self._settings).uid)

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Fetch a proposal by its id."""
        proposal = self._proposals.find(investigation_id)
        if proposal is None:
            raise NoSuchInvestigation(
                f"SciCat has no proposal {investigation_id!r}; choose one of those that are listed for you."
            )
        return self._proposals.read(proposal)

    def investigations_named(self, name: str) -> tuple[CatalogueInvestigation, ...]:
        """Fetch the proposal of this id, which is its name as well."""
        proposal = self._proposals.find(name)
        return () if proposal is None else (self._proposals.read(proposal),)

    def ensure_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation:
        """Find the proposal whose id is made of name and visit, or make it."""
        key = records.proposal_id(wanted.name, wanted.visit)
        made = ensure(lambda: self._proposals.find(key), lambda: self._proposals.create(wanted))
        found = self._proposals.read(made)
        _require_same((wanted.name, wanted.visit), (found.name, found.visit))
        return found

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Look the dataset up by the pid that belongs to investigation and name."""
        answer = self._session.find(self._dataset_path(records.pid_of(investigation_id, name, self._settings)))
        if answer is None:
            return None
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"a look at dataset {name!r}")
        found = records.read_dataset(answer.record())
        _require_same((investigation_id, name), (found.investigation_id, found.name))
        return found

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Find the dataset by its pid, or make it."""
        key = wanted.investigation_id, wanted.name
        return ensure(lambda: self.find_dataset(*key), lambda: self._create_dataset(wanted))

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Put the datafiles into origdatablocks, each once; see `DatasetBlocks`."""
        if not datafiles:
            return
        with self._writing(dataset_id):
            held = records.read_dataset(self._dataset(dataset_id))
            blocks = self._blocks.register(dataset_id, datafiles, complete=held.complete)
            if len(blocks) > _COUNTED:
                self._change(dataset_id, lambda record: records.if_other(record, **sizes_of(blocks)))

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Put the parameters into the scientific metadata, as value and unit."""
        if not parameters:
            return
        with self._writing(dataset_id):
            if datafile is not None and self._full.get(dataset_id, 0.0) > time.monotonic():
                raise NoRoom(
                    "SciCat has no place for more metadata of this dataset's files; those of the dataset go in."
                )
            if datafile is not None and not self._blocks.has(dataset_id, datafile):
                self._dataset(dataset_id)
                raise NotYetThere(f"SciCat has no datafile {datafile!r} in dataset {dataset_id} yet; they are retried.")

            def change(record: Record) -> Record:
                held = record.get("scientificMetadata")
                known = held if isinstance(held, dict) else {}
                result = merged(known, parameters, datafile, self._session.api(), self._settings)
                return {} if result is None else {"scientificMetadata": result}

            try:
                self._change(dataset_id, change)
            except NoRoom:
                self._full = {one: end for one, end in self._full.items() if end > time.monotonic()}
                self._full[dataset_id] = time.monotonic() + _FULL_S
                raise

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Set the description, if one of the person's groups is the proposal's."""
        with self._writing(dataset_id):
            held = records.read_dataset(self._dataset(dataset_id))
            self._proposals.require_allowed(self._proposals.identity(by), by, held.investigation_id)
            self._change(dataset_id, lambda record: records.if_other(record, description=description))

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Set the proposal's abstract, if one of the person's groups is the proposal's."""
        self._proposals.describe(investigation_id, description, by)

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Say the true size of the dataset, then that its files are there."""
        with self._writing(dataset_id):
            blocks = self._blocks.register(dataset_id, (), complete=False)
            record = self._change(dataset_id, lambda record: records.if_other(record, **sizes_of(blocks)))
            found = records.read_dataset(record)
            if not found.complete:
                self._say_complete(dataset_id, record)
            return replace(found, complete=True)

    def dataset_contents(self, dataset_id: str) -> RegisteredContents:
        """Read a dataset, its blocks and its scientific metadata; only checks do."""
        return self._inspection.contents(self._dataset(dataset_id))

    def remove_dataset(self, dataset_id: str) -> str:
        """Remove a dataset and its blocks; only checks do, and it needs DELETE_GROUPS."""
        with self._writing(dataset_id):
            return self._inspection.remove(dataset_id)

    def traps(self, dataset_id: str | None) -> Iterator[Finding]:
        """Look for what SciCat lets its operators choose."""
        return self._inspection.traps(dataset_id)

    def dataset_url(self, dataset_id: str) -> str:
        """Fill the dataset's pid into the configured address of its page."""
        return self._settings.dataset_url(dataset_id)

    def probe_catalogue(self) -> None:
        """Ask who the service is, and which interfaces there are."""
        self._session.require()
        self._session.api()

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()

    def _writing(self, dataset_id: str) -> threading.Lock:
        return self._locks[hash(dataset_id) % len(self._locks)]

    def _dataset_path(self, pid: str) -> str:
        return f"{self._session.api()}/{address('datasets', pid)}"

    def _dataset(self, pid: str) -> Record:
        answer = self._session.find(self._dataset_path(pid))
        if answer is None:
            raise CatalogueRefused(f"SciCat has no dataset {pid}; it was removed there. Ask the operators of SciCat.")
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"a look at dataset {pid}")
        return answer.record()

    def _change(self, pid: str, change: Callable[[Record], Record]) -> Record:
        """Read a dataset, decide what to change and change it, if nobody else has done so meanwhile."""

        def with_sizes(record: Record) -> Record:
            body = change(record)
            return body and {name: record[name] for name in _SIZES if name in record} | body

        return self._session.change(
            self._dataset_path(pid), lambda: self._dataset(pid), with_sizes, f"dataset {pid}", "a change of"
        )

    def _say_complete(self, pid: str, record: Record) -> None:
        """Change the lifecycle: by an address of its own in the new interface, in the old one wholly."""
        if self._session.api() == "v4":
            path, body = f"{self._dataset_path(pid)}/datasetlifecycle", dict(records.COMPLETE_LIFECYCLE)
            answer = self._session.tell("PATCH", path, body)
            if answer.status != HTTPStatus.OK:
                raise answer.refusal(f"the completion of dataset {pid}")
            return
        held = {name: value for name, value in record["datasetlifecycle"].items() if name not in {"_id", "id"}}
        self._change(pid, lambda _: {"datasetlifecycle": held | records.COMPLETE_LIFECYCLE})

    def _create_dataset(self, wanted: NewDataset) -> Dataset | None:
        """Make a dataset for a member of its proposal; None where somebody else was quicker."""
        identity = self._proposals.identity(wanted.owner)
        proposal = self._proposals.require_allowed(identity, wanted.owner, wanted.investigation_id)
        one = self._proposals.read_active(proposal)
        profile = records.profile_of(identity)
        body = records.new_dataset(wanted, proposal, one, profile, self._session.api(), self._settings)
        answer = self._session.tell("POST", f"{self._session.api()}/datasets", body)
        if answer.status == HTTPStatus.CONFLICT:
            return None
        if answer.status != HTTPStatus.CREATED:
            raise answer.refusal(f"dataset {wanted.name!r}")
        made = records.read_dataset(answer.record())
        _require_same((body["pid"], wanted.name), (made.id, made.name))
        return made


def _require_same(asked: tuple[str, str], answered: tuple[str, str]) -> None:
    if asked != answered:
        raise CatalogueRefused(
            f"SciCat answered with {answered!r} when it was asked for {asked!r}; nothing was written to the wrong "
            "place. Compare the settings of pids and proposals with docs/catalogues/scicat.md, then retry."
        )
