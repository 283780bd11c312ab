"""The catalog completes a dataset only after somebody has looked: its handlers and workers on the memory engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.handlers.catalog.test_catalog_service import (
    DESTINATION,
    HERE,
    THERE,
    UPLOAD,
    requested,
    sealed,
    stored,
    version,
)
from tests.handlers.catalog.test_catalog_service import World as CatalogWorld

from datauploader.contracts import (
    AuditReported,
    AuditRequested,
    DatasetCompleted,
    DatasetDelayed,
    FileCatalogued,
    FileStored,
    Person,
    UploadControlled,
    UploadSealed,
)
from datauploader.messaging.topology import catalog_queue, transfer_queue, watcher_queue
from datauploader.reliability.backoff import Backoff
from datauploader_catalog import audits
from datauploader_testing.auditing import report_of
from datauploader_testing.waiting import eventually

ANNA = Person(id="1101")
MISSING = {"kind": "missing", "files": 1, "first": ("a.h5",)}
FOREIGN = {"kind": "foreign", "files": 1, "first": ("README",)}


class World(CatalogWorld):
    """A catalog service, and a transfer service that is this test."""

    def listen(self) -> None:
        """Answer no audit by oneself."""
        for station in (HERE, THERE):
            for queue in (watcher_queue(station), transfer_queue(station)):
                self.outside.consume(queue, lambda _delivery: None)

    def all(self, kind):
        """Return the events of a kind that were heard."""
        return [event.data for event in list(self.heard) if isinstance(event.data, kind)]

    def seal(self, *names: str) -> UploadSealed:
        """Ask for a dataset of these files, store them and seal it."""
        files = [version(name) for name in names]
        seal = sealed(*files)
        for data in (requested(), stored(*files), seal):
            self.say(data)
        return seal

    def completed(self) -> bool:
        """Tell whether the catalogue was told that the dataset is complete."""
        return any(dataset.complete for dataset in self.catalogue.datasets.values())

    def rest(self) -> None:
        """Wait until everything that was said was handled: a receipt is told again, and nothing else happens."""
        known = len(self.all(FileCatalogued))
        stored = next(event for event in self.heard if isinstance(event.data, FileStored))
        self.say(stored.data)
        self.await_(FileCatalogued, known + 1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running catalog service."""
    made = World(tmp_path)
    yield made
    made.stop()
    made.outside.close()


def test_a_dataset_is_completed_only_after_its_storage_was_seen_to_hold_it(world: World) -> None:
    """The station is asked about exactly this manifest, at its destination."""
    seal = world.seal("a.h5", "b.h5")
    (asked,) = world.await_(AuditRequested)
    assert (asked.destination, asked.manifest_sha256, asked.files) == (DESTINATION, seal.manifest_sha256, 2)
    assert (asked.requested_by, asked.read) == (None, False)
    world.rest()
    assert not world.completed()

    world.say(report_of(asked))

    assert world.await_(DatasetCompleted)[0].files == 2


@pytest.mark.parametrize("kind", ["missing", "cut", "altered", "doubled", "foreign"])
def test_with_a_difference_nothing_is_completed(world: World, kind: str) -> None:
    """Until a person has done something about it and the next look finds nothing."""
    world.seal("a.h5")
    (asked,) = world.await_(AuditRequested)
    world.say(report_of(asked, differences=({"kind": kind, "files": 1, "first": ("a.h5",)},)))
    world.rest()
    assert not world.completed()
    assert len(world.all(AuditRequested)) == 1

    world.say(UploadControlled(upload_id=UPLOAD, action="retry", requested_by=ANNA))
    anew = world.await_(AuditRequested, 2)[1]
    assert anew.audit != asked.audit
    world.say(report_of(anew))

    world.await_(DatasetCompleted)


def test_what_is_ours_or_left_over_or_respelt_keeps_nothing_from_completing(world: World) -> None:
    """It is told, and the dataset is whole."""
    world.seal("a.h5")
    (asked,) = world.await_(AuditRequested)

    notes = tuple({"kind": kind, "files": 1, "first": ("x",)} for kind in ("ours", "leftover", "respelt"))
    world.say(report_of(asked, differences=notes))

    world.await_(DatasetCompleted)


