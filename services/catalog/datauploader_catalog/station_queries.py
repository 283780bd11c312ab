"""Queries of stations to the catalog: which files it has of an upload of theirs, when they have forgotten it."""

import base64
from collections.abc import Iterator

from datauploader.contracts import Station, StoredFile
from datauploader.contracts.model import WireModel
from datauploader.contracts.questions import Datafiles, KnownDatafile, ListDatafiles, Question
from datauploader.errors import QuestionRefused
from datauploader.reliability import Store
from datauploader_catalog.claims import DatasetClaims
from datauploader_catalog.ledger import DatafileTable, OwningStations, SealTable, WantedDatasets

PAGE_BYTES = 256 * 1024
"""How long a page may become; a single file is always told."""


class StationQueries:
    """Answers the queries of stations from the ledger, and each station about its own uploads alone."""

    def __init__(self, store: Store) -> None:
        """Answer from this state."""
        self._store = store

    def __call__(self, question: Question, station: Station) -> WireModel:
        """Answer one question of a station.

        Raises:
            QuestionRefused: with a code (`unavailable`, `not-allowed`, `invalid-question`, `unknown-question`).
        """
        if not isinstance(question, ListDatafiles):
            raise QuestionRefused("unknown-question", f"the catalog does not answer {question.name} to stations")
        if self._store.needs_recovery:
            raise QuestionRefused("unavailable", "the catalog is still loading its history; ask again later")
        with self._store.reading() as db:
            home = OwningStations(db).station_of(question.upload_id)
            if home not in (None, station.key):
                raise QuestionRefused("not-allowed", f"{station.key} asks about an upload of another station")
            found = DatafileTable(db).known_files(question.upload_id, _raw(question.after), question.limit + 1)
            datasets = WantedDatasets(db)
            said = {
                "ensured": datasets.is_ensured(question.upload_id),
                "complete": DatasetClaims(db).claim_state(question.upload_id) == "complete",
                "asked": datasets.is_requested(question.upload_id),
                "sealed": SealTable(db).sealed_at(question.upload_id),
            }
            return _page(found, question).model_copy(update=said)


def _page(found: Iterator[tuple[StoredFile, bool]], question: ListDatafiles) -> Datafiles:
    items: list[KnownDatafile] = []
    filled = 0
    for stored, registered in found:
        if len(items) == question.limit or filled > PAGE_BYTES:
            return Datafiles(items=tuple(items), next=base64.b64encode(items[-1].stored.file.raw).decode())
        items.append(KnownDatafile(stored=stored, registered=registered))
        filled += len(stored.model_dump_json(exclude_none=True))
    return Datafiles(items=tuple(items))


def _raw(after: str) -> bytes:
    try:
        return base64.b64decode(after, validate=True)
    except ValueError as error:
        raise QuestionRefused("invalid-question", "`after` is none of the catalog's own `next`") from error
