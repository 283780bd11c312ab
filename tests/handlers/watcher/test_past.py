"""A watcher on a state file that is older than the world, and one whose facility has forgotten what is open here."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from datauploader.contracts import StationReported, UploadCancelled, UploadOpened, UploadScanned, UploadSealed
from datauploader.contracts.envelope import decode
from datauploader.contracts.questions import Datafiles, Heard, KnownDatafile, LastHeard, Remembered, RememberUpload
from datauploader.errors import QuestionRefused

from .conftest import UPLOAD
from .test_recalling import known, manifest, version


class Gateway:
    """What the gateway says to stations: how far it has heard them, and whether it knows their uploads."""

    def __init__(self, world) -> None:
        """Answer, with everything known."""
        self.world, self.facility = world, "one"
        self.knows: object = "open"
        self.told: list[RememberUpload] = []
        world.outside.answer_stations("gateway", self)

    def __call__(self, question, station):
        """Answer a question."""
        assert station.key == "elettra.xrd1.ws01"
        if isinstance(question, LastHeard):
            marks = [e.mark for e in list(self.world.everything) if e.mark and e.service == question.service]
            others = [m.number for m in marks if m.state == question.state and m.run != question.run]
            return Heard(number=max(others, default=0), facility=self.facility)
        self.told.append(question)
        if isinstance(self.knows, Exception):
            raise self.knows
        return Remembered(knew=self.knows)

    def forget(self) -> None:
        """Be another one, that knows nothing."""
        self.knows, self.facility = "nothing", self.facility + "+"


@pytest.fixture
def gateway(world) -> Gateway:
    """Give a gateway that answers, and have the world keep whole events."""
    world.everything = []
    hear = world.hear
    world.hear = lambda event: (world.everything.append(event), hear(event))
    return Gateway(world)


def back(world, copy) -> None:
    """Stop, put the copy back, start."""
    world.stop()
    for path in world.state.glob("watcher.sqlite3*"):
        path.unlink()
    shutil.copyfile(copy, world.state / "watcher.sqlite3")
    world.start()


@pytest.mark.fault("F53")
def test_a_state_file_from_a_copy_is_begun_anew_and_what_is_open_is_asked_for_again(world, gateway, tmp_path):
    """The old file lies beside it; until the requests come again nothing is said of its uploads."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    world.stop()
    shutil.copyfile(world.state / "watcher.sqlite3", tmp_path / "copy")
    world.start()
    world.write("b.dat")
    world.wait_announced("a.dat", "b.dat")
    world.forget()
    back(world, tmp_path / "copy")
    world.wait_until(lambda: any(report.forgetful for report in world.events(StationReported)))
    assert len(list(world.state.glob("watcher.sqlite3.past-*"))) == 1
    assert not world.events(UploadScanned)
    world.request("sync")
    world.wait_announced("a.dat", "b.dat")
    world.control("close")
    assert world.wait_for(UploadSealed)[0].files == 2


@pytest.mark.fault("F53")
def test_a_rule_on_a_state_from_the_past_asks_for_the_same_upload_and_no_further_dataset(world, gateway, tmp_path):
    """Its ids are made of rule and folder, so that everybody knows them again."""
    rules = [{
        "name": "all", "pattern": str(world.root) + "/{dataset}", "investigation": "20260101", "dataset": "{dataset}",
        "location": "20260101/{dataset}", "remote": "store", "mode": "sync",
    }]  # fmt: skip
    world.settings["rules"] = rules
    world.start()
    world.stop()
    shutil.copyfile(world.state / "watcher.sqlite3", tmp_path / "copy")
    world.start()
    world.write("scan1/a.dat")
    first = world.wait_for(UploadOpened)[0].upload_id
    world.wait_announced("a.dat")
    world.forget()
    back(world, tmp_path / "copy")
    world.wait_announced("a.dat")
    assert {event.upload_id for event in world.events(UploadOpened)} == {first}


@pytest.mark.fault("F53")
def test_a_facility_that_has_forgotten_an_upload_is_told_everything_again(world, gateway):
    """Also of files that are not on the disk any more: announced, counted and, in the end, sealed."""
    world.start()
    world.request("sync")
    world.write("a.dat")
    world.write("removed.dat", b"other")
    files = dict(world.wait_announced("a.dat", "removed.dat"))
    world.store(*files.values())
    world.catalogue(*files.values())
    world.wait_until(lambda: world.states().get("catalogued") == 2)
    world.recalled = lambda _question, _station: Datafiles(items=known(*files.values()))  # the view alone has lost it
    (world.root / "removed.dat").unlink()
    world.forget()
    gateway.told.clear()
    gateway.forget()
    world.wait_announced("a.dat", "removed.dat")
    assert decode(gateway.told[0].event.encode()).data.upload_id == UPLOAD
    assert world.wait_for(UploadOpened)[0].upload_id == UPLOAD
    assert world.wait_for(UploadScanned)[0].files == 2
    world.store(*files.values())
    world.catalogue(*files.values())
    world.control("close")
    assert world.wait_for(UploadSealed)[-1].files == 2
    assert len(gateway.told) == 1