def test_what_nobody_ordered_can_be_accepted_by_a_person(world: World) -> None:
    """With an audit of theirs; the one of the catalog found the same and was not accepted."""
    seal = world.seal("a.h5")
    (asked,) = world.await_(AuditRequested)
    world.say(report_of(asked, differences=(FOREIGN,)))
    world.rest()
    assert not world.completed()

    theirs = AuditRequested(
        upload_id=UPLOAD, audit="audit-of-anna", destination=DESTINATION, manifest_sha256=seal.manifest_sha256,
        accept=True, requested_by=ANNA,
    )  # fmt: skip
    world.say(report_of(theirs, differences=(FOREIGN,)))

    world.await_(DatasetCompleted)


def test_a_report_about_another_manifest_or_of_trouble_completes_nothing(world: World) -> None:
    """Neither says that this manifest is there."""
    world.seal("a.h5")
    (asked,) = world.await_(AuditRequested)

    world.say(report_of(asked, manifest_sha256="0" * 64))
    world.say(report_of(asked, manifest_sha256=None))
    world.say(report_of(asked, trouble="The storage does not answer.", final=False))

    world.rest()
    assert not world.completed()


@pytest.mark.attack("S13")
def test_a_report_of_another_station_completes_nothing(world: World) -> None:
    """It is set aside for a person."""
    world.seal("a.h5")
    (asked,) = world.await_(AuditRequested)

    world.say(report_of(asked), THERE)

    eventually(lambda: world.outside.parked(catalog_queue()), what="it is parked")
    assert not world.completed()


def test_an_audit_without_an_answer_is_asked_for_again_under_its_name(world: World, monkeypatch) -> None:
    """The question or the answer may be lost."""
    monkeypatch.setattr(audits, "BACKOFF", Backoff(0.05, audits.LONGEST_S))
    world.seal("a.h5")

    first, second, *_ = world.await_(AuditRequested, 2)

    assert first == second
    world.say(report_of(first))
    world.await_(DatasetCompleted)


def test_a_difference_that_is_told_late_does_not_undo_what_was_done_about_it(world: World) -> None:
    """The audit that is waited for decides."""
    world.seal("a.h5")
    (old,) = world.await_(AuditRequested)
    world.say(UploadControlled(upload_id=UPLOAD, action="retry", requested_by=ANNA))
    anew = world.await_(AuditRequested, 2)[1]

    world.say(report_of(old, differences=(MISSING,)))
    world.say(report_of(anew))

    world.await_(DatasetCompleted)


def test_a_catalog_that_was_restarted_still_waits_for_the_answer(world: World) -> None:
    """What was asked stands in its state."""
    world.seal("a.h5")
    (asked,) = world.await_(AuditRequested)
    world.stop()
    world.start()

    world.say(report_of(asked))

    world.await_(DatasetCompleted)
    assert len(world.all(AuditReported)) == 1


def test_where_audits_are_switched_off_nobody_is_asked(world: World) -> None:
    """Such as while stations have a release that cannot."""
    world.stop()
    world.start(audit=False)

    world.seal("a.h5")

    world.await_(DatasetCompleted)
    assert not world.all(AuditRequested)


@pytest.mark.fault("F59")
def test_an_audit_that_nobody_answers_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset does not wait for its transfer in silence; with the answer it is completed."""
    monkeypatch.setattr(audits, "BACKOFF", Backoff(0.01, audits.LONGEST_S))
    world.stop()
    world.start(patience_s=0.05)
    world.seal("a.h5")
    said = world.await_(DatasetDelayed)[0]
    assert "the storage has not been compared" in said.detail
    assert not said.needs_person
    world.say(report_of(world.all(AuditRequested)[0]))
    world.await_(DatasetCompleted)
    assert world.await_(DatasetDelayed, 2)[-1].detail == ""
