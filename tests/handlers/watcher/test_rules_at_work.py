"""Standing rules: a folder that fits becomes an upload by itself, once, and again when it changes after its close."""

from collections.abc import Callable
from hashlib import md5, sha256

import pytest

from datauploader.contracts import (
    DatasetEnsured,
    FileLeftOut,
    FileReady,
    FileStored,
    Station,
    StoredFile,
    UploadOpened,
    UploadRequested,
    UploadSealed,
)
from datauploader.contracts.model import Question
from datauploader.contracts.questions import Datafiles, KnownDatafile, ListDatafiles, StoredHash
from datauploader.errors import ConfigurationError

from .conftest import HERE


def rule(world, **fields) -> dict[str, object]:
    """Return a rule of the station."""
    usual = {
        "name": "xrd1", "pattern": f"{world.root}/{{investigation}}/{{dataset}}/**", "remote": "store",
        "quiet_period_s": 0.1,
    }  # fmt: skip
    return {**usual, **fields}


def test_a_folder_that_appears_becomes_an_upload_once(world):
    """Investigation, dataset and location come from its path."""
    world.start(rules=[rule(world)])
    world.write("20260101/run1/a.dat")
    world.wait_announced("a.dat")
    request = world.events(UploadRequested)[0]
    assert (request.investigation, request.dataset.name) == ("20260101", "run1")
    assert request.destination.location == "20260101/run1"
    assert request.requested_by.id == "rule:xrd1"
    assert request.mode == "sync"
    world.stop()
    world.start(rules=[rule(world)])
    world.write("20260101/run2/b.dat")
    world.wait_for(UploadOpened, 2)
    assert len(world.events(UploadRequested)) == 2


def test_a_folder_that_cannot_be_a_dataset_is_told_of_and_others_go_on(world):
    """The operator sees which one, and what to do."""
    (world.root / "20260101" / "bad:name").mkdir(parents=True)
    world.start(rules=[rule(world)])
    world.write("20260101/good/a.dat")
    world.wait_announced("a.dat")
    world.wait_until(lambda: any("bad:name" in text for text in world.watcher.status.troubles))


def ensure(world, upload_id: str) -> None:
    """Say that the dataset of an upload is its own."""
    world.say(DatasetEnsured(upload_id=upload_id, investigation_id="20260101", dataset_id="d1"))


def uploaded(world, generation: int) -> UploadRequested:
    """Let the latest upload of the rule be ensured, catalogued and completed, once it is sealed."""
    request = world.wait_for(UploadRequested, generation)[-1]
    ensure(world, request.upload_id)
    seals = world.wait_until(lambda: [s for s in world.events(UploadSealed) if s.upload_id == request.upload_id])
    files = {f.key: f for e in world.events(FileReady) if e.upload_id == request.upload_id for f in e.files}
    world.catalogue(*files.values(), upload_id=request.upload_id)
    world.complete(seals[-1])
    world.wait_until(lambda: world.watcher.status.uploads == 0, "the upload is over")
    return request


def names(world, upload_id: str) -> set[str]:
    """Return what was announced of an upload."""
    return {file.path for event in world.events(FileReady) if event.upload_id == upload_id for file in event.files}


REOPENING = {"reopen_interval_s": 0.2}


@pytest.mark.fault("F47")
def test_a_closed_folder_that_changes_becomes_a_further_dataset_of_what_is_new(world):
    """What is added or changed the next day arrives, and nothing is written over what the complete dataset holds."""
    world.start(rules=[rule(world, idle_close_s=0.3)], **REOPENING)
    for name in ("a.dat", "sub/b.dat", "c.dat"):
        world.write(f"20260101/run1/{name}")
    first = uploaded(world, 1)
    world.write("20260101/run1/c.dat", b"written once more")
    world.write("20260101/run1/sub/new.dat")
    second = uploaded(world, 2)
    assert second.upload_id != first.upload_id
    assert (first.dataset.name, second.dataset.name) == ("run1", "run1 (2)")
    assert second.destination.location == "20260101/run1 (2)"
    assert (second.continues, second.without) == ((), (first.upload_id,))
    assert names(world, second.upload_id) == {"c.dat", "sub/new.dat"}
    left = [(f.path, f.reason, f.detail) for e in world.events(FileLeftOut) for f in e.files]
    assert ("a.dat", "in-earlier-dataset", "it is already in the dataset run1 and has not changed since") in left
    world.write("20260101/run1/third.dat")
    third = uploaded(world, 3)
    assert (third.dataset.name, third.without) == ("run1 (3)", (first.upload_id, second.upload_id))
    assert names(world, third.upload_id) == {"third.dat"}
    world.wait_until(lambda: world.watcher.status.uploads == 0)
    assert len(world.events(UploadRequested)) == 3


