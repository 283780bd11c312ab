"""F50: while a newer version is sent something happens; the storage and the catalogue agree on what is there."""

import hashlib
import os
from pathlib import Path

import pytest

from datauploader_testing.faults import Direction, Stall
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.leftovers import BESIDE

from .conftest import Case

MEGABYTE = 1024**2


def held(run: Case) -> dict[str, str]:
    """Return the digests of what the storage holds."""
    files = [path for path in run.facility.storage.rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def catalogued(run: Case) -> dict[str, str]:
    """Return the digests of the datafiles."""
    return {Path(file["path"]).name: file["sha256"] for one in run.catalogue()["datasets"] for file in one["datafiles"]}


@pytest.mark.campaign
@pytest.mark.fault("F50")
@pytest.mark.parametrize("point", ["transfer.copied", "transfer.beside", "transfer.replaced", "transfer.verified"])
def test_transfer_dies_before_it_settles_a_newer_version_and_the_file_is_removed(case, scribe, point) -> None:
    """It ends with the newer version in both places, or with the older one in both."""
    run = case()
    pen = scribe(run)
    path = pen.write("f.dat", b"the first version")
    upload = run.request()
    run.until_catalogued(upload, 1)
    run.services.kill("transfer")
    run.services.start("transfer", DATAUPLOADER_CRASH_AT=point)
    pen.write("f.dat", b"the second version, which is longer")
    run.services.ended("transfer", 60.0)
    path.unlink()
    pen.ledger.gone(path)
    run.services.start("transfer")
    run.heal()
    run.recover(upload)
    assert held(run) == catalogued(run), "the storage holds something else than the catalogue says"
    assert set(held(run)) == {"f.dat"}


@pytest.mark.campaign
@pytest.mark.fault("F50")
@pytest.mark.parametrize("kind", ["webdav", "apache"])
def test_a_file_that_is_changed_and_renamed_while_its_newer_version_is_sent_is_not_lost(case, scribe, kind) -> None:
    """The bytes that were sent are of no version; the one before stays what was verified, and the new name follows."""
    run = case(storage=kind, proxied=("storage",))
    pen = scribe(run)
    path = pen.write("f.dat", os.urandom(MEGABYTE))
    upload = run.request()
    run.until_catalogued(upload, 1)
    before = held(run)
    stall = Stall(direction=Direction.UP, after=4 * MEGABYTE)
    with run.proxy["storage"].having(stall):
        pen.write("f.dat", os.urandom(48 * MEGABYTE))
        eventually(lambda: stall.hits, within_s=60, what="the newer version is under way")
        with path.open("r+b") as file:
            file.seek(40 * MEGABYTE)
            file.write(b"changed while it is sent")
        other = path.rename(path.with_name("g.dat"))
        pen.ledger.gone(path)
        pen.wrote(other)
    run.heal()
    run.recover(upload)
    assert held(run) == catalogued(run), "the storage holds something else than the catalogue says"
    assert held(run)["f.dat"] == before["f.dat"]
    assert not [name for name in held(run) if name.startswith(BESIDE)]
    assert run.left_out(upload) == {"f.dat": "gone"}
