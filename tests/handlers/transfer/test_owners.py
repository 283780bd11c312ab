"""Whose an object is: an upload replaces what it, or an upload that it continues, has written, and nothing else."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datauploader.contracts import FileFailed, FileStored, FileVersion
from datauploader.contracts.files import FailedFile, StoredFile
from datauploader.contracts.previews import DestinationContent, HeldObject
from datauploader.contracts.questions import KnownDatafile, LookAtDestination
from datauploader.reliability import Schema, Store
from datauploader_testing.waiting import eventually
from datauploader_transfer import schema
from datauploader_transfer.domain.leftovers import beside
from datauploader_transfer.ledger import InterruptedWrites, JobTable
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import UNPROVED

from .test_transfer_service import HERE, UPLOAD, World

OTHER = "upload-0002"
OBJECT = "20260101/run1/a"


@pytest.fixture(params=[False, True], ids=["lately", "long ago"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A running transfer service; what `store` has stored was stored lately, or so long ago that it is compacted."""
    made = World(tmp_path)
    made.long_ago = request.param
    yield made
    made.stop()
    made.outside.close()


def store(world: World, content: bytes, *, upload_id: str = UPLOAD, continues: tuple[str, ...] = ()) -> FileVersion:
    """Write the file `a` and have it stored."""
    before = sum(len(data.files) for data in world.heard if isinstance(data, FileStored))
    file = world.write("a", content)
    world.announce(file, upload_id=upload_id, continues=continues)
    world.stored(before + 1)
    if world.long_ago:
        eventually(lambda: not world.service._worker.moving(), what="the mover has let go of it")
        world.compact()
        with world.service._store.reading() as db:
            assert not db.execute("SELECT 1 FROM owners WHERE digests <> ?", (UNPROVED,)).fetchall()
    return file


def refused(world: World) -> FailedFile:
    """Wait for the final conflict."""
    return eventually(
        lambda: next((one for one in world.failed() if one.final and one.reason == "conflict"), None),
        what="the conflict is final",
    )


def forget(world: World, *, log: bool) -> None:
    """Lose the state file; and what the event log could tell of it, where that may not be read."""
    world.lose_state()
    world.start()
    if not log:
        eventually(lambda: not world.service._store.needs_recovery, what="the log is read to its end")
        with world.service._store.transaction() as db:
            db.execute("DELETE FROM owners")


@pytest.mark.fault("F47")
def test_a_second_upload_to_the_same_place_replaces_nothing_of_the_first(world: World) -> None:
    """Another file of the same name is a conflict, at once and after *retry*, and says whose it is."""
    store(world, b"first")
    world.announce(world.write("a", b"second"), upload_id=OTHER)
    failed = refused(world)
    assert "another upload" in failed.detail
    assert failed.hint == "Choose another dataset name."
    assert world.storage.objects == {OBJECT: b"first"}
    assert not world.asked, "this transfer knows whose it is: nobody is asked"


@pytest.mark.fault("F47")
def test_what_another_upload_wrote_is_not_ours_because_it_was_equal_once(world: World) -> None:
    """The same folder uploaded twice finds all its files stored; one that changes then would destroy the first's."""
    store(world, b"both")
    store(world, b"both", upload_id=OTHER)
    world.announce(world.write("a", b"newer"), upload_id=OTHER)
    refused(world)
    assert world.storage.objects == {OBJECT: b"both"}


@pytest.mark.fault("F47")
def test_what_another_upload_counts_on_is_not_replaced_by_its_writer(world: World) -> None:
    """The first upload is still open; the second has a receipt for the same bytes."""
    store(world, b"both")
    store(world, b"both", upload_id=OTHER)
    world.announce(world.write("a", b"newer"))
    refused(world)
    assert world.storage.objects == {OBJECT: b"both"}


@pytest.mark.fault("F47")
def test_what_another_upload_counts_on_is_no_leftover_of_its_writer_either(world: World) -> None:
    """A log that grows: its former version is the beginning of the newer one, and somebody else's receipt is for it."""
    store(world, b"line 0\n")
    store(world, b"line 1\n")
    store(world, b"line 1\n", upload_id=OTHER)
    world.announce(world.write("a", b"line 1\nline 2\n"))
    refused(world)
    assert world.storage.objects == {OBJECT: b"line 1\n"}


@pytest.mark.fault("F47")
def test_what_was_found_there_does_not_become_ours_because_the_catalog_has_it(world: World) -> None:
    """Somebody has put the same bytes there; the upload counts on them, and the catalog lists them as stored."""
    world.storage.objects[OBJECT] = b"same"
    world.catalogued[UPLOAD] = (told(store(world, b"same")),)
    world.announce(world.write("a", b"newer"))
    refused(world)
    assert world.storage.objects == {OBJECT: b"same"}


