"""Two watchers use the station name by one station's name: the first one works, the second says whom it met."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datauploader_sandbox.processes import InManyProcesses
from datauploader_testing.waiting import eventually

pytestmark = [pytest.mark.campaign, pytest.mark.fault("F55")]


@contextmanager
def twin_of(run, folder: Path) -> Iterator[InManyProcesses]:
    """Run a watcher with the same name and another state, as on a second computer."""
    config = folder / "datauploader.toml"
    text = run.facility.config.read_text()
    state = json.dumps(str(run.facility.folder / "state"))
    assert state in text
    config.write_text(text.replace(state, json.dumps(str(folder / "state"))))
    config.chmod(0o600)
    twin = InManyProcesses(config, ("watcher",), folder / "log")
    try:
        yield twin
    finally:
        twin.stop()


def test_requests_reach_the_first_of_two_computers_and_the_second_one_says_whom_it_met(case, scribe, tmp_path) -> None:
    """No request is answered by the wrong one; when the first is gone, the second takes over."""
    run = case()
    pen = scribe(run)
    pen.write_many(f"{number}.dat" for number in range(5))
    folder = tmp_path / "twin"
    folder.mkdir()
    with twin_of(run, folder) as twin:
        eventually(
            lambda: "station_claimed_by_another_computer" in twin.log("watcher"),
            within_s=30,
            what="the second one says so",
        )
        assert "use the station name" in twin.log("watcher")
        uploads = [run.request(f"run{number}", mode="batch") for number in range(3)]
        for upload in uploads:
            assert run.completed(upload).counts.catalogued.files == 5
        run.heal()
        run.services.kill("watcher")
        last = run.request("run9", mode="batch")
        assert run.completed(last, 90).counts.catalogued.files == 5
    run.services.start("watcher")
