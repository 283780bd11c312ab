"""An upload that is taken up again: the catalog is asked what it has, because the ledger may be lost and files gone."""

import hashlib

import pytest

from datauploader.contracts import FileVersion, StoredFile, UploadScanned, UploadSealed
from datauploader.contracts.questions import Datafiles, KnownDatafile
from datauploader.contracts.uploads import manifest_digest
from datauploader.errors import QuestionRefused


def version(name: str, content: bytes = b"content", revision: int = 1) -> FileVersion:
    """A version as a lost ledger announced it."""
    digests = {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}
    return FileVersion.of(name.encode(), size=len(content), mtime_ns=1, revision=revision, **digests)


def known(*files: FileVersion, registered: bool = True) -> tuple[KnownDatafile, ...]:
    """What the catalog says of versions that it has."""
    stored = [StoredFile(file=file, object=f"run1/{file.path}", state="verified", method="test") for file in files]
    return tuple(KnownDatafile(stored=one, registered=registered) for one in stored)


def manifest(*files: FileVersion) -> str:
    """The digest of a manifest."""
    return manifest_digest((file.raw, file.sha256) for file in files)


@pytest.mark.fault("F28")
def test_files_that_only_the_catalog_knows_belong_to_the_manifest(world):
    """They were uploaded and removed before the state was lost; they come in pages, and none is announced again."""
    files = [version(f"scan-{number}.dat") for number in range(5)]

    def recalled(question, station):
        assert (question.upload_id, station.key) == ("upload-0001", "elettra.xrd1.ws01")
        at = int(question.after or 0)
        return Datafiles(items=known(*files[at : at + 2]), next=str(at + 2) if at + 2 < len(files) else "")

    world.recalled = recalled
    world.write("new.dat")
    world.start()
    world.request()
    new = world.wait_announced("new.dat")[b"new.dat"]
    seal = world.wait_for(UploadSealed)[-1]
    assert (seal.files, seal.manifest_sha256) == (6, manifest(*files, new))


@pytest.mark.fault("F28")
def test_an_upload_is_not_sealed_while_the_catalog_does_not_say_what_it_has(world):
    """The reason is shown; it is asked again, and then everything goes on."""
    answers = []

    def recalled(_question, _station):
        answers.append(None)
        if len(answers) < 3:
            raise QuestionRefused("unavailable", "the catalog is still loading its history")
        return Datafiles(items=known(version("old.dat")))

    world.recalled = recalled
    world.write("new.dat")
    world.start()
    world.request()
    world.wait_announced("new.dat")
    world.wait_until(lambda: any("still loading" in " ".join(one.troubles) for one in world.events(UploadScanned)))
    assert not world.events(UploadSealed)
    assert world.wait_for(UploadSealed)[0].files == 2
    assert len(answers) == 3
    world.wait_until(lambda: not world.events(UploadScanned)[-1].troubles, "the trouble is over")


def test_what_is_on_the_disk_as_the_catalog_has_it_is_not_uploaded_again(world):
    """Only what differs is a new version, and a newer one than the catalog's."""
    world.recalled = lambda _question, _station: Datafiles(items=known(version("same.dat"), version("other.dat")))
    world.start()
    world.request("sync")
    world.wait_until(lambda: world.states().get("catalogued") == 2, "both are taken over")
    world.write("same.dat")
    world.write("other.dat", b"changed")
    other = world.wait_announced("other.dat")[b"other.dat"]
    assert other.revision > 1
    world.control("close")
    assert world.wait_for(UploadSealed)[0].manifest_sha256 == manifest(version("same.dat"), other)
    assert world.files_announced == 1


@pytest.mark.fault("F28")
@pytest.mark.parametrize("registered", [True, False])
def test_receipts_for_files_that_the_ledger_has_lost_make_the_manifest_whole(world, registered):
    """They were on their way while the state was lost; of two versions the newer one counts."""
    world.start()
    world.request("sync")
    old, new = version("a.dat"), version("a.dat", b"newer", revision=2)
    world.store(old)
    world.store(new)
    if registered:
        world.catalogue(new)
    state = "catalogued" if registered else "stored"
    world.wait_until(lambda: world.states() == {state: 1}, "the receipt is taken over")
    world.control("close")
    assert world.wait_for(UploadSealed)[0].manifest_sha256 == manifest(new)


def test_a_seal_without_an_answer_has_the_catalog_asked_again(world):
    """A ledger that was restored from a backup does not know what it has forgotten."""
    world.write("a.dat")
    world.start(receipt_patience_s=1.0)
    world.request()
    file = world.wait_announced("a.dat")[b"a.dat"]
    assert world.wait_for(UploadSealed)[0].files == 1
    world.recalled = lambda _question, _station: Datafiles(items=known(file, version("b.dat")))
    world.store(file)
    world.catalogue(file)
    world.wait_until(lambda: world.events(UploadSealed)[-1].files == 2, "it is sealed with what the catalog has")
    world.complete(world.events(UploadSealed)[-1])
    world.wait_until(lambda: world.upload_state() == "completed")