@pytest.mark.fault("F47")
def test_a_further_dataset_is_not_announced_before_the_catalogue_has_it(world):
    """However long that takes."""
    world.start(rules=[rule(world, idle_close_s=0.3)], **REOPENING)
    world.write("20260101/run1/a.dat")
    uploaded(world, 1)
    world.write("20260101/run1/a.dat", b"written once more")
    second = world.wait_for(UploadRequested, 2)[1]
    world.wait_until(lambda: world.states().get("ready"), "the file is read")
    assert not names(world, second.upload_id)
    ensure(world, second.upload_id)
    world.wait_until(lambda: names(world, second.upload_id) == {"a.dat"}, "it is announced")


@pytest.mark.fault("F47")
def test_a_name_whose_file_was_removed_after_its_upload_is_new_when_it_is_written_again(world):
    """The instrument uses the same names every day; what it wrote the day before is on the storage alone."""
    world.outside.answer("transfer", hashed_again(b"content"), station=HERE)
    world.start(rules=[rule(world, idle_close_s=0.3, delete_after=True)], allow_delete=True, **REOPENING)
    there = world.write("20260101/run1/a.dat")
    first = world.wait_for(UploadRequested)[0]
    ensure(world, first.upload_id)
    seal = world.wait_for(UploadSealed)[0]
    (file,) = world.announced().values()
    stored = StoredFile(file=file, object="20260101/run1/a.dat", state="verified", method="test")
    world.say(FileStored(upload_id=first.upload_id, destination=first.destination, files=(stored,)))
    world.catalogue(file, upload_id=first.upload_id)
    world.complete(seal)
    world.wait_until(lambda: not there.exists(), "the local copy is removed")
    world.write("20260101/run1/a.dat")
    second = world.wait_for(UploadRequested, 2)[1]
    assert second.dataset.name == "run1 (2)"
    ensure(world, second.upload_id)
    world.wait_until(lambda: names(world, second.upload_id) == {"a.dat"}, "it is announced")


def hashed_again(content: bytes) -> Callable[[Question], StoredHash]:
    """Answer as transfer does when it reads an object again."""
    digests = {"sha256": sha256(content).hexdigest(), "md5": md5(content, usedforsecurity=False).hexdigest()}
    return lambda _question: StoredHash(found=True, digests=digests, size=len(content))


@pytest.mark.fault("F28", "F47")
def test_a_station_that_has_forgotten_a_complete_dataset_does_not_write_to_it_again(world):
    """The catalog says that it is complete; what has changed since becomes a further dataset."""
    world.start(rules=[rule(world, idle_close_s=0.3)], **REOPENING)
    world.write("20260101/run1/a.dat")
    world.write("20260101/run1/b.dat")
    first = uploaded(world, 1)
    kept = [
        KnownDatafile(stored=StoredFile(file=f, object=f.path, state="verified", method="test"), registered=True)
        for f in world.announced().values()
    ]
    world.stop()
    for path in world.state.glob("watcher.sqlite3*"):
        path.unlink()
    world.forget()

    def recalled(question: ListDatafiles, _station: Station) -> Datafiles:
        known = question.upload_id == first.upload_id
        return Datafiles(items=tuple(kept) if known else (), ensured=known, complete=known)

    world.recalled = recalled
    world.write("20260101/run1/b.dat", b"written once more")
    world.start(rules=[rule(world, idle_close_s=0.3)], catalogue_patience_s=20, **REOPENING)
    second = world.wait_for(UploadRequested, 2)[1]
    assert second.dataset.name == "run1 (2)"
    ensure(world, second.upload_id)
    world.wait_until(lambda: names(world, second.upload_id), "what is new is announced")
    assert names(world, second.upload_id) == {"b.dat"}
    assert not names(world, first.upload_id)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"pattern": "/elsewhere/{investigation}/{dataset}"}, "roots"),
        ({"remote": "nowhere"}, "nowhere"),
        ({"exclude": ("#",)}, "'#'"),
        ({"marker": " "}, "' '"),
        ({"delete_after": True}, "allow_delete"),
        ({"location": "{sample}"}, "{sample}"),
    ],
)
def test_a_rule_that_cannot_work_stops_the_start_with_its_name(world, fields, problem):
    """A wrong configuration is a sentence, not a surprise at night."""
    with pytest.raises(ConfigurationError) as caught:
        world.start(rules=[rule(world, **fields)])
    assert "xrd1" in str(caught.value)
    assert problem in str(caught.value)


