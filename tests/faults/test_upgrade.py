"""One release up and down again while files are written: nothing is lost, and nobody has to move a file away."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from datauploader.reliability.store import ENDINGS
from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.next_release import write_next_release

pytestmark = [pytest.mark.campaign, pytest.mark.fault("F66")]

SERVER_FIRST = ("gateway", "catalog", "watcher", "transfer")


def of_next_release(state: Path) -> bool:
    """Tell whether a state file has tables of the release that does not exist yet."""
    with closing(sqlite3.connect(state)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master")]
    return any(name.startswith("next_") for name in names)


def test_a_facility_goes_one_release_up_and_down_again_while_it_works(case, tmp_path: Path) -> None:
    """Service after service becomes the next release, server first, and then this one again, station first."""
    following = str(write_next_release(tmp_path / "next"))
    run = case()
    upload = run.request()
    plan = Plan(scans=16, frames=10, seconds_per_frame=0.15)
    with Detector(run.facility.watched, run.ledger, plan) as detector:
        for service in SERVER_FIRST:
            detector.join(1.5)
            assert run.services.terminate(service) == 0
            run.services.start(service, PYTHONPATH=following)
        run.facility.wait()
        before = run.verified(upload)
        run.until(upload, lambda status: status.counts.stored.files > before, "the next release stores files", 60)
        found = [path for path in (run.facility.folder / "state").iterdir() if path.suffix in ENDINGS]
        states = [path for path in found if path.stem in SERVER_FIRST]
        assert len(states) == len(SERVER_FIRST)
        assert all(map(of_next_release, states)), states
        for service in reversed(SERVER_FIRST):
            detector.join(1.5)
            assert run.services.terminate(service) == 0
            run.services.start(service)
        detector.finish(120)
    run.heal()
    run.facility.wait()
    run.recover(upload)
    assert "newer release" not in "".join(run.services.log(service) for service in SERVER_FIRST)
    assert "view_of_a_later_release_removed" in run.services.log("gateway")
