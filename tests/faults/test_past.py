"""State from the past: a file, or the whole server, put back from a copy that is older than what others have heard."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from datauploader.errors import UploadNotFound
from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader_sandbox.processes import PROGRAM
from datauploader_testing.waiting import eventually

STATES = {"watcher": "watcher.sqlite3", "transfer": "transfer.sqlite", "catalog": "catalog.sqlite"}
SETTINGS = {
    "watcher": {"receipt_patience_s": 5.0, "report_interval_s": 1.0},
    "transfer": {"report_interval_s": 1.0},
    "gateway": {"request_patience_s": 5.0, "report_interval_s": 2.0},
}


SERVER = {"gateway": "gateway.sqlite", "catalog": "catalog.sqlite", "nexus-harvester": "harvester-nexus.sqlite"}
"""The services of the server, and their state files."""


class Two:
    """Two uploads of two folders, one from before the copy and one from after it."""

    def __init__(self, run, scribe: Callable) -> None:
        """Begin with the first one, of which some files are in the catalogue."""
        self.run, self._scribe = run, scribe
        self.states = run.facility.folder / "state"
        self.copies = run.facility.folder / "copies"
        self.copies.mkdir()
        self.before = self._begin(run, "before")

    def _begin(self, run, dataset: str):
        folder = run.facility.watched / dataset
        folder.mkdir()
        writer = self._scribe(run, folder)
        writer.write_many(f"{number}.dat" for number in range(5))
        upload = run.request(dataset, path=str(folder.resolve()))
        run.until_catalogued(upload, 5)
        return run, writer, upload, dataset

    @contextmanager
    def without(self, service: str) -> Iterator[None]:
        """Stop a service for a while; afterwards everybody answers again."""
        with self.run.facility.without(service):
            yield
        eventually(lambda: _signed_in(self.run.facility), within_s=60, every_s=0.5, what="the catalog answers")

    def copy(self, service: str) -> None:
        """Copy a state file as operations.md says: while its service is stopped."""
        with self.without(service):
            shutil.copyfile(self.states / STATES[service], self.copies / STATES[service])

    def go_on(self) -> None:
        """Have a second upload, and more of the first one."""
        self.after = self._begin(self.run.beside("after"), "after")
        run, writer, upload, _ = self.before
        writer.write_many(f"more-{number}.dat" for number in range(3))
        run.until_catalogued(upload, 8)

    def put_back(self, service: str) -> None:
        """Put the copy back."""
        with self.without(service):
            for old in self.states.glob(f"{STATES[service]}*"):
                old.unlink()
            shutil.copyfile(self.copies / STATES[service], self.states / STATES[service])

    def aside(self, service: str) -> list[Path]:
        """List what was set aside as from the past."""
        return sorted(self.states.glob(f"{STATES[service]}.past-*"))

    def lose_server(self) -> None:
        """End the services of the server, and take all that they, the broker and Redis remember."""
        for service in SERVER:
            self.run.services.terminate(service)
        broker = self.run.server["rabbitmq"]
        broker.kill()
        shutil.rmtree(broker.directory / "data")
        for name in SERVER.values():
            for old in self.states.glob(f"{name}*"):
                old.unlink()
        self.run.server["redis"].command("FLUSHALL")

    def start_server(self, *runs) -> None:
        """Start its services, and sign the people of some runs in again."""
        for service in SERVER:
            self.run.services.start(service)
        self.run.facility.wait()
        eventually(lambda: _signed_in(self.run.facility), within_s=60, every_s=0.5, what="the catalog answers")
        for one in runs:
            one.token = self.run.facility.sign_in()

    def finish(self) -> None:
        """Write on in both folders, close both, and have the oracle judge."""
        self.run.heal()
        for _, writer, _, _ in (self.before, self.after):
            writer.write("0.dat", b"a newer version")
            writer.write("last.dat", b"the last file")
        for run, _, upload, dataset in (self.before, self.after):
            run.recover(upload, datasets=(dataset,))


@pytest.fixture
def two(case, scribe) -> Two:
    """Give the first upload, half done."""
    return Two(case(settings=SETTINGS), scribe)


@pytest.mark.campaign
@pytest.mark.fault("F53")
@pytest.mark.parametrize("service", STATES)
def test_a_state_file_put_back_from_a_copy_is_noticed_and_everything_comes_right(two: Two, service: str) -> None:
    """Uploads and files that came after the copy are known again, and both datasets are completed."""
    two.copy(service)
    two.go_on()
    two.put_back(service)
    if service != "catalog":  # which reads the event log instead
        eventually(lambda: two.aside(service), within_s=20, what="the old file is set aside")
    two.finish()


@pytest.mark.campaign
@pytest.mark.fault("F53")
def test_an_upload_that_a_put_back_watcher_did_not_know_can_be_cancelled(two: Two) -> None:
    """The order does what it says, instead of being taken in and forgotten."""
    two.copy("watcher")
    two.go_on()
    two.put_back("watcher")
    run, _, upload, _ = two.after
    run.control(upload, "cancel")
    run.until(upload, lambda status: status.state == "cancelled", "it is cancelled", within_s=60)


@pytest.mark.campaign
@pytest.mark.fault("F53")
def test_a_server_that_begins_from_nothing_is_told_of_the_open_uploads_by_their_station(two: Two) -> None:
    """Broker, Redis, catalog and gateway are new, as after restoring `.env` and the site's folder alone."""
    two.go_on()
    run = two.run
    two.lose_server()
    stored = {path: path.stat().st_mtime_ns for path in run.facility.storage.rglob("*") if path.is_file()}
    run.server["rabbitmq"].start()
    two.start_server(two.before[0], two.after[0])
    for _, _, each, _ in (two.before, two.after):
        eventually(lambda each=each: _status(run, each) == "open", within_s=60, what="the upload is known again")
        run.until_catalogued(each, 5)
    assert {path: path.stat().st_mtime_ns for path in stored} == stored, "something was sent again"
    two.finish()


