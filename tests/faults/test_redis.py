"""Redis forgets, dies or is away during a run: uploads go on, and the page is right again within a minute."""

import shutil
import time

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

REBUILT_S = 60.0


def restored(run, upload: str) -> None:
    """Wait until the view shows every file of the catalogue, and say how long that took."""
    began = time.monotonic()
    run.facility.wait()
    run.token = run.facility.sign_in()  # sessions were Redis's as well

    def whole() -> bool:
        return run.status(upload).counts.catalogued.files >= run.catalogued() > 0

    eventually(whole, within_s=REBUILT_S, what="the view has every file that the catalogue has")
    assert time.monotonic() - began < REBUILT_S


def goes_on(run) -> None:
    """Wait until files have been stored and catalogued that were not before."""
    stored, catalogued = run.stored(), run.catalogued()
    eventually(lambda: run.stored() > stored and run.catalogued() > catalogued, within_s=60, what="uploads go on")


@pytest.mark.campaign
@pytest.mark.fault("F41")
def test_redis_flushed_killed_and_away_delays_the_page_and_no_file(case) -> None:
    """One after the other, while an instrument writes."""
    run = case(proxied=("redis",))
    upload = run.request()
    run.opened(upload)
    redis = run.server["redis"]
    with Detector(run.facility.watched, run.ledger, Plan(scans=0, frames=10, seconds_per_frame=0.1)) as detector:
        goes_on(run)
        assert redis.command("FLUSHALL") == "+OK"
        restored(run, upload)
        run.proxy["redis"].refuse()
        run.proxy["redis"].cut()
        goes_on(run)
        run.proxy["redis"].accept()
        restored(run, upload)
        redis.kill()
        goes_on(run)
        redis.start()
        run.heal()
        restored(run, upload)
        detector.stop()
        detector.finish(30)
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F53")
def test_a_redis_that_comes_back_older_than_its_queue_is_built_again(case, scribe) -> None:
    """What was appended since a copy is gone, as after a power cut: what was completed stays so."""
    run = case()
    pen = scribe(run)
    upload = run.request()
    run.opened(upload)
    pen.write_many(f"{number}.dat" for number in range(5))
    run.until_catalogued(upload, 5)
    redis = run.server["redis"]
    files, copy = redis.directory / "appendonlydir", run.facility.folder / "copy"
    shutil.copytree(files, copy)
    pen.write_many(f"later/{number}.dat" for number in range(5))
    run.control(upload, "close")
    run.completed(upload)
    redis.kill()
    shutil.rmtree(files)
    shutil.copytree(copy, files)
    redis.start()
    run.heal()
    restored(run, upload)
    run.recover(upload, close=False)
