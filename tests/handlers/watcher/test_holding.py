"""Nothing of an upload is announced before the catalogue has said that its dataset is its own."""

import pytest

from datauploader.contracts import (
    DatasetEnsured,
    DatasetRefused,
    Event,
    FileReady,
    UploadOpened,
    UploadScanned,
    UploadSealed,
    encode,
)
from datauploader.contracts.questions import Datafiles
from datauploader.reliability import Schema, Store
from datauploader_testing import builders
from datauploader_watcher.ledger import SCHEMA
from datauploader_watcher.ledger.uploads import UploadTable

from .conftest import HERE, UPLOAD

pytestmark = pytest.mark.fault("F47")
LONG = 3600


def ensured(world) -> None:
    """Say that the dataset is this upload's."""
    world.say(DatasetEnsured(upload_id=UPLOAD, investigation_id="20260101", dataset_id="d1"))


def refused(world) -> None:
    """Say that it is another one's."""
    detail = "The dataset run1 is already complete."
    world.say(DatasetRefused(upload_id=UPLOAD, reason="dataset-complete", detail=detail))


def hashed(world) -> bool:
    """Tell whether everything is read and waits to be announced."""
    return world.states() == {"ready": 1}


def troubles(world) -> str:
    """Return what the upload last said is wrong."""
    said = world.events(UploadScanned)
    return " ".join(said[-1].troubles) if said else ""


@pytest.mark.parametrize("more", [{}, {"continues": ("upload-0000",)}, {"without": ("upload-0000",)}])
def test_files_are_read_but_not_announced_before_the_dataset_is_ensured(world, more):
    """A first upload within its patience, and one that could replace something for as long as it takes."""
    world.write("a.dat")
    world.start(catalogue_patience_s=0 if more else LONG)
    world.request(**more)
    world.wait_until(lambda: hashed(world), "the file is read")
    world.wait_until(lambda: world.watcher.status.entries > 1, "the loop goes on meanwhile")
    assert not world.events(FileReady)
    assert not world.events(UploadSealed)
    ensured(world)
    world.wait_announced("a.dat")


def test_an_upload_that_waits_for_the_catalogue_says_so(world):
    """After a few seconds, in its troubles; when the word has come, it is gone."""
    world.write("a.dat")
    world.start()
    world.request(continues=("upload-0000",))
    world.wait_until(lambda: "nothing is sent before" in troubles(world), "it says what it waits for")
    ensured(world)
    world.wait_until(lambda: not troubles(world), "it is well")


def test_a_first_upload_does_not_stand_still_while_the_catalogue_is_away(world):
    """After its patience it announces: transfer lets it write nothing but new objects."""
    world.write("a.dat")
    world.start(catalogue_patience_s=0.5)
    world.request()
    world.wait_announced("a.dat")
    at = {type(event.data): event.time for event in world.heard}
    assert (at[FileReady] - at[UploadOpened]).total_seconds() >= 0.4


@pytest.mark.parametrize("patience_s", [0, LONG])
def test_a_refusal_stops_the_announcing_until_a_retry_is_granted(world, patience_s):
    """Nothing that is found afterwards is announced, and nothing again; the upload shows the refusal."""
    world.write("a.dat")
    world.start(catalogue_patience_s=patience_s, receipt_patience_s=0.3)
    world.request("sync")
    refused(world)
    world.wait_until(lambda: "already complete" in troubles(world), "the refusal is shown")
    world.forget()
    world.write("b.dat")
    world.wait_until(lambda: world.states().get("ready", 0) >= 1, "it is read")
    world.wait_until(lambda: world.events(UploadScanned), "the loop goes on meanwhile")
    assert not world.events(FileReady)
    ensured(world)
    world.wait_until(lambda: b"b.dat" in world.announced(), "it goes on")
    world.wait_until(lambda: not troubles(world), "the refusal is gone")


def test_what_was_said_before_a_restart_holds_after_it(world):
    """The word of the catalogue is not asked for again."""
    world.write("a.dat")
    world.start()
    world.request("sync", continues=("upload-0000",))
    ensured(world)
    world.wait_announced("a.dat")
    world.stop()
    world.forget()
    world.start()
    world.write("b.dat")
    world.wait_until(lambda: b"b.dat" in world.announced(), "it goes on")


@pytest.mark.fault("F28")
def test_a_station_that_has_forgotten_learns_the_word_from_the_catalog(world):
    """The event is not said again; the answer about its files tells it."""
    world.recalled = lambda _question, _station: Datafiles(ensured=True)
    world.write("a.dat")
    world.start()
    world.request(continues=("upload-0000",))
    world.wait_announced("a.dat")


@pytest.mark.fault("F23")
def test_a_word_that_was_lost_on_its_way_is_asked_for(world):
    """The catalog had not judged yet when it was asked first, and its event never arrived."""
    asked = []

    def recalled(_question, _station):
        asked.append(1)
        return Datafiles(ensured=len(asked) > 1)

    world.recalled = recalled
    world.write("a.dat")
    world.start(receipt_patience_s=0.5)
    world.request(continues=("upload-0000",))
    world.wait_announced("a.dat")


def test_an_upload_of_an_earlier_release_has_begun_already(tmp_path):
    """Its ledger has no column for the word."""
    store = Store(tmp_path / "watcher.sqlite3", [Schema("watcher", SCHEMA.steps[:4])])
    event = encode(Event(data=builders.upload_requested(), station=HERE, service="gateway"))
    with store.transaction() as db:
        db.execute("INSERT INTO uploads (upload_id, event, state) VALUES (?, ?, 'open')", (builders.UPLOAD, event))
    store.close()
    store = Store(tmp_path / "watcher.sqlite3", [SCHEMA])
    with store.reading() as db:
        upload = UploadTable(db).get(builders.UPLOAD)
    store.close()
    assert upload is not None
    assert upload.agreed == "yes"
