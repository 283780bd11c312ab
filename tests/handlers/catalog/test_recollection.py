"""What the catalog tells a station that has forgotten what it uploaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datauploader.contracts import (
    DatasetSpec,
    Destination,
    Event,
    FileVersion,
    Person,
    Station,
    StoredFile,
    UploadRequested,
)
from datauploader.contracts.questions import Datafiles, ListDatafiles, MayUpload
from datauploader.errors import QuestionRefused
from datauploader.reliability import Store
from datauploader_catalog import claims, schema
from datauploader_catalog.ledger import DatafileTable, OwningStations, WantedDatasets
from datauploader_catalog.queries import PAGE_BYTES, StationQueries

HERE, THERE = Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02")
UPLOAD = "upload-0001"
REQUEST = UploadRequested(
    upload_id=UPLOAD, investigation="1", dataset=DatasetSpec(name="run1"), root="/data", mode="sync",
    destination=Destination(remote="store", location="1/run1"), requested_by=Person(id="1101"),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The catalog's state, in which the upload belongs to HERE."""
    made = Store(tmp_path / "catalog.sqlite", [schema.SCHEMA, claims.SCHEMA])
    made.mark_recovered()
    with made.transaction() as db:
        event = Event(data=REQUEST, station=HERE, service="gateway")
        OwningStations(db).assign_home(event)
        WantedDatasets(db).add_upload(event)
    yield made
    made.close()


def add(store: Store, *names: bytes, registered: bool = True) -> list[bytes]:
    """Have files stored, and registered."""
    files = [FileVersion.of(name, size=1, mtime_ns=1, sha256="a" * 64, revision=1) for name in names]
    stored = [StoredFile(file=file, object=f"1/run1/{n}", state="verified", method="t") for n, file in enumerate(files)]
    with store.transaction() as db:
        DatafileTable(db).add_stored(UPLOAD, stored)
        if registered:
            DatafileTable(db).mark_registered(UPLOAD, DatafileTable(db).wanted_files(UPLOAD, 100))
    return sorted(names)


def pages(store: Store, limit: int = 500) -> list[Datafiles]:
    """Ask for everything."""
    found = [ask(store, ListDatafiles(upload_id=UPLOAD, limit=limit))]
    while found[-1].next:
        found.append(ask(store, ListDatafiles(upload_id=UPLOAD, limit=limit, after=found[-1].next)))
    return found


def ask(store: Store, question, station: Station = HERE) -> Datafiles:
    """Ask as a station."""
    answer = StationQueries(store)(question, station).read()
    assert isinstance(answer, Datafiles)
    return answer


@pytest.mark.fault("F28")
def test_everything_is_told_once_whatever_the_names_are(store: Store) -> None:
    """In order of the bytes, page by page."""
    names = add(store, *(b"%d\xff\n.dat" % number for number in range(25)))
    add(store, b"zz", registered=False)
    found = pages(store, limit=7)
    assert [len(page.items) for page in found] == [7, 7, 7, 5]
    assert [item.stored.file.raw for page in found for item in page.items] == [*names, b"zz"]
    assert [item.registered for item in found[-1].items] == [True] * 4 + [False]


@pytest.mark.fault("F28")
def test_a_page_of_long_names_ends_earlier(store: Store) -> None:
    """No answer is larger than a message should be."""
    names = add(store, *(b"%04d-" % number + b"x/" * 1500 + b"y" for number in range(300)))
    found = pages(store)
    assert len(found) > 1
    assert max(len(page.model_dump_json()) for page in found) < 2 * PAGE_BYTES
    assert [item.stored.file.raw for page in found for item in page.items] == names


def test_nothing_is_told_of_an_upload_that_nobody_has_heard_of(store: Store) -> None:
    """A new upload begins so; whether it was asked for is told, because a station may remember it."""
    assert ask(store, ListDatafiles(upload_id="upload-0002")) == Datafiles(asked=False)
    assert ask(store, ListDatafiles(upload_id=UPLOAD)) == Datafiles()


@pytest.mark.attack("S30")
def test_a_station_is_told_nothing_of_the_uploads_of_another(store: Store) -> None:
    """Nor is anything but its own files any station's to ask for."""
    add(store, b"a")
    for question in (ListDatafiles(upload_id=UPLOAD), MayUpload(user_id="1101", investigation="1")):
        with pytest.raises(QuestionRefused) as refusal:
            ask(store, question, THERE)
        assert refusal.value.code in ("not-allowed", "unknown-question")
    with store.transaction() as db:
        db.execute("DELETE FROM homes")  # as it was before homes were kept
    with pytest.raises(QuestionRefused, match="another station"):
        ask(store, ListDatafiles(upload_id=UPLOAD), THERE)


@pytest.mark.fault("F28")
def test_a_catalog_that_has_forgotten_itself_says_so_instead_of_nothing(tmp_path: Path) -> None:
    """Else a manifest would be made of what is left."""
    with pytest.raises(QuestionRefused) as refusal:
        ask(Store(tmp_path / "catalog.sqlite", [schema.SCHEMA, claims.SCHEMA]), ListDatafiles(upload_id=UPLOAD))
    assert refusal.value.code == "unavailable"


def test_a_position_that_the_catalog_did_not_give_is_refused(store: Store) -> None:
    """With a word that says which field it is."""
    with pytest.raises(QuestionRefused, match="after"):
        ask(store, ListDatafiles(upload_id=UPLOAD, after="é"))
