"""Whose dataset it is: the first upload that asks for a name has it, and hands it on to nobody but its own person.

The catalog hears every request in one queue, so it decides between two that come at the same moment. A claim is judged
once, by the worker that is about to ensure the dataset, and never while the event log is still being read.
"""

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from datauploader.contracts import DatasetRefused, Event, UploadRequested, decode
from datauploader.contracts.names import numbered, same_look
from datauploader.contracts.questions import DatasetHolder, DatasetState
from datauploader.plugins.catalogue.port import Dataset
from datauploader.reliability import Schema, Store
from datauploader_catalog.persons import RULE

SCHEMA = Schema(
    "claims",
    (
        """
        CREATE TABLE claims (
            number INTEGER PRIMARY KEY,        -- in the order in which the requests were heard
            upload_id TEXT NOT NULL UNIQUE,
            investigation TEXT NOT NULL,
            name TEXT NOT NULL,                -- of the dataset, in Unicode's form C
            person TEXT NOT NULL,              -- as in requested_by
            station TEXT NOT NULL,
            state TEXT NOT NULL,               -- wanted, open, unknown, complete, continued, refused, rejected
            cancelled INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX claims_dataset ON claims (investigation, name);
        CREATE INDEX claims_wanted ON claims (state) WHERE state = 'wanted';
        """,
    ),
)
_HOLD = ("open", "unknown", "complete")
_GOES_ON = ("open", "unknown", "continued", "refused")
"""States whose objects a later upload of the same person may replace; a rejected upload has stored nothing."""
_MOST = 50
"""As many uploads as one request can name."""
_TRIES = 50
_NUMBER = re.compile(r" \([0-9]{1,4}\)$")
ANOTHER_NAME = "Start a new upload with another dataset name; stored files are kept as they are."


@dataclass(frozen=True, slots=True)
class DatasetClaim:
    """A claim of one upload to a dataset: a row of the table `claims`."""

    upload_id: str
    person: str
    station: str
    state: str
    cancelled: bool

    @property
    def owner(self) -> tuple[str, str]:
        """Who may go on with the dataset: a person from any station, a rule at its own alone."""
        return owner_key(self.person, self.station)

    @property
    def at_work(self) -> bool:
        """It may still write."""
        return self.state == "open" and not self.cancelled

    @property
    def shown(self) -> str:
        """How it stands, in one word."""
        return "cancelled" if self.cancelled and self.state in ("open", "unknown") else self.state


def owner_key(person: str, station: str) -> tuple[str, str]:
    """Name who asks; a rule of one station has nothing to do with its namesake at another one."""
    return (person, station) if person.startswith(RULE) else (person, "")


class DatasetClaims:
    """Claims to datasets: the table `claims`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_claim(self, event: Event[UploadRequested], state: str = "wanted") -> None:
        """Remember that an upload wants its dataset; it is judged later."""
        data = event.data
        self._db.execute(
            "INSERT OR IGNORE INTO claims (upload_id, investigation, name, person, station, state)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                data.upload_id, data.investigation, _key(data.dataset.name), data.requested_by.id, event.station.key,
                state,
            ),
        )  # fmt: skip

    def claim_existing(self) -> None:
        """Claim for the uploads of an earlier release's state file what they have; nobody knows who was cancelled."""
        query = (
            "SELECT request, state FROM uploads WHERE upload_id NOT IN (SELECT upload_id FROM claims) ORDER BY rowid"
        )
        for row in self._db.execute(query).fetchall():
            event = cast("Event[UploadRequested]", decode(row["request"]))
            state = {"completed": "complete", "refused": "refused"}.get(row["state"], "unknown")
            self.add_claim(event, state)

    def set_claim_state(self, upload_id: str, state: str) -> None:
        """Note how an upload stands with its dataset."""
        self._db.execute("UPDATE claims SET state = ? WHERE upload_id = ?", (state, upload_id))

    def cancel_claim(self, upload_id: str) -> None:
        """Note that an upload writes nothing more; its dataset stays its person's."""
        self._db.execute("UPDATE claims SET cancelled = 1 WHERE upload_id = ?", (upload_id,))

    def claim_state(self, upload_id: str) -> str:
        """Return how an upload stands with its dataset, "" where nothing is known of it."""
        row = self._db.execute("SELECT state FROM claims WHERE upload_id = ?", (upload_id,)).fetchone()
        return row["state"] if row else ""

    def is_cancelled(self, upload_id: str) -> bool:
        """Tell whether somebody has cancelled an upload."""
        row = self._db.execute("SELECT cancelled FROM claims WHERE upload_id = ?", (upload_id,)).fetchone()
        return bool(row and row["cancelled"])

    def settle_claims(self) -> Iterator[tuple[Event[UploadRequested], DatasetRefused]]:
        """Judge all that are not judged yet, in the order in which they were heard; yield those that are refused.

        An upload whose dataset was ensured before, as the log says, comes first: it may have written already.
        """
        rows = self._db.execute(
            "SELECT u.request, u.dataset_id FROM claims c JOIN uploads u USING (upload_id) WHERE c.state = 'wanted'"
            " ORDER BY u.dataset_id = '', c.number"
        ).fetchall()
        for row in rows:
            event = cast("Event[UploadRequested]", decode(row["request"]))
            refusal = None if row["dataset_id"] else self._judge(event)
            self.set_claim_state(event.data.upload_id, "refused" if refusal else "open")
            if refusal:
                yield event, refusal

    def _judge(self, event: Event[UploadRequested]) -> DatasetRefused | None:
        wanted = event.data
        me = owner_key(wanted.requested_by.id, event.station.key)
        others = [
            one
            for one in self.claims_of(wanted.investigation, wanted.dataset.name)
            if one.upload_id != wanted.upload_id
        ]
        holders = [one for one in others if one.state in _HOLD]
        if any(one.state == "complete" for one in holders):
            return _refusal(wanted, *complete_refusal(wanted.dataset.name), ANOTHER_NAME)
        mine = {one.upload_id for one in others if one.owner == me and one.state in _GOES_ON}
        if any(one.upload_id not in wanted.continues for one in holders) or not mine.issuperset(wanted.continues):
            detail = f"The dataset {wanted.dataset.name} belongs to another upload, so nothing can be added to it."
            return _refusal(wanted, "dataset-in-use", detail, ANOTHER_NAME)
        if any(one.at_work for one in holders):
            detail = f"Another upload of yours is still writing to the dataset {wanted.dataset.name}."
            hint = "Cancel that upload first, or choose another dataset name."
            return _refusal(wanted, "dataset-in-use", detail, hint)
        for one in holders:
            self.set_claim_state(one.upload_id, "continued")
            self._db.execute("UPDATE uploads SET state = 'continued' WHERE upload_id = ?", (one.upload_id,))
        return None

    def claims_of(self, investigation: str, name: str) -> list[DatasetClaim]:
        """Return all claims to a dataset, in the order in which they were heard."""
        rows = self._db.execute(
            "SELECT * FROM claims WHERE investigation = ? AND name = ? ORDER BY number", (investigation, _key(name))
        ).fetchall()
        return [
            DatasetClaim(row["upload_id"], row["person"], row["station"], row["state"], bool(row["cancelled"]))
            for row in rows
        ]


