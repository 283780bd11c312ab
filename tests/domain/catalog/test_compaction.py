"""Whether datafiles are compacted makes no difference to anybody who asks about them, or changes them."""

import random

import pytest

from datauploader.contracts import FileVersion, StoredFile
from datauploader.reliability import Store
from datauploader.reliability.blocks import TouchedUploads
from datauploader_catalog import claims, schema
from datauploader_catalog.compaction import CompactedDatafiles
from datauploader_catalog.ledger import DatafileTable, WantedDatasets
from datauploader_catalog.metadata import PendingMetadataTable
from datauploader_catalog.seals import SealTable
from datauploader_testing.builders import event, file_stored, file_version, upload_requested, upload_sealed

NAMES = [*(f"scan/{number:02}.h5" for number in range(30)), b"scan/\xff.h5"]
UPLOAD = "upload-0001"


def ledger() -> Store:
    """Open a ledger with one upload that has its dataset."""
    store = Store(None, [schema.SCHEMA, claims.SCHEMA])
    with store.transaction() as db:
        WantedDatasets(db).add_upload(event(upload_requested(UPLOAD)))
    return store


def add(store: Store, *files: FileVersion, registered: bool = True) -> list[StoredFile]:
    """Hear that files are stored, and have them registered; return what is answered at once."""
    with store.transaction() as db:
        stored = file_stored(*files, upload_id=UPLOAD).files
        known = DatafileTable(db).add_stored(UPLOAD, stored)
        if registered:
            register(DatafileTable(db))
    return known


def register(table: DatafileTable) -> None:
    """Have everything registered that is wanted."""
    table.mark_registered(UPLOAD, table.wanted_files(UPLOAD, 100))


def end(store: Store) -> None:
    """Complete the dataset, long ago."""
    with store.transaction() as db:
        db.execute("UPDATE uploads SET state = 'completed', touched = 5")


def compact(store: Store, most: int = 4) -> int:
    """Compact what may be; return how many slices that took."""
    slices = 0
    with store.transaction() as db:
        compacted = CompactedDatafiles(db)
        while compacted.find_compactable(10) is not None:
            compacted.compact_files(UPLOAD, most)
            slices += 1
    return slices


def rows(store: Store) -> int:
    """Count the files that have a row."""
    with store.reading() as db:
        return int(db.execute("SELECT count(*) FROM datafiles").fetchone()[0])


def everything(store: Store, files: list[FileVersion]) -> object:
    """Ask the ledger all that is ever asked of finished files."""
    with store.reading() as db:
        table = DatafileTable(db)
        known = list(table.known_files(UPLOAD, b"", 100))
        pages = [[path for path, _, _ in table.known_files(UPLOAD, after, 3)] for after, _, _ in known]
        counts = tuple(db.execute("SELECT files, registered FROM datafile_counts").fetchone())
        found = SealTable(db).complete_manifest(UPLOAD)
    told = [(path, StoredFile.model_validate_json(stored), registered) for path, stored, registered in known]
    return told, pages, counts, found if isinstance(found, str) else tuple(found)


@pytest.mark.parametrize("seed", range(8))
def test_a_ledger_that_is_compacted_again_and_again_answers_like_one_that_never_was(seed: int) -> None:
    """New files, newer versions, older ones that come late, and repetitions, in any order."""
    chance, one, other = random.Random(seed), ledger(), ledger()
    versions: list[FileVersion] = []
    for _ in range(12):
        versions = [file_version(chance.choice(NAMES), b"%d" % n, revision=chance.randrange(5)) for n in range(4)]
        registered = chance.random() < 0.9
        assert add(one, *versions, registered=registered) == add(other, *versions, registered=registered)
        if chance.random() < 0.6:
            end(one)
            compact(one, chance.randrange(1, 6))
        assert everything(one, versions) == everything(other, versions)
    if chance.random() < 0.5:
        with one.transaction() as db:
            PendingMetadataTable(db).add_metadata(UPLOAD, versions[0], [])
        assert everything(one, versions) == everything(other, versions)


def test_a_compacted_dataset_is_still_the_one_of_its_manifest() -> None:
    """It was sealed, and may be sealed once more by a station that has not heard that it is complete."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    add(store, *files)
    with store.transaction() as db:
        SealTable(db).add_seal(event(upload_sealed(files, UPLOAD)))
    end(store)
    assert compact(store, 10) == 5
    assert rows(store) == 0
    with store.reading() as db:
        assert SealTable(db).complete_manifest(UPLOAD)["files"] == len(files)


def test_nothing_is_compacted_that_is_still_to_be_told_or_was_touched_lately() -> None:
    """An upload that is open, a file that waits, metadata that wait, an upload that was heard of today."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    add(store, *files)
    assert compact(store) == 0
    with store.transaction() as db:
        db.execute("UPDATE uploads SET state = 'completed'")
    assert compact(store) == 0
    end(store)
    with store.transaction() as db:
        db.execute("UPDATE datafiles SET registered = 0 WHERE path = ?", (files[0].raw,))
    assert compact(store) == 0
    with store.transaction() as db:
        register(DatafileTable(db))
        PendingMetadataTable(db).add_metadata(UPLOAD, files[0], [])
        db.execute("UPDATE uploads SET touched = 5")
    assert compact(store) == 0
    assert rows(store) == len(files)


def test_a_file_that_harvesters_read_again_has_a_row_again() -> None:
    """What they have read is attached to it, as to any other."""
    store, files = ledger(), [file_version(name) for name in NAMES]
    add(store, *files)
    end(store)
    compact(store)
    with store.transaction() as db:
        PendingMetadataTable(db).add_metadata(UPLOAD, files[7], [])
        (row,) = PendingMetadataTable(db).pending_metadata(UPLOAD, 10)
        assert row.stored is not None
        assert row.stored.file == files[7]
        assert WantedDatasets(db).next_upload(10, ()) is not None
    assert compact(store) == 0


def test_a_clock_that_was_ahead_does_not_keep_files_from_being_compacted() -> None:
    """They count as heard of when it is put right."""
    store = ledger()
    add(store, file_version())
    with store.transaction() as db:
        db.execute("UPDATE uploads SET state = 'completed', touched = 1000")
        TouchedUploads(db).cap_touched(7)
    assert compact(store) == 2
