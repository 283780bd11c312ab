"""A catalog whose finished dataset was compacted long ago: whatever comes late is answered as on the first day."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.handlers.catalog.test_catalog_service import HERE, UPLOAD, World, requested, sealed, stored, version

from datauploader.contracts import (
    DatasetCompleted,
    DatasetRefused,
    ExtractedFile,
    FileCatalogued,
    MetadataExtracted,
    Parameter,
)
from datauploader.contracts.questions import Datafiles, ListDatafiles
from datauploader_testing.waiting import eventually

FILES = [version(f"frame_{number:03}.h5") for number in range(40)]


class CompactedWorld(World):
    """A catalog with one complete dataset."""

    def complete(self) -> None:
        """Bring the dataset to its end."""
        for data in (requested(), stored(*FILES), sealed(*FILES)):
            self.say(data)
        self.await_(DatasetCompleted)

    def rows(self) -> int:
        """Count the files that have a row of their own."""
        with self.service._store.reading() as db:
            return int(db.execute("SELECT count(*) FROM datafiles").fetchone()[0])

    def compact(self) -> None:
        """Let a month pass, and the upkeep do its work."""
        with self.service._store.transaction() as db:
            db.execute("UPDATE uploads SET touched = touched - 30 * 86400")
        while self.service._upkeep.tidy():
            pass
        assert self.rows() == 0

    def known(self) -> Datafiles:
        """Ask as the station, or its audit, does."""
        return self.outside.ask(ListDatafiles(upload_id=UPLOAD), Datafiles, station=HERE).result(60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CompactedWorld]:
    """A catalog whose only dataset was finished and compacted."""
    made = CompactedWorld(tmp_path)
    made.complete()
    made.before = made.known()
    made.compact()
    yield made
    made.stop()
    made.outside.close()


def test_who_asks_for_the_files_of_a_compacted_dataset_is_told_what_he_was_told_before(world: CompactedWorld) -> None:
    """A station that has lost its state, a transfer that compares the storage or looks for whose an object is."""
    assert world.known() == world.before
    assert len(world.before.items) == len(FILES)


def test_what_comes_twice_long_after_its_dataset_was_complete_is_answered_and_begins_nothing(
    world: CompactedWorld,
) -> None:
    """The receipts are said again; the catalogue is told nothing, and no file has a row again."""
    registered = world.catalogue.duplicates.copy()
    known = len(world.await_(FileCatalogued))
    world.say(stored(*FILES))
    world.say(requested())
    receipts = world.await_(FileCatalogued, known + 1)[known:]
    assert [one.file for receipt in receipts for one in receipt.files] == FILES
    world.say(sealed(*FILES))
    eventually(lambda: world.await_(DatasetCompleted, 2), what="a station that has not heard of the end hears it again")
    assert world.rows() == 0
    assert world.catalogue.duplicates == registered


def test_another_upload_of_a_compacted_dataset_is_refused(world: CompactedWorld) -> None:
    """Whose a dataset is, and that it is complete, is never forgotten."""
    world.say(requested("upload-0002"))
    (refusal,) = world.await_(DatasetRefused)
    assert refusal.reason == "dataset-complete"


def test_a_catalog_that_is_started_again_knows_what_was_compacted(world: CompactedWorld) -> None:
    """Nothing of it is only in memory."""
    world.stop()
    world.start()
    assert world.known() == world.before


def test_metadata_that_are_read_again_reach_the_file_of_a_compacted_dataset(world: CompactedWorld) -> None:
    """As `datauploader harvest replay` has harvesters do, years later."""
    read = ExtractedFile(file=FILES[3], parameters=(Parameter(name="energy", value=7.1),))
    world.say(MetadataExtracted(upload_id=UPLOAD, harvester="nexus", files=(read,)))
    eventually(lambda: "7.1" in f"{world.catalogue.parameters}", what="the value is attached to the file")
    assert world.known() == world.before
