"""Local copies go only after their stored copies were hashed again, whatever happens around the deletion."""

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

ALLOWED = {"watcher": {"allow_delete": True}, "gateway": {"offer_delete_after": True}}
PLAN = Plan(mode="burst", files=12, file_size=20_000)


def local(run) -> list[str]:
    """Return the names of the files that the station still has."""
    return sorted(path.name for path in run.facility.watched.rglob("*") if path.is_file())


def stored(run) -> list:
    """Return the files that the storage has."""
    return sorted(path for path in run.facility.storage.rglob("*.cbf"))


def write(run) -> None:
    """Write the plan's files into the watched folder."""
    Detector(run.facility.watched, run.ledger, PLAN).run()


@pytest.mark.fault("F39", "F40")
@pytest.mark.campaign
@pytest.mark.parametrize("where", ["watcher.unlinking:5", "watcher.unlinked:5"])
def test_a_station_killed_around_a_deletion_deletes_the_rest_and_nothing_else(case, where) -> None:
    """SIGKILL just before or after the fifth file goes: after the start all go, and the storage has every one."""
    run = case(settings=ALLOWED)
    run.services.terminate("watcher")
    run.services.start("watcher", DATAUPLOADER_CRASH_AT=where)
    run.facility.wait()
    write(run)
    upload = run.request(mode="batch", delete_after=True)
    assert run.services.ended("watcher", within_s=60) < 0
    assert 0 < len(local(run)) < PLAN.files
    run.heal()
    run.services.start("watcher")
    eventually(lambda: not local(run), within_s=60, what="every local copy is released")
    eventually(lambda: all(file["released"] for file in run.files(upload)), within_s=60, what="people are told so")
    run.recover(upload, close=False)


@pytest.mark.fault("F39")
@pytest.mark.campaign
def test_a_local_copy_stays_when_its_stored_copy_is_damaged_or_gone(case) -> None:
    """After the dataset is complete one object changes a byte and one vanishes: just those two stay at the station."""
    run = case(settings=ALLOWED)
    write(run)
    upload = run.request(delete_after=True)
    eventually(lambda: run.verified(upload) == PLAN.files, within_s=60, what="everything is verified")
    run.services.terminate("catalog")
    run.control(upload, "close")
    eventually(lambda: "upload_sealed" in run.services.log("watcher"), within_s=60, what="the upload is sealed")
    run.services.terminate("watcher")
    run.services.start("catalog")
    run.completed(upload)
    damaged, gone, *_ = stored(run)
    run.guard.excuse(damaged)
    run.guard.excuse(gone)
    whole = damaged.read_bytes()
    damaged.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    elsewhere = gone.rename(run.facility.folder / gone.name)
    run.services.start("watcher")
    kept = [damaged.name, gone.name]
    eventually(lambda: local(run) == kept, within_s=60, what="all but two local copies are released")
    damaged.write_bytes(whole)
    elsewhere.rename(gone)
    run.heal()
    run.recover(upload, close=False)
    assert local(run) == kept