def test_a_request_of_a_rule_that_gets_lost_is_said_again(world):
    """The broker lost it on its way back to the station."""
    world.start(rules=[rule(world)], receipt_patience_s=0.5)
    world.write("20260101/run1/a.dat")
    world.wait_announced("a.dat")
    with world.watcher.store.transaction() as db:
        db.execute("DELETE FROM files")
        db.execute("DELETE FROM folders")
        db.execute("DELETE FROM uploads")
        db.execute("DELETE FROM inbox")
    world.wait_until(lambda: len(world.events(UploadRequested)) == 2, "the request is said again")
    assert len({event.upload_id for event in world.events(UploadRequested)}) == 1


def asked(world) -> set[str]:
    """Return the datasets that rules have asked for."""
    return {request.dataset.name for request in world.events(UploadRequested)}


def look_round(world) -> None:
    """Wait until a folder that came later than all others is asked for: the rules have seen these as long."""
    world.write("20260101/latest/latest.dat")
    world.wait_until(lambda: "latest" in asked(world), "the latest folder is asked for")


@pytest.mark.fault("F58")
def test_folders_of_systems_and_hidden_ones_become_no_datasets_and_no_trouble(world):
    """Deleted files of people lie in them; nobody can rename them either."""
    for name in (
        "#recycle",
        "@eaDir",
        "$Recycle.Bin",
        "System Volume Information",
        "lost+found",
        ".Trash-1000",
        ".git",
    ):
        world.write(f"20260101/{name}/deleted.docx")
        world.write(f"{name}/run1/deleted.docx")
    world.start(rules=[rule(world)])
    world.write("20260101/run1/@eaDir/thumb.png")
    world.write("20260101/run1/a.dat")
    world.wait_announced("a.dat")
    world.wait_until(lambda: world.left_out() == {b"@eaDir": "excluded"}, "the thumbnails are on the record")
    look_round(world)
    assert asked(world) == {"run1", "latest"}
    assert world.watcher.status.troubles == ()


@pytest.mark.fault("F58")
def test_an_empty_folder_and_one_with_nothing_to_upload_become_nothing_until_there_is_a_file(world):
    """A folder is there before its first file."""
    (world.root / "20260101" / "New folder" / "below").mkdir(parents=True)
    world.write("20260101/New folder/.DS_Store")
    world.write("20260101/New folder/notes.log")
    world.start(rules=[rule(world, exclude=["*.log"])])
    world.write("20260101/run1/a.dat")
    world.wait_announced("a.dat")
    look_round(world)
    assert asked(world) == {"run1", "latest"}
    world.write("20260101/New folder/below/b.dat")
    world.wait_announced("a.dat", "below/b.dat", "latest.dat")
    assert asked(world) == {"run1", "latest", "New folder"}


@pytest.mark.fault("F58")
def test_a_folder_that_is_renamed_within_a_quiet_period_becomes_its_last_name_alone(world):
    """Whoever makes a folder has it before it has a name."""
    first = world.write("20260101/bad: name/a.dat").parent
    world.start(rules=[rule(world, quiet_period_s=1.5)])
    world.wait_until(lambda: any("bad: name" in text for text in world.watcher.status.troubles))
    second = first.rename(first.with_name("New folder"))
    world.wait_until(lambda: world.watcher.status.troubles == (), "what was said of the other name is over")
    second.rename(first.with_name("sample7"))
    world.wait_announced("a.dat")
    assert asked(world) == {"sample7"}