@pytest.mark.fault("F36")
@pytest.mark.fault("F50")
def test_nothing_is_sent_to_a_target_beside_which_something_waits_to_be_put_in_order(world: World) -> None:
    """What lies beside may be the only whole version there is; it is brought home first."""
    store(world, b"old")
    del world.storage.objects[OBJECT]
    world.storage.objects[beside(OBJECT)] = b"old"  # a crash came between removing and moving
    with world.service._store.transaction() as db:
        InterruptedWrites(db).note_cut("store", [OBJECT])
    world.storage.unlisted = "the folder is not listed now"
    world.announce(world.write("a", b"newer"))
    assert not world.failed()[0].final
    assert world.storage.objects == {beside(OBJECT): b"old"}
    world.storage.unlisted = ""
    world.stored(2)
    assert world.storage.objects == {OBJECT: b"newer"}


@pytest.mark.fault("F47")
def test_an_upload_that_continues_another_replaces_what_that_wrote(world: World) -> None:
    """And what the other one continued; which uploads these are may be said later than the first file."""
    store(world, b"first")
    store(world, b"second", upload_id=OTHER, continues=(UPLOAD,))
    store(world, b"third", upload_id="upload-0003", continues=(OTHER,))
    assert world.storage.objects == {OBJECT: b"third"}
    assert not [data for data in world.heard if isinstance(data, FileFailed)]


@pytest.mark.fault("F47")
def test_a_log_that_has_grown_is_no_leftover_of_a_second_upload(world: World) -> None:
    """After *retry* as well, when the second upload has tried it already."""
    store(world, b"line 1\n")
    world.announce(world.write("a", b"line 1\nline 2\n"), upload_id=OTHER)
    refused(world)
    with world.service._store.transaction() as db:
        JobTable(db).retry_jobs(OTHER)
    world.service._worker.wake()
    eventually(lambda: len(world.failed()) == 2, what="it is tried again")
    assert world.storage.objects == {OBJECT: b"line 1\n"}


@pytest.mark.fault("F47")
def test_the_destination_holds_foreign_objects_for_whom_does_not_continue_their_upload(world: World) -> None:
    """The dry run of a second upload says what is in its way."""
    store(world, b"data")

    def foreign(*continues: str) -> tuple[HeldObject, ...]:
        question = LookAtDestination(remote="store", location="20260101/run1", continues=continues)
        return world.outside.ask(question, DestinationContent, station=HERE).result(60).foreign

    assert foreign() == foreign(OTHER) == (HeldObject(path="a", size=4),)
    assert foreign(OTHER, UPLOAD) == ()


@pytest.mark.fault("F28")
@pytest.mark.fault("F47")
@pytest.mark.parametrize("upload_id", [UPLOAD, OTHER])
def test_a_lost_ledger_knows_from_the_log_whose_an_object_is(world: World, upload_id: str) -> None:
    """Its own upload goes on; another one is refused."""
    store(world, b"old")
    forget(world, log=True)
    world.announce(world.write("a", b"newer"), upload_id=upload_id)
    if upload_id == UPLOAD:
        world.stored(2)
    else:
        assert "another upload" in refused(world).detail
    assert world.storage.objects == {OBJECT: b"newer" if upload_id == UPLOAD else b"old"}


def told(file: FileVersion) -> KnownDatafile:
    """Return what the catalog knows of the file."""
    return KnownDatafile(
        stored=StoredFile(file=file, object=OBJECT, state="verified", method="read back"), registered=True
    )


@pytest.mark.fault("F53")
@pytest.mark.parametrize("owner", [UPLOAD, OTHER], ids=["its own", "continued"])
def test_a_ledger_from_the_past_asks_the_catalog_what_is_ours(world: World, owner: str) -> None:
    """Neither its copy nor a log that it may not read knows the version that lies there: it is no conflict."""
    old = store(world, b"old", upload_id=owner)
    forget(world, log=False)
    world.catalogued[owner] = (told(old),)
    world.announce(world.write("a", b"newer"), continues=(OTHER,))
    world.stored(2)
    assert world.storage.objects == {OBJECT: b"newer"}
    assert not [data for data in world.heard if isinstance(data, FileFailed)]
    assert sorted(world.asked) == [UPLOAD, OTHER]


@pytest.mark.fault("F53")
def test_a_conflict_is_not_final_before_the_catalog_has_answered(world: World) -> None:
    """It is told meanwhile, and why; nobody has to press anything when the catalog is back."""
    old = store(world, b"old")
    forget(world, log=False)
    world.catalogued[UPLOAD] = (told(old),)
    world.catalog_refuses = "unavailable"
    world.announce(world.write("a", b"newer"))
    (failed,) = world.failed()
    assert (failed.reason, failed.final) == ("conflict", False)
    assert "catalog" in failed.detail
    world.catalog_refuses = ""
    eventually(lambda: world.storage.objects == {OBJECT: b"newer"}, what="it is stored", within_s=20)
    assert not [file for file in world.failed() if file.final]


