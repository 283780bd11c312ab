"""Files and folders as a catalogue.

    ROOT/catalogue.json                           says that the folder is there, and not only where it is to be mounted
    ROOT/INVESTIGATION/investigation.json         made by an administrator, or by people where that is allowed
    ROOT/INVESTIGATION/DATASET/dataset.json       name, location, description, complete
                               datafiles.jsonl    one line for each registration; of one path the last counts
                               parameters.jsonl   likewise
                               ro-crate-metadata.json   once the dataset is complete

A folder is made by whoever is first, and nobody is first twice: that makes investigations and datasets exist once.
"""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
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
from datauploader_catalogue_folder.crate import crate_of
from datauploader_catalogue_folder.journal import (
    append_lines,
    read_document,
    read_lines,
    read_lines_from,
    sync_folder,
    write_document,
)

MARK = "catalogue.json"
"""Whoever makes a new catalogue puts this file into its folder; its content is left alone."""
ABOUT, DATASET, FILES, VALUES = "investigation.json", "dataset.json", "datafiles.jsonl", "parameters.jsonl"
CRATE = "ro-crate-metadata.json"


class FolderCatalogue:
    """Keeps every promise of the port with files alone; several processes may use one folder."""

    def __init__(self, root: Path, *, may_create: bool = False, page: str = "", base_dir: str = "/{id}") -> None:
        """Use the catalogue in `root`.

        Args:
            root: its folder, which must be there.
            may_create: whether people may make investigations.
            page: address of a server that shows `root`, before `/datasets/ID`.
            base_dir: where the data of an investigation belong that does not say so, with `{id}` in it.
        """
        self._root, self.may_create, self._page, self._base_dir = root, may_create, page.rstrip("/"), base_dir
        self._lock = threading.RLock()
        self._known: tuple[Path, int, dict[str, str]] = (root, 0, {})
        """Of the dataset that was asked for last: how far its list was read, and the checksums by path."""

    about = CatalogueAbout(system="The catalogue", session="", session_help="")

    def sign_in(self, username: str, password: SecretStr) -> CatalogueUser:
        """Know nobody, as `identify`."""
        del username
        return self.identify(password)

    def identify(self, session: SecretStr) -> CatalogueUser:
        """Know nobody: people sign in at the gateway, with a local account or at an identity provider."""
        del session
        with self._doing("identify"):
            raise UnknownSession("This catalogue has no sessions; sign in with an account of the facility.")

    def investigations(self, user_id: str) -> tuple[CatalogueInvestigation, ...]:
        """List those whose members this user is among."""
        with self._doing("list_investigations", user_id):
            return tuple(self._shown(one) for one in self._all() if user_id in one["members"])

    def authorise(self, user_id: str, investigation_id: str) -> Grant:
        """Look the membership up."""
        with self._doing("authorise", user_id, investigation_id):
            return Grant(self._shown(self._open_to(user_id, investigation_id)).base_dir)

    def investigation(self, investigation_id: str) -> CatalogueInvestigation:
        """Read one investigation."""
        with self._doing("find_investigation", investigation_id):
            return self._shown(self._investigation(investigation_id))

    def investigations_named(self, name: str) -> tuple[CatalogueInvestigation, ...]:
        """Look investigations up by their name."""
        with self._doing("find_investigation", name):
            return tuple(self._shown(one) for one in self._all() if one["name"] == name)

    def ensure_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation:
        """Find by name and visit, or make its folder."""
        return ensure(lambda: self._find_investigation(wanted), lambda: self._create_investigation(wanted))

    def find_dataset(self, investigation_id: str, name: str) -> Dataset | None:
        """Look into the folder that a dataset of this name has."""
        with self._doing("find_dataset", name):
            folder = self._folder_of(investigation_id) / _digest(name)
            return _dataset(read_document(folder / DATASET)) if (folder / DATASET).exists() else None

    def ensure_dataset(self, wanted: NewDataset) -> Dataset:
        """Find by investigation and name, or make its folder."""
        key = wanted.investigation_id, wanted.name
        return ensure(lambda: self.find_dataset(*key), lambda: self._create_dataset(wanted))

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Add a line for each; a complete dataset takes no other ones."""
        if not datafiles:
            return
        with self._doing("add_datafiles", dataset_id, *(new.path for new in datafiles)):
            folder = self._dataset_folder(dataset_id)
            new = [asdict(datafile) for datafile in datafiles]
            if read_document(folder / DATASET)["completed"]:
                known = self._checksums(folder)
                if any(known.get(one["path"]) != one["checksum"] for one in new):
                    raise CatalogueRefused(f"Dataset {dataset_id} is complete; put new files into another one.")
                return
            append_lines(folder / FILES, new)

    def attach_parameters(
        self, dataset_id: str, parameters: Sequence[NamedValue], *, datafile: str | None = None
    ) -> None:
        """Add a line for each."""
        if not parameters:
            return
        with self._doing("add_parameters", dataset_id, *(new.name for new in parameters), datafile or ""):
            folder = self._dataset_folder(dataset_id)
            if datafile is not None and datafile not in self._checksums(folder):
                raise NotYetThere(f"The catalogue has no datafile {datafile!r} in dataset {dataset_id} yet.")
            append_lines(folder / VALUES, ({"datafile": datafile or "", **asdict(one)} for one in parameters))
            self._describe_again(folder)

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Keep the description; only members may change it."""
        with self._doing("describe_dataset", dataset_id):
            folder = self._dataset_folder(dataset_id)
            held = read_document(folder / DATASET)
            self._require_member(by, held["investigation_id"])
            write_document(folder / DATASET, held | {"description": description})
            self._describe_again(folder)

    def describe_investigation(self, investigation_id: str, description: str, by: str) -> None:
        """Keep the description; only members may change it."""
        with self._doing("describe_investigation", investigation_id):
            held = self._require_member(by, investigation_id)
            write_document(self._folder_of(investigation_id) / ABOUT, held | {"description": description})

    def complete_dataset(self, dataset_id: str) -> Dataset:
        """Write the RO-Crate, then say that the dataset is complete."""
        with self._doing("complete_dataset", dataset_id):
            folder = self._dataset_folder(dataset_id)
            held = read_document(folder / DATASET)
            if not held["completed"]:
                held["completed"] = datetime.now(UTC).isoformat(timespec="seconds")
                self._write_crate(folder, held)
                write_document(folder / DATASET, held)
            return _dataset(held)

    def dataset_url(self, dataset_id: str) -> str:
        """Return the address of the dataset at the server that shows the folder; "" where there is none."""
        return f"{self._page}/datasets/{quote(dataset_id, safe='')}" if self._page else ""

    def dataset_contents(self, dataset_id: str) -> RegisteredContents:
        """Read a dataset's lists."""
        with self._doing("dataset_contents", dataset_id):
            folder = self._dataset_folder(dataset_id)
            values = {(one["datafile"], one["name"]): one for one in read_lines(folder / VALUES)}
            return RegisteredContents(
                read_document(folder / DATASET)["description"],
                tuple(Datafile(**one) for one in self._datafiles(folder).values()),
                tuple((path, NamedValue(name, one["value"], one["units"])) for (path, name), one in values.items()),
            )

    def remove_dataset(self, dataset_id: str) -> str:
        """Remove a dataset's folder."""
        with self._doing("remove_dataset", dataset_id):
            shutil.rmtree(self._dataset_folder(dataset_id))
            self._known = self._root, 0, {}
            return ""

    def probe_catalogue(self) -> None:
        """Raise unless the folder is there."""
        with self._doing("identify"):
            return

    def close(self) -> None:
        """Hold nothing that needs closing."""

    def _find_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation | None:
        with self._doing("find_investigation", wanted.name):
            key = wanted.name, wanted.visit
            return next((self._shown(one) for one in self._all() if (one["name"], one["visit"]) == key), None)

    def _create_investigation(self, wanted: NewInvestigation) -> CatalogueInvestigation | None:
        with self._doing("create_investigation", wanted.name):
            new = _digest(f"{wanted.name}\n{wanted.visit}")
            made = {
                "name": wanted.name,
                "visit": wanted.visit,
                "title": wanted.title,
                "members": [wanted.owner] if wanted.owner else [],
                "beamline": wanted.beamline,
                "start": wanted.start and wanted.start.isoformat(),
                "end": wanted.end and wanted.end.isoformat(),
            }
            if not _make_folder(self._root / new, ABOUT, made):
                return None
            return self._shown(made | {"id": new})

    def _create_dataset(self, wanted: NewDataset) -> Dataset | None:
        with self._doing("create_dataset", wanted.name):
            self._open_to(wanted.owner, wanted.investigation_id)
            folder = self._folder_of(wanted.investigation_id) / _digest(wanted.name)
            made = {"id": f"{wanted.investigation_id}/{folder.name}", **asdict(wanted), "completed": ""}
            return _dataset(made) if _make_folder(folder, DATASET, made) else None

    def _all(self) -> list[dict[str, Any]]:
        return [self._investigation(path.parent.name) for path in sorted(self._root.glob(f"[!.]*/{ABOUT}"))]

    def _folder_of(self, investigation_id: str) -> Path:
        """Name the folder of an investigation; an id that is no plain name leads nowhere else."""
        plain = investigation_id and all(sign.isalnum() or sign in "._- " for sign in investigation_id)
        if not plain or investigation_id.startswith("."):
            raise NoSuchInvestigation(f"The catalogue has no investigation {investigation_id!r}.")
        return self._root / investigation_id

    def _investigation(self, investigation_id: str) -> dict[str, Any]:
        path = self._folder_of(investigation_id) / ABOUT
        try:
            held = read_document(path)
            return held | {"id": investigation_id, "members": [str(one) for one in held.get("members", ())]}
        except FileNotFoundError:
            raise NoSuchInvestigation(f"The catalogue has no investigation {investigation_id!r}.") from None

    def _shown(self, held: dict[str, Any]) -> CatalogueInvestigation:
        start, end = (date.fromisoformat(held[key]) if held.get(key) else None for key in ("start", "end"))
        return CatalogueInvestigation(
            held["id"], held["name"], held["visit"], held["title"],
            held.get("base_dir") or self._base_dir.format(id=held["id"]),
            active=not held.get("closed"), reason=held.get("closed") or "",
            beamline=str(held.get("beamline") or ""), start=start, end=end,
            principal_investigator=str(held.get("principal_investigator") or ""),
            description=str(held.get("description") or ""),
        )  # fmt: skip

    def _require_member(self, user_id: str, investigation_id: str) -> dict[str, Any]:
        try:
            held = self._investigation(investigation_id)
        except NoSuchInvestigation:
            held = {"members": ()}
        if not held["members"] or (user_id and user_id not in held["members"]):
            words = f"User {user_id} does not belong to investigation {investigation_id}."
            raise CatalogueForbids(words, words=words)
        return held

    def _open_to(self, user_id: str, investigation_id: str) -> dict[str, Any]:
        held = self._require_member(user_id, investigation_id)
        if held.get("closed"):
            raise CatalogueForbids(f"Investigation {investigation_id} is closed.", words=str(held["closed"]))
        return held

    def _dataset_folder(self, dataset_id: str) -> Path:
        investigation_id, _, name = dataset_id.partition("/")
        if name.isalnum():
            folder = self._folder_of(investigation_id) / name
            if (folder / DATASET).exists():
                return folder
        raise CatalogueRefused(f"The catalogue has no dataset {dataset_id!r}; it may have been removed there.")

    def _datafiles(self, folder: Path) -> dict[str, dict[str, Any]]:
        return {one["path"]: one for one in read_lines(folder / FILES)}

    def _checksums(self, folder: Path) -> dict[str, str]:
        """Return the checksum of each registered path; of the list, only what is new is read."""
        of, place, known = self._known if self._known[0] == folder else (folder, 0, {})
        for end, one in read_lines_from(folder / FILES, place):
            known[one["path"]], place = one["checksum"], end
        self._known = of, place, known
        return known

    def _describe_again(self, folder: Path) -> None:
        held = read_document(folder / DATASET)
        if held["completed"]:
            self._write_crate(folder, held)

    def _write_crate(self, folder: Path, held: dict[str, Any]) -> None:
        values = {(one["datafile"], one["name"]): one for one in read_lines(folder / VALUES)}
        about = self._investigation(held["investigation_id"])
        write_document(folder / CRATE, crate_of(about, held, self._datafiles(folder), values))

    @contextmanager
    def _doing(self, operation: str, *mentioned: str) -> Iterator[None]:
        """Let one operation be at work at a time, and say of the folder's errors whether another try can help.

        A share that is not mounted is an empty folder: what is absent while the mark is gone is not known to be absent.
        """
        del operation, mentioned
        with self._lock:
            try:
                try:
                    yield
                finally:
                    (self._root / MARK).stat()
            except OSError as error:
                why = error.strerror or error
                raise CatalogueUnavailable(
                    f"The catalogue in {self._root} cannot be read or written: {why}."
                ) from error
            except (ValueError, KeyError, TypeError) as error:
                raise BadAnswer(f"A file of the catalogue in {self._root} cannot be read: {error!r}.") from error


def _make_folder(folder: Path, name: str, document: dict[str, Any]) -> bool:
    """Make a folder with one document in it, or find that somebody was quicker."""
    if (folder / name).exists():
        return False
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        write_document(draft / name, document)
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if (folder / name).exists():
            return False
        raise
    sync_folder(folder.parent)
    return True


def _dataset(held: dict[str, Any]) -> Dataset:
    return Dataset(
        held["id"], held["investigation_id"], held["name"], held["location"], complete=bool(held["completed"])
    )


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