def _signed_in(facility) -> bool:
    try:
        return bool(facility.sign_in())
    except httpx.HTTPStatusError:
        return False


def _status(run, upload: str) -> str:
    try:
        return run.status(upload).state
    except UploadNotFound:
        return ""


@pytest.mark.campaign
@pytest.mark.fault("F53")
def test_a_server_restored_on_nothing_from_its_backup_knows_everything_again(two: Two, tmp_path: Path) -> None:
    """The station lives on; history and receipts are there, and what began or ended after the backup comes right."""
    run = two.run
    over, _, done, dataset = two._begin(run.beside("done"), "done")
    over.recover(done, datasets=(dataset,))
    _, _, between, _ = two._begin(run.beside("between"), "between")
    command(run, "backup", tmp_path / "b.tar", "--keep", run.facility.config)
    two.go_on()
    run.control(between, "close")
    run.completed(between)
    two.lose_server()
    run.server["rabbitmq"].start()
    command(run, "restore", tmp_path / "b.tar", "--states", tmp_path / "new", "--files", tmp_path / "site")
    assert (tmp_path / "site" / run.facility.config.name).read_bytes() == run.facility.config.read_bytes()
    for name in SERVER.values():
        shutil.copyfile(tmp_path / "new" / name, two.states / name)
    two.start_server(run, over, two.after[0])
    assert run.completed(done, within_s=10).counts.catalogued.files == 5
    assert len(run.receipts(done)) == 5
    eventually(lambda: _status(run, two.after[2]) == "open", within_s=60, what="the upload is known again")
    run.completed(between, within_s=90)
    two.finish()


def command(run, *words: object) -> None:
    """Run a command of the command line on the facility's configuration."""
    environment = {**os.environ, CONFIG_VARIABLE: str(run.facility.config)}
    done = subprocess.run(
        [PROGRAM, *map(str, words)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
