"""Synchronises descriptions of datasets and investigations to the catalogue: one thread, the latest of each.

One thread for all, so that no earlier description can overtake a later one on its way to the catalogue. It is apart
from the workers: neither does a description that the catalogue will not take hold up files, nor a long upload a
description.
"""

import sqlite3
import time
from collections.abc import Sequence

import structlog

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetDescribed,
    DatasetPartlyRefused,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
)
from datauploader.contracts.envelope import natural_id
from datauploader.plugins.catalogue import port
from datauploader.plugins.catalogue.errors import BadAnswer, CatalogError, CatalogueRefused
from datauploader.reliability import Outbox, Store
from datauploader.reliability.worker import PeriodicTask
from datauploader.runtime.crash_points import crash_point
from datauploader_catalog.contents import attach
from datauploader_catalog.description_queue import DescriptionQueue, QueuedDescription
from datauploader_catalog.objections import LONGEST_PAUSE_S, RARE_S, GracePeriod, Objections, is_away, pause_s, rare_s

log = structlog.get_logger()

DATASET_PAUSE_S = 1.0
"""How often it is looked whether the dataset is there that a description waits for."""


def outcome_event(description: QueuedDescription, refusal: str = "") -> EventData:
    """Say what has become of a description."""
    data, event = description.event.data, description.event
    said = {"word": event.id, "said": event.time, "sequence": event.sequence, "refusal": refusal[:2000]}
    if isinstance(data, DatasetDescribed):
        return DatasetAnnotated(upload_id=data.upload_id, dataset_id=description.dataset_id, **said)
    return InvestigationAnnotated(investigation=data.investigation, **said)


class DescriptionSync(PeriodicTask):
    """Synchronises descriptions, in a thread of its own."""

    def __init__(self, store: Store, outbox: Outbox, catalogue: port.Catalogue, grace: GracePeriod) -> None:
        """Prepare; nothing runs before `start`."""
        super().__init__("catalogue.words")
        self._store, self._outbox, self._catalogue = store, outbox, catalogue
        self._grace = grace
        self._longest_s = RARE_S
        self._trouble: dict[str, str] = {}

    @property
    def problems(self) -> Sequence[str]:
        """The sentences of what keeps descriptions waiting now."""
        return tuple(dict.fromkeys(self._trouble.copy().values()))

    @property
    def stumbling(self) -> str:
        """Why nothing at all can be done, "" where that is not so: the state file, or a thread that has ended."""
        return self._trouble.get("", "") or self._thread.problem

    @property
    def lasting(self) -> Sequence[str]:
        """Why descriptions wait that have waited too long."""
        with self._store.reading() as db:
            since = DescriptionQueue(db).oldest_waiting(time.time() - self._grace.seconds)
        troubles = self._trouble.copy()
        return tuple(f"A description waits: {troubles[subject]}" for subject in since if subject in troubles)

    def take_turn(self) -> float:
        """Tell one description, and say where even that cannot be tried."""
        try:
            pause = self._step()
        except sqlite3.DatabaseError as error:  # a full disk; what is to be told is still in the ledger
            log.warning("state_file_write_failed", problem=str(error))
            self._trouble[""] = f"the catalog cannot use its state file ({error}): free space on its disk"
            return 1.0
        except Exception as error:  # the boundary of the thread: what is to be told is still in the ledger
            log.exception("description_worker_failed")
            name = type(error).__name__
            self._trouble[""] = f"an unexpected error ({name}) keeps descriptions waiting; the catalog's log says more"
            return 1.0
        self._trouble.pop("", None)
        return pause

    def _step(self) -> float:
        """Tell one description; return how long to wait for the next."""
        now = time.time()
        with self._store.reading() as db:
            queue = DescriptionQueue(db)
            description = queue.next_description(now, self._longest_s)
            due, waiting = queue.next_description_due(), queue.has_waiting_descriptions()
        if description is not None:
            self._tell(description)
            return 0.0
        pause = LONGEST_PAUSE_S if due is None else min(due - now, LONGEST_PAUSE_S)
        return min(pause, DATASET_PAUSE_S) if waiting else pause

    def _tell(self, description: QueuedDescription) -> None:
        try:
            refused = self._ask_catalogue(description)
        except CatalogueRefused as error:
            refused = error
        except CatalogError as error:
            self._later(description, error)
            return
        except sqlite3.OperationalError:  # a full disk: the thread waits for room
            raise
        except Exception as error:  # the boundary of one description: the others must go on
            log.exception("description_failed", subject=description.subject)
            self._later(
                description, BadAnswer(f"an unexpected error ({type(error).__name__}); the catalog's log says more")
            )
            return
        if refused is not None:
            log.warning("description_refused", subject=description.subject, problem=str(refused))
        refusal = str(refused or "")[:2000]
        fact = outcome_event(description, refusal)
        identity = natural_id(type(fact), description.subject, description.event.id, refusal)
        with self._store.transaction() as db:
            if DescriptionQueue(db).mark_told(description, refusal):
                Outbox.put(db, description.event.follow(fact, service="catalog", id=identity))
                if description.dataset_id and Objections(db).supersede_metadata(description.event.data.upload_id):
                    over = DatasetPartlyRefused(
                        upload_id=description.event.data.upload_id, dataset_id=description.dataset_id, metadata=""
                    )
                    Outbox.put(db, description.event.follow(over, service="catalog"))
        self._trouble.pop(description.subject, None)
        self._outbox.wake()
        log.info(
            "description_synced", subject=description.subject, description=description.event.id, refused=bool(refusal)
        )

    def _ask_catalogue(self, description: QueuedDescription) -> CatalogError | None:
        """Say it to the catalogue; saying it twice changes nothing. Return what it does not take of the metadata."""
        with self._store.reading() as db:
            if DescriptionQueue(db).is_outdated(description):
                return None
        data, refused = description.event.data, None
        by = data.requested_by.id
        if isinstance(data, InvestigationDescribed):
            self._catalogue.describe_investigation(data.investigation, data.description, by)
        else:
            self._catalogue.describe_dataset(description.dataset_id, data.description, by)
            crash_point("catalog.half-annotated")
            refused = attach(self._catalogue, description.dataset_id, data.parameters)
        crash_point("catalog.annotated")
        return refused

    def _later(self, description: QueuedDescription, error: CatalogError) -> None:
        stays = not is_away(error) and self._grace.has_ended(description.attempts, description.since, time.time())
        wait = rare_s(description.attempts) if stays else pause_s(description.attempts, error.retry_after)
        self._longest_s = max(self._longest_s, wait)
        with self._store.transaction() as db:
            DescriptionQueue(db).postpone_description(description, time.time() + wait)
        if self._trouble.get(description.subject) != str(error):
            log.warning("description_retry_scheduled", subject=description.subject, problem=str(error), retry_in_s=wait)
        self._trouble[description.subject] = str(error)
