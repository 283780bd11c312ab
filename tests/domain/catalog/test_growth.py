"""What the catalog looks up costs no more in a ledger that is full of finished datasets."""

import pytest

from datauploader.contracts import StoredFile
from datauploader.reliability import Store
from datauploader_catalog import claims, schema
from datauploader_catalog.ledger import DatafileTable, WantedDatasets
from datauploader_catalog.metadata import PendingMetadataTable
from datauploader_catalog.seals import SealTable
from datauploader_testing.builders import event, file_stored, file_version, upload_requested, upload_sealed
from datauploader_testing.effort import effort

FILES = [file_version(f"frame_{number:04}.h5") for number in range(200)]


@pytest.fixture
def store() -> Store:
    """An empty ledger."""
    return Store(None, [schema.SCHEMA, claims.SCHEMA])


def add(store: Store, upload_id: str, *, registered: bool) -> None:
    """Put a sealed dataset into the ledger, finished or with all its files wanted."""
    stored: list[StoredFile] = list(file_stored(*FILES, upload_id=upload_id).files)
    with store.transaction() as db:
        WantedDatasets(db).add_upload(event(upload_requested(upload_id)))
        SealTable(db).add_seal(event(upload_sealed(FILES, upload_id)))
        DatafileTable(db).add_stored(upload_id, stored)
        if registered:
            register(DatafileTable(db), upload_id)
            db.execute("UPDATE uploads SET state = 'completed', due = 5 WHERE upload_id = ?", (upload_id,))


def register(table: DatafileTable, upload_id: str) -> None:
    """Have everything registered that is wanted."""
    table.mark_registered(upload_id, table.wanted_files(upload_id, 1000))


def test_what_a_harvester_read_is_due_once_its_file_is_registered(store: Store) -> None:
    """Of many parameters of one upload only the first that can be told is looked for."""
    add(store, "open-0001", registered=True)
    with store.transaction() as db:
        PendingMetadataTable(db).add_metadata("elsewhere", FILES[0], [])
    with store.reading() as db:
        assert WantedDatasets(db).next_upload(10, ()) is None
    with store.transaction() as db:
        for file in FILES[:50]:
            PendingMetadataTable(db).add_metadata("open-0001", file, [])
    with store.reading() as db:
        found = WantedDatasets(db).next_upload(10, ())
        assert found is not None
        few = effort(db, lambda: WantedDatasets(db).next_upload(10, ()))
        with store.transaction() as more:
            for file in FILES[50:]:
                PendingMetadataTable(more).add_metadata("open-0001", file, [])
        assert effort(db, lambda: WantedDatasets(db).next_upload(10, ())) < few + 100


def test_finding_what_is_due_does_not_go_through_what_is_finished(store: Store) -> None:
    """With fifty finished datasets of 200 files it takes hardly more steps than with none."""
    add(store, "open-0001", registered=False)
    with store.reading() as db:
        datasets = WantedDatasets(db)
        alone = effort(db, lambda: (datasets.next_upload(10, ()), datasets.next_attempt_due(10)))
        for number in range(50):
            add(store, f"finished-{number:04}", registered=True)
        found = datasets.next_upload(10, ())
        assert found is not None
        assert found.upload_id == "open-0001"
        assert effort(db, lambda: (datasets.next_upload(10, ()), datasets.next_attempt_due(10))) < alone + 100


def test_looking_at_a_dataset_that_is_not_whole_yet_does_not_count_its_files(store: Store) -> None:
    """It is sealed long before its last file is stored, and looked at whenever some of them are."""

    def look() -> object:
        return WantedDatasets(db).next_upload(10, ()), SealTable(db).complete_manifest("open-0001")

    with store.transaction() as db:
        WantedDatasets(db).add_upload(event(upload_requested("open-0001")))
        db.execute("UPDATE uploads SET state = 'ensured'")
        SealTable(db).add_seal(event(upload_sealed(FILES, "open-0001")))
        efforts = []
        for some in (FILES[:1], FILES[1:199]):
            stored = file_stored(*some, upload_id="open-0001").files
            DatafileTable(db).add_stored("open-0001", stored)
            register(DatafileTable(db), "open-0001")
            efforts.append(effort(db, look))
        assert efforts[1] < efforts[0] + 50
        assert look() == (None, "incomplete")


def test_the_count_of_files_follows_whatever_becomes_of_them(store: Store) -> None:
    """A newer version is no second file, and waits again; one that is set aside is none that the catalogue has."""
    old, other = file_version("a.h5", revision=1), file_version("b.h5", revision=1)
    new = file_version("a.h5", b"new", revision=2)

    def counts() -> tuple[int, int]:
        return tuple(db.execute("SELECT files, registered FROM datafile_counts").fetchone())

    with store.transaction() as db:
        table = DatafileTable(db)
        seen = []
        for version in (old, other, new):
            (stored,) = file_stored(version, upload_id="open-0001").files
            table.add_stored("open-0001", [stored])
            seen.append(counts())
            wanted = table.wanted_files("open-0001", 10)
            table.mark_registered("open-0001", wanted)
            seen.append(counts())
        table.set_datafile_aside("open-0001", wanted[0])
        seen.append(counts())
        table.mark_registered("open-0001", wanted)
        seen.append(counts())
        db.execute("DELETE FROM datafiles WHERE path = ?", (other.raw,))
        seen.append(counts())
    assert seen == [(1, 0), (1, 1), (2, 1), (2, 2), (2, 1), (2, 2), (2, 1), (2, 2), (1, 1)]


def test_what_is_to_be_registered_next_is_found_without_going_through_what_is_registered(store: Store) -> None:
    """Of a million files the last batch is found as soon as the first."""
    efforts = []
    with store.transaction() as db:
        table = DatafileTable(db)
        for number, some in enumerate((FILES[:1], FILES[1:])):
            late = file_version("late.h5", b"%d" % number, revision=number)
            stored = file_stored(*some, upload_id="open-0001").files
            table.add_stored("open-0001", stored)
            register(table, "open-0001")
            table.add_stored("open-0001", file_stored(late, upload_id="open-0001").files)
            assert [one.version() for one in table.wanted_files("open-0001", 10)] == [late]
            efforts.append(effort(db, lambda: table.wanted_files("open-0001", 10)))
    assert efforts[1] < efforts[0] + 50


def test_files_are_gathered_only_while_more_of_them_are_to_come(store: Store) -> None:
    """Not those with which a dataset is whole, and not as many as fit into one step."""
    with store.transaction() as db:
        datasets, table = WantedDatasets(db), DatafileTable(db)
        table.add_stored("open-0001", file_stored(*FILES[:3], upload_id="open-0001").files)
        assert datasets.awaits_files("open-0001", 4)
        assert not datasets.awaits_files("open-0001", 3)
        register(table, "open-0001")
        SealTable(db).add_seal(event(upload_sealed(FILES[:5], "open-0001")))
        table.add_stored("open-0001", file_stored(FILES[3], upload_id="open-0001").files)
        assert datasets.awaits_files("open-0001", 3)
        table.add_stored("open-0001", file_stored(FILES[4], upload_id="open-0001").files)
        assert not datasets.awaits_files("open-0001", 3)
