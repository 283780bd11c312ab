"""Several movers share the work of one transfer; each of them is ended, frozen and cut off while it writes."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from datauploader_testing.waiting import eventually

pytestmark = [pytest.mark.campaign, pytest.mark.fault("F65")]

FILES = 3000
SETTINGS = {"transfer": {"movers": 1, "movers_elsewhere": 8, "lease_s": 6, "batch_files": 100}}


@contextmanager
def moved_by(run: Any, movers: int) -> Iterator[Counter[str]]:
    """Start movers; yield where their counts of stored files are put at the end."""
    counts: Counter[str] = Counter()
    names = [f"mover#{number}" for number in range(movers)]
    for name in names:
        run.services.start(name)
    for name in names:
        eventually(lambda name=name: "service_started" in run.services.log(name), within_s=30, what=f"{name} starts")
    yield counts
    for name in names:
        counts[name] = sum(batch["stored"] for batch in batches(run, name))


def batches(run: Any, mover: str) -> list[dict[str, Any]]:
    """Return what a mover has written of the batches that it moved."""
    lines = [json.loads(line) for line in run.services.log(mover).splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "batch_moved"]


@pytest.mark.parametrize("movers", [2, 4])
def test_several_movers_share_an_upload_and_do_nothing_twice(case, scribe, movers) -> None:
    """Every mover stores some of the files, and all together each file once."""
    run = case(settings=SETTINGS)
    scribe(run).write_many(f"{number % 30}/{number}.dat" for number in range(FILES))
    with moved_by(run, movers) as counts:
        upload = run.request(mode="batch")
        run.recover(upload, close=False)
    assert all(counts.values()), counts
    assert sum(counts.values()) <= FILES, counts


def test_movers_that_are_killed_or_frozen_lose_and_spoil_nothing(case, scribe) -> None:
    """SIGKILL to one, a freeze that outlasts its lease to another, each while files move."""
    run = case(settings=SETTINGS)
    scribe(run).write_many(f"{number % 30}/{number}.dat" for number in range(FILES))
    with moved_by(run, 3):
        upload = run.request(mode="batch")
        run.until(upload, lambda status: status.counts.stored.files > 200, "the first files are stored")
        run.services.pause("mover#1")
        run.services.kill("mover#0")
        run.until(upload, lambda status: status.counts.stored.files > FILES - 300, "the others go on", 120)
        run.services.resume("mover#1")
        run.heal()
        run.recover(upload, close=False)


def test_a_transfer_that_dies_while_others_move_for_it_goes_on(case, scribe) -> None:
    """Its movers stop by themselves; after its start everything is stored, by them as well."""
    run = case(settings=SETTINGS)
    scribe(run).write_many(f"{number % 30}/{number}.dat" for number in range(FILES))
    with moved_by(run, 2) as counts:
        upload = run.request(mode="batch")
        run.until(upload, lambda status: status.counts.stored.files > 200, "the first files are stored")
        run.services.kill("transfer")
        run.services.start("transfer")
        run.heal()
        run.recover(upload, close=False)
    assert all(counts.values()), counts


def test_a_newer_version_waits_for_the_mover_that_has_the_older_one(case, scribe) -> None:
    """Files are written again while a mover that has some of them stands still; the last version is what is stored."""
    run = case(settings=SETTINGS)
    pen = scribe(run)
    upload = run.request()
    with moved_by(run, 2):
        pen.write_many(f"{number}.dat" for number in range(600))
        run.until(upload, lambda status: status.counts.stored.files > 100, "the first files are stored")
        run.services.pause("mover#0")
        for number in range(600):
            pen.write(f"{number}.dat", b"a second version of %d" % number)
        run.until(upload, lambda status: status.counts.stored.files >= 600, "all are stored once", 120)
        run.services.resume("mover#0")
        run.heal()
        run.recover(upload)
