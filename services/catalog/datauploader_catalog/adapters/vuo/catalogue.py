"""VUO, the user office of Elettra and CERIC, as a `Catalogue`.

`identify` and `authorise` are known from a public client; every other procedure is assumed: its name, its
parameters and its answers are those of docs/catalogues/vuo.md, which a facility implements or maps.
"""

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from datauploader.contracts.questions import CatalogueAbout
from datauploader.plugins.catalogue.batches import batches
from datauploader.plugins.catalogue.ensure import ensure
from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogueForbids,
    CatalogueRefused,
    NoSuchInvestigation,
    NotYetThere,
    UnknownSession,
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
from datauploader_catalog.adapters.vuo import answers
from datauploader_catalog.adapters.vuo.answers import VuoAnswer, accepted, is_id, read_answer
from datauploader_catalog.adapters.vuo.contents import read_contents, write_datafile
from datauploader_catalog.adapters.vuo.wire import VuoWire
from datauploader_catalog.settings import VuoSettings

_SESSION = re.compile(r"[\x21-\x7e]{1,4096}")


class VuoCatalogue:
    """Speaks to VUO; may be used from any number of threads."""

    def __init__(self, settings: VuoSettings) -> None:
        self._settings = settings
        self._procedures = settings.procedures
        self._wire = VuoWire(settings)

    @property
    def may_create(self) -> bool:
        """There is a procedure for it (assumed)."""
        return True

    about = CatalogueAbout()
    """What the defaults say."""

    def sign_in(self, username: str, password: SecretStr) -> CatalogueUser:
        """Refuse: VUO lets nobody but itself ask for its passwords."""
        del username, password
        raise UnknownSession("VUO takes no passwords from here; sign in with a VUO session.")

    def identify(self, session: SecretStr) -> CatalogueUser:
        """Ask whose `vuo_session` this is (known)."""
        cookie = session.get_secret_value()
        if not _SESSION.fullmatch(cookie):
            raise UnknownSession("This is not a VUO session; sign in to the VUO and try again.")
        form = {"cookie": cookie, "what_detail": "unix"}
        return answers.read_user(self._wire.read(self._procedures.identify, form))

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Ask where the user's data of this investigation belong (known)."""
        if not (is_id(user_id) and is_id(investigation_id)):
            raise CatalogueForbids(f"User {user_id!r} or investigation {investigation_id!r} is not a valid VUO id.")
        form = {
            "FRM_HASH": self._wire.signature(user_id, investigation_id),
            "FRM_USR_ID": user_id,
            "FRM_INVESTIGATION_ID": investigation_id,
        }
        text = self._wire.read(self._procedures.authorise, form)
        return answers.read_grant(text, user_id, investigation_id)

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List what is the user's (assumed)."""
        text = self._read(self._procedures.list_investigations, {"FRM_USR_ID": user_id})
        return answers.read_investigations(text)

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Fetch an investigation by its id (assumed)."""
        found = self._find_investigation({"FRM_INVESTIGATION_ID": investigation_id, "FRM_NAME": "", "FRM_VISIT": ""})
        if found is None:
            raise NoSuchInvestigation(
                f"VUO has no investigation {investigation_id!r}; choose one of those that are listed for you."
            )
        return found

    def ensure_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation:
        """Find the investigation by name and visit, or create it (assumed)."""
        key = {"FRM_INVESTIGATION_ID": "", "FRM_NAME": wanted.name, "FRM_VISIT": wanted.visit}
        found = ensure(lambda: self._find_investigation(key), lambda: self._create_investigation(wanted))
        _require_same((wanted.name, wanted.visit), (found.name, found.visit))
        return found

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Look the dataset up by investigation and name (assumed)."""
        key = {"FRM_INVESTIGATION_ID": investigation_id, "FRM_NAME": name}
        answer = _found(self._read(self._procedures.find_dataset, key))
        if answer is None:
            return None
        found = answers.read_dataset(answer)
        _require_same((investigation_id, name), (found.investigation_id, found.name))
        return found

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Find the dataset by investigation and name, or create it (assumed)."""
        key = wanted.investigation_id, wanted.name
        found = ensure(lambda: self.find_dataset(*key), lambda: self._create_dataset(wanted))
        _require_same(key, (found.investigation_id, found.name))
        return found

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Send the datafiles as JSON, in as many requests as the settings' limits ask for (assumed)."""
        limits = self._settings
        for batch in batches(map(write_datafile, datafiles), most=limits.batch_files, most_bytes=limits.batch_bytes):
            form = {"FRM_DATASET_ID": dataset_id, "FRM_DATAFILES": f"[{','.join(batch)}]"}
            counted = answers.read_count(self._write(self._procedures.add_datafiles, form))
            if counted != len(batch):
                raise BadAnswer(
                    f"VUO says that it registered {counted} datafiles of dataset {dataset_id} where "
                    f"{len(batch)} were sent; they are sent again."
                )

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Send the parameters as JSON (assumed)."""
        if not parameters:
            return
        rows = [{"name": p.name, "value": p.value, "units": p.units} for p in parameters]
        form = {
            "FRM_DATASET_ID": dataset_id,
            "FRM_DATAFILE": datafile or "",
            "FRM_PARAMETERS": json.dumps(rows, allow_nan=False),
        }
        answer = read_answer(self._write(self._procedures.add_parameters, form))
        if answer.status == "ABSENT" and datafile is not None:
            raise NotYetThere(f"VUO has no datafile {datafile!r} in dataset {dataset_id} yet; they are retried.")
        accepted(answer)

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Set the description (assumed)."""
        form = {"FRM_USR_ID": by, "FRM_DATASET_ID": dataset_id, "FRM_DESCRIPTION": description}
        accepted(read_answer(self._write(self._procedures.describe_dataset, form)))

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Set the description (assumed)."""
        form = {"FRM_USR_ID": by, "FRM_INVESTIGATION_ID": investigation_id, "FRM_DESCRIPTION": description}
        accepted(read_answer(self._write(self._procedures.describe_investigation, form)))

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Mark the dataset as complete (assumed)."""
        answer = read_answer(self._write(self._procedures.complete_dataset, {"FRM_DATASET_ID": dataset_id}))
        return answers.read_dataset(accepted(answer))

    def dataset_contents(self, dataset_id: str) -> RegisteredContents:
        """Fetch what VUO holds of a dataset (assumed, and only for checks)."""
        return read_contents(self._read(self._procedures.show_dataset, {"FRM_DATASET_ID": dataset_id}))

    def dataset_url(self, dataset_id: str) -> str:
        """Fill the dataset's id into the configured address of its page."""
        return self._settings.dataset_url(dataset_id)

    def probe_catalogue(self) -> None:
        """Ask for a session that cannot exist: being told so is the sign of health."""
        try:
            self.identify(SecretStr("health-check"))
        except UnknownSession:
            return

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()

    def _find_investigation(self, key: Mapping[str, str]) -> CatalogueInvestigation | None:
        answer = _found(self._read(self._procedures.find_investigation, key))
        return None if answer is None else answers.read_investigation(answer.rest)

    def _create_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation | None:
        form = {
            "FRM_USR_ID": wanted.owner,
            "FRM_NAME": wanted.name,
            "FRM_VISIT": wanted.visit,
            "FRM_TITLE": wanted.title,
            "FRM_BEAMLINE": wanted.beamline,
            "FRM_START": wanted.start.isoformat() if wanted.start else "",
            "FRM_END": wanted.end.isoformat() if wanted.end else "",
        }
        answer = _created(self._write(self._procedures.create_investigation, form))
        return None if answer is None else answers.read_investigation(answer.rest)

    def _create_dataset(self, wanted: NewDataset) -> Dataset | None:
        form = {
            "FRM_USR_ID": wanted.owner,
            "FRM_INVESTIGATION_ID": wanted.investigation_id,
            "FRM_NAME": wanted.name,
            "FRM_LOCATION": wanted.location,
            "FRM_DESCRIPTION": wanted.description,
            "FRM_TYPE": wanted.type,
        }
        answer = _created(self._write(self._procedures.create_dataset, form))
        return None if answer is None else answers.read_dataset(answer)

    def _read(self, procedure: str, form: Mapping[str, str]) -> str:
        return self._wire.read(procedure, self._wire.sign(procedure, form))

    def _write(self, procedure: str, form: Mapping[str, str]) -> str:
        return self._wire.write(procedure, self._wire.sign(procedure, form))


def _found(text: str) -> VuoAnswer | None:
    """Return what was found; None is for the one word that says "absent"."""
    answer = read_answer(text)
    return None if answer.status == "ABSENT" else accepted(answer)


def _created(text: str) -> VuoAnswer | None:
    """Return what was created; None when VUO says that it exists already."""
    answer = read_answer(text)
    return None if answer.status == "CONFLICT" else accepted(answer)


def _require_same(asked: tuple[str, str], answered: tuple[str, str]) -> None:
    if asked != answered:
        raise CatalogueRefused(
            f"VUO answered with {answered!r} when it was asked for {asked!r}; nothing was written to the wrong "
            "place. Compare VUO's look-up with docs/catalogues/vuo.md, then retry."
        )