def complete_refusal(dataset: str) -> tuple[str, str]:
    """Say that a dataset takes nothing more: reason and sentence."""
    return "dataset-complete", f"The dataset {dataset} is already complete, so nothing more can be added to it."


def _refusal(wanted: UploadRequested, reason: str, detail: str, hint: str) -> DatasetRefused:
    return DatasetRefused(upload_id=wanted.upload_id, reason=reason, detail=detail, hint=hint)


def claim_lookup(store: Store, investigation: str) -> Callable[[str], list[DatasetClaim]]:
    """Return the look-up of an investigation's claims by the dataset's name."""

    def of(name: str) -> list[DatasetClaim]:
        with store.reading() as db:
            return DatasetClaims(db).claims_of(investigation, name)

    return of


def find_lookalike(store: Store, investigation: str, name: str) -> str:
    """Return another dataset of an investigation whose name looks the same, "" where there is none."""
    query = "SELECT DISTINCT name FROM claims WHERE investigation = ? AND name <> ? AND state <> 'rejected'"
    with store.reading() as db:
        names = [row["name"] for row in db.execute(query, (investigation, _key(name)))]
    return next((one for one in names if same_look(one) == same_look(name)), "")


def find_conflict(
    held: Callable[[str], list[DatasetClaim]],
    find: Callable[[str], Dataset | None],
    url: Callable[[str], str],
    name: str,
    user_id: str,
    alike: str = "",
) -> DatasetState:
    """Say what stands in the way of a new upload of this person that becomes this dataset.

    Args:
        held: the claims by the dataset's name, see `claim_lookup`.
        find: asks the catalogue for a dataset by its name.
        url: gives the address of a dataset's page.
        name: the dataset's.
        user_id: who asks.
        alike: see `DatasetState.alike`.
    """
    claims = held(name)
    found = find(name)
    reason, detail, holder = _in_the_way(claims, found, name, user_id)
    mine = tuple(one.upload_id for one in claims if one.person == user_id and one.state in _GOES_ON)
    suggestion = ""
    if reason:  # the first of `name (2)`, `name (3)`, … that nobody has
        had = _NUMBER.search(name)
        stem, first = (name[: had.start()], int(had[0].strip(" ()")) + 1) if had else (name, 2)
        others = (numbered(stem, number) for number in range(max(first, 2), max(first, 2) + _TRIES))
        free = (one for one in others if all(claim.state == "rejected" for claim in held(one)) and not find(one))
        suggestion = next(free, "")
    return DatasetState(
        free=not reason,
        reason=reason,
        detail=detail,
        exists=found is not None,
        complete=found is not None and found.complete,
        dataset_id=found.id if found else "",
        url=url(found.id) if found else "",
        held_by=holder and DatasetHolder(
            upload_id=holder.upload_id, person=holder.person, station=holder.station, state=holder.shown
        ),
        may_continue=mine[-_MOST:] if reason == "dataset-continues" else (),
        suggestion=suggestion,
        alike=alike,
    )  # fmt: skip


def _in_the_way(
    claims: Sequence[DatasetClaim], found: Dataset | None, name: str, user_id: str
) -> tuple[str, str, DatasetClaim | None]:
    holders = [one for one in claims if one.state in _HOLD] or [one for one in claims if one.state == "wanted"]
    holder = holders[-1] if holders else None
    if (found is not None and found.complete) or (holder is not None and holder.state == "complete"):
        return *complete_refusal(name), holder
    if holder is not None and holder.person != user_id:
        return "dataset-in-use", f"An upload of another person is writing to the dataset {name}.", holder
    if holder is not None and (holder.at_work or (holder.state == "wanted" and not holder.cancelled)):
        return "dataset-open", f"An upload of yours is already writing to the dataset {name}.", holder
    mine = next((one for one in reversed(claims) if one.person == user_id and one.state in _GOES_ON), None)
    if mine is not None:
        how = {"cancelled": "was cancelled", "refused": "was refused"}.get(mine.shown, "did not complete it")
        detail = f"An earlier upload of yours started the dataset {name} and {how}; its files may already be stored."
        return "dataset-continues", detail, mine
    return "", "", None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name)