@pytest.mark.fault("F47")
@pytest.mark.parametrize("code", ["", "not-allowed"])
def test_a_strangers_object_stays_a_conflict_when_the_catalog_has_answered(world: World, code: str) -> None:
    """It is asked once, however many files are in the way."""
    world.catalog_refuses = code
    names = [f"{number:02}" for number in range(30)]
    world.storage.objects |= {f"20260101/run1/{name}": b"theirs" for name in names}
    world.announce(*(world.write(name, b"ours") for name in names))
    assert all(failed.final for failed in world.failed(30))
    assert world.asked == [UPLOAD]
    assert set(world.storage.objects.values()) == {b"theirs"}


@pytest.mark.fault("F50")
def test_of_a_vanished_version_it_is_told_that_the_former_one_is_stored(world: World) -> None:
    """Looked up, not concluded: by whatever hash the storage gives, named by the SHA-256."""
    old = store(world, b"old")
    newer = world.write("a", b"newer")
    (world.source / "a").unlink()
    world.announce(newer)
    (failed,) = world.failed()
    assert (failed.reason, failed.holds, failed.former) == ("source-gone", "former", old.sha256)
    assert world.storage.objects == {OBJECT: b"old"}


@pytest.mark.fault("F50")
@pytest.mark.parametrize(("content", "holds"), [(None, "nothing"), (b"theirs", "other")])
def test_of_a_vanished_version_it_is_told_what_else_there_is(world: World, content: bytes | None, holds: str) -> None:
    """Somebody has removed or exchanged the object at the storage: the former version is not claimed to be there."""
    store(world, b"old")
    world.storage.objects.clear()
    if content is not None:
        world.storage.objects[OBJECT] = content
    newer = world.write("a", b"newer")
    (world.source / "a").unlink()
    world.announce(newer)
    (failed,) = world.failed()
    assert (failed.holds, failed.former) == (holds, None)


@pytest.mark.fault("F50")
def test_a_version_that_is_on_the_storage_is_stored_whatever_became_of_its_source(world: World) -> None:
    """Transfer was killed between the storing and its note, and the file was removed."""
    store(world, b"old")
    newer = world.write("a", b"newer")
    (world.source / "a").unlink()
    world.storage.objects[OBJECT] = b"newer"
    world.announce(newer)
    assert world.stored(2)[1].file == newer
    assert not [data for data in world.heard if isinstance(data, FileFailed)]


def earlier_steps() -> tuple[str, ...]:
    """Return the schema as it was before objects had owners."""
    return tuple(itertools.takewhile(lambda step: "CREATE TABLE owners" not in step, schema.SCHEMA.steps))


@pytest.mark.fault("F47")
def test_an_older_ledger_gives_what_was_written_to_the_uploads_whose_place_it_is() -> None:
    """One upload goes on as before; where two have the same place, neither replaces what is there."""
    uploads = [("u1", "20260101/run1"), ("u2", "20260101/run10"), ("u3", "20260101/run3"), ("u4", "20260101/run3")]
    objects = ("20260101/run1/a", "20260101/run10/a", "20260101/run3/a", "20260101/run2/a")
    with closing(sqlite3.connect(":memory:")) as db:
        for step in earlier_steps():
            db.executescript(step)
        db.executemany(
            "INSERT INTO uploads (upload_id, cause, root, remote, location) VALUES (?, x'', x'', 'store', ?)", uploads
        )
        db.executemany("INSERT INTO written VALUES ('store', ?, ?)", [(name, "ab" * 16) for name in objects])
        for step in schema.SCHEMA.steps[len(earlier_steps()) :]:
            db.executescript(step)
        may = {
            upload: [
                name
                for name, digests in ObjectOwners(db).replaceable_digests("store", objects, {upload}).items()
                if digests[0]
            ]
            for upload, _ in uploads
        }
    assert may == {"u1": [objects[0]], "u2": [objects[1]], "u3": [], "u4": []}


@pytest.mark.fault("F50")
def test_a_ledger_of_an_earlier_release_knows_the_former_version(tmp_path: Path) -> None:
    """By its SHA-256, where the storage has another hash."""
    sha256, md5 = "cd" * 32, "ab" * 16
    earlier = Store(tmp_path / "transfer.sqlite", [Schema("transfer", earlier_steps())])
    with closing(earlier), earlier.transaction() as db:
        db.execute(
            "INSERT INTO uploads (upload_id, cause, root, remote, location) VALUES ('u1', x'', x'', 'store', 'run')"
        )
        stored = f'{{"file":{{"sha256":"{sha256}","md5":"{md5}"}},"object":"run/a"}}'
        db.execute("INSERT INTO jobs VALUES ('u1', x'61', 1, 3, '', 'stored', 0, 0, ?, '')", (stored,))
    later = Store(tmp_path / "transfer.sqlite", [schema.SCHEMA])
    with closing(later), later.reading() as db:
        assert ObjectOwners(db).find_former_version("store", "run/a", {"u1"}, md5) == sha256