@pytest.mark.fault("F53")
def test_a_facility_whose_answer_was_lost_is_told_everything_again(world, gateway):
    """It has taken the request and knows it from then on; that it knew nothing else was in the answer."""
    world.start()
    world.request("sync")
    world.write("a.dat")
    (file,) = world.wait_announced("a.dat").values()
    world.store(file)
    world.catalogue(file)
    world.wait_until(lambda: world.states().get("catalogued") == 1)
    world.recalled = lambda _question, _station: Datafiles(items=known(file))
    world.forget()
    gateway.knows, gateway.facility = QuestionRefused("unavailable", "it was lost"), "two"
    world.wait_until(lambda: len(gateway.told) > 1)
    gateway.knows = "open"
    world.wait_announced("a.dat")
    assert world.wait_for(UploadOpened)[0].upload_id == UPLOAD


@pytest.mark.fault("F53")
def test_an_upload_that_was_sealed_is_sealed_again_for_a_facility_that_has_forgotten_it(world, gateway):
    """The new catalog has never heard the manifest."""
    world.write("a.dat")
    world.start()
    world.request()
    files = dict(world.wait_announced("a.dat"))
    seal = world.wait_for(UploadSealed)[0]
    world.store(*files.values())
    world.catalogue(*files.values())
    world.forget()
    gateway.forget()
    world.wait_announced("a.dat")
    assert world.wait_for(UploadSealed)[0].manifest_sha256 == seal.manifest_sha256


@pytest.mark.fault("F53")
def test_what_ended_here_ends_again_at_a_facility_from_the_past(world, gateway):
    """It holds the upload open, as it was when the backup was made; the catalog hears files and seal once more."""
    gateway.knows = "over"
    world.write("a.dat")
    world.start(receipt_patience_s=0.5)
    world.request()
    files = dict(world.wait_announced("a.dat"))
    seal = world.wait_for(UploadSealed)[0]
    world.store(*files.values())
    world.catalogue(*files.values())
    world.complete(seal)
    world.wait_until(lambda: world.upload_state() == "completed")
    world.forget()
    gateway.knows, gateway.facility = "open", "two"
    assert dict(world.wait_announced("a.dat")) == files
    again = world.wait_for(UploadSealed)[-1]
    assert again.manifest_sha256 == seal.manifest_sha256
    assert any(question.over for question in gateway.told)
    gateway.knows = "over"
    world.store(*files.values())
    world.catalogue(*files.values())
    world.complete(again)
    world.wait_until(lambda: world.upload_state() == "completed")


@pytest.mark.fault("F53")
def test_a_cancelled_upload_is_cancelled_again_at_a_facility_from_the_past(world, gateway):
    """Nothing else is said of it."""
    gateway.knows = "over"
    world.start(receipt_patience_s=0.1)
    world.request("sync")
    world.control("cancel")
    world.wait_for(UploadCancelled)
    world.forget()
    gateway.knows, gateway.facility = "open", "two"
    world.wait_for(UploadCancelled)
    assert not world.events(UploadOpened)


@pytest.mark.fault("F53")
def test_a_request_that_the_facility_cannot_prove_is_shown_with_what_to_do(world, gateway):
    """The upload's own trouble names it; the station goes on."""
    world.start()
    world.request("sync")
    gateway.knows = QuestionRefused("not-allowed", "there is no proof that 1101 asked for it; ask again")
    gateway.facility = "two"
    world.wait_until(lambda: any("no proof" in " ".join(one.troubles) for one in world.events(UploadScanned)))


@pytest.mark.fault("F53")
def test_what_only_the_ledger_calls_catalogued_is_announced_again(world, gateway):
    """A catalog from the past lacks it, or has an older version; what it has is left alone."""
    world.start()
    world.request("sync")
    world.wait_until(lambda: recalled(world))
    names = ("same.dat", "lacking.dat", "older.dat")
    for name in names:
        world.write(name, name.encode())
    files = dict(world.wait_announced(*names))
    world.store(*files.values())
    world.catalogue(*files.values())
    world.wait_until(lambda: world.states().get("catalogued") == 3)
    has: tuple[KnownDatafile, ...] = known(files[b"same.dat"], version("older.dat", b"before", revision=0))
    world.recalled = lambda _question, _station: Datafiles(items=has)
    world.forget()
    world.stop()
    with_recall(world)
    world.start()
    world.wait_announced("lacking.dat", "older.dat")
    world.store(*files.values())
    world.catalogue(*files.values())
    world.control("close")
    assert world.wait_for(UploadSealed)[-1].manifest_sha256 == manifest(*files.values())


@pytest.mark.fault("F53")
def test_a_catalog_that_has_not_heard_the_request_gets_it_from_the_gateway(world, gateway):
    """Its state and the log are lost, and the gateway's are not: so the station has it said again."""
    world.start()
    world.request("sync")
    world.wait_until(lambda: recalled(world))
    world.write("a.dat")
    files = dict(world.wait_announced("a.dat"))
    world.store(*files.values())
    world.catalogue(*files.values())
    world.wait_until(lambda: world.states().get("catalogued") == 1)
    world.recalled = lambda _question, _station: Datafiles(asked=False)
    world.forget()
    world.stop()
    with_recall(world)
    world.start()
    world.wait_announced("a.dat")
    world.wait_until(lambda: any(question.catalog_lacks for question in gateway.told))


def recalled(world) -> bool:
    """Tell whether the catalog has been asked about the upload."""
    with world.watcher.store.reading() as db:
        return db.execute("SELECT recall FROM uploads").fetchone()[0] is None


def with_recall(world) -> None:
    """Have the ledger ask the catalog again, as it does when a seal has no answer."""
    with closing(sqlite3.connect(world.state / "watcher.sqlite3")) as db, db:
        db.execute("UPDATE uploads SET recall = ''")
