"""Files that change without a trace, are still open, or never rest: what is called complete is what the disk has."""

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from datauploader_testing.growing import growing
from datauploader_testing.waiting import eventually

from .conftest import Case, Stage

PATIENCE_S = 3.0
SETTINGS = {
    "watcher": {
        "allow_delete": True, "seal_patience_s": PATIENCE_S, "restless_after_s": 4.0, "look_again_s": [4.0, 120.0],
    },
    "gateway": {"offer_delete_after": True},
}  # fmt: skip
SIZE = 64 * 1024


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a facility with little patience, which the tests of this module share."""
    made = Stage(lambda: tmp_path_factory.mktemp("stage"), settings=SETTINGS)
    yield made
    made.close()


class Station:
    """One folder, one dataset, one upload."""

    def __init__(self, run: Case, scribe, dataset: str) -> None:
        """Make the folder."""
        self.run, self.dataset = run, dataset
        self.folder = run.facility.watched / dataset
        self.folder.mkdir()
        self.pen = scribe(run, self.folder)
        self.upload = ""

    def request(self, mode: str = "sync", **more) -> None:
        """Ask for the folder."""
        path = str(self.folder.resolve())
        self.upload = self.run.request(self.dataset, mode, path=path, kind="folder", **more)

    def stored(self, files: int = 1) -> None:
        """Wait until so many files are verified and catalogued."""
        self.run.until_catalogued(self.upload, files)

    def judged(self) -> None:
        """Wait for the dataset; the oracle compares disk, storage, catalogue and receipts byte by byte."""
        self.run.recover(self.upload, datasets=[self.dataset], close=False)

    def close(self) -> None:
        """Close the upload."""
        self.run.control(self.upload, "close")

    def take(self, name: str) -> None:
        """Have a file taken as it is, over REST."""
        address = f"{self.run.facility.url}/api/v1/uploads/{self.upload}/take"
        body = {"files": [{"path": name}]}
        answer = httpx.post(address, json=body, headers={"Authorization": f"Bearer {self.run.token}"}, timeout=30)
        answer.raise_for_status()

    def says(self, *words: str) -> None:
        """Wait until the upload's troubles have a sentence with these words."""
        self.run.until(
            self.upload,
            lambda status: any(all(word in text for word in words) for text in status.troubles),
            f"a sentence with {words}",
        )

    def told(self, rest: str = "") -> dict:
        """Return what REST says of the upload, or of its receipt."""
        address = f"{self.run.facility.url}/api/v1/uploads/{self.upload}{rest}"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {self.run.token}"}, timeout=30)
        return dict(answer.raise_for_status().json())


@contextmanager
def station(stage: Stage, record, scribe, dataset: str) -> Iterator[Station]:
    """Give a folder of the facility to one dataset."""
    with stage.run(dataset, record) as run:
        run.facility.wait()
        yield Station(run, scribe, dataset)


def hidden_write(path: Path, content: bytes) -> None:
    """Write in place and put the modification time back."""
    seen = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Hold a file in a memory map whose pages are dirty already."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:4] = b"1111"
        yield view


@pytest.mark.campaign
@pytest.mark.fault("F48", "F56")
def test_bytes_that_change_behind_the_stamps_and_after_the_close_are_in_the_dataset(stage, record, scribe) -> None:
    """A write with its time put back, one through a memory map, and the second half of a scan that was being written.

    All of it after the first bytes were verified and catalogued; what the dataset has in the end is what the disk has.
    """
    with station(stage, record, scribe, "same-file") as here:
        copied = here.pen.write("copied.dat", b"A" * SIZE)
        path = here.pen.write("mapped.dat", bytes(SIZE))
        scan = here.folder / "scan.h5"
        with mapped(path) as view, scan.open("wb", buffering=0) as file:
            file.write(b"first half")
            for one in (path, scan):
                here.pen.wrote(one, resting=True)
            here.request()
            here.stored(3)
            hidden_write(copied, b"B" * SIZE)
            view[:4] = b"2222"
            here.close()
            here.says("Still open in another program", "mapped.dat", "scan.h5")
            file.write(b" and the rest")
        for one in (copied, path, scan):
            here.pen.wrote(one)
        here.judged()
        assert here.told("/receipt")["complete"]


@pytest.mark.fault("F48", "F49")
@pytest.mark.campaign
@pytest.mark.parametrize("how", ["time put back", "memory map"])
def test_an_original_whose_newest_bytes_are_nowhere_else_is_never_removed(stage, record, scribe, how) -> None:
    """The change comes after the seal, while transfer stands still; delete_after is on."""
    with station(stage, record, scribe, how.replace(" ", "-")) as here:
        path = here.pen.write("data.dat", bytes(SIZE))
        other = here.pen.write("other.dat", b"nobody touches it")
        with mapped(path) as view:
            here.request(delete_after=True)
            here.stored(2)
            here.run.services.pause("catalog")
            here.close()
            here.run.until(here.upload, lambda status: status.state == "sealed", "it is sealed", 60)
            if how == "memory map":
                view[:4] = b"3333"
            else:
                hidden_write(path, b"Z" * SIZE)
        content = path.read_bytes()
        here.run.services.resume("catalog")
        here.run.completed(here.upload)
        eventually(lambda: not other.exists(), within_s=60, what="the file that nobody touched is removed")
        eventually(lambda: any("data.dat" in one for one in here.told()["notes"]), within_s=60, what="it is said")
        assert path.read_bytes() == content


@pytest.mark.fault("F49", "F56")
@pytest.mark.campaign
def test_a_log_that_a_program_holds_open_stays_when_its_upload_closes_by_itself(stage, record, scribe) -> None:
    """`idle_close_s` and `delete_after`: the program's next line is in the file, and it is said that it is kept."""
    with station(stage, record, scribe, "open-log") as here:
        log, done = here.folder / "instrument.log", here.pen.write("done.dat", b"done")
        with log.open("ab", buffering=0) as file:
            file.write(b"line 1\n")
            here.request(idle_close_s=2.0, delete_after=True)
            here.run.completed(here.upload)
            eventually(lambda: not done.exists(), within_s=60, what="the file that is closed is removed")
            eventually(lambda: any("kept" in one for one in here.told()["notes"]), within_s=60, what="it is said")
            file.write(b"line 2\n")
        assert log.read_bytes() == b"line 1\nline 2\n"
        assert any("Still open in another program" in one for one in here.told("/receipt")["notes"])
        later = eventually(lambda: here.told()["later"], within_s=60, what="the next line is told")
        assert later["first"] == ["instrument.log"]


@pytest.mark.fault("F56")
@pytest.mark.campaign
def test_what_is_written_after_the_dataset_is_complete_is_told(stage, record, scribe) -> None:
    """A log that the instrument writes at the end of its run: no doubt about what was sealed, but not a word of all."""
    with station(stage, record, scribe, "after-close") as here:
        here.pen.write("scan.h5", b"scan")
        here.request()
        here.stored()
        here.close()
        here.judged()
        (here.folder / "scan_log.txt").write_bytes(b"written by the instrument 5 s later")
        later = eventually(lambda: here.told()["later"], within_s=180, what="what came later is told")
        assert later["first"] == ["scan_log.txt"]
        receipt = here.told("/receipt")
        assert receipt["complete"], json.dumps(receipt["doubts"])
        assert any("scan_log.txt" in note for note in receipt["notes"])


@pytest.mark.fault("F56")
@pytest.mark.campaign
def test_a_file_that_never_rests_is_named_and_the_rest_waits_for_it(stage, record, scribe) -> None:
    """It changes every 200 ms; when its program ends, the dataset is complete with its last bytes."""
    with station(stage, record, scribe, "never-rests") as here:
        with restless(here) as log:
            pass
        here.pen.wrote(log)
        here.judged()


@pytest.mark.fault("F64")
@pytest.mark.campaign
def test_a_file_that_never_rests_is_stored_as_it_was_when_a_person_takes_it(stage, record, scribe) -> None:
    """While its program goes on writing: the dataset is complete, and the stored bytes are the beginning of the log."""
    with station(stage, record, scribe, "taken") as here:
        with restless(here) as log:
            here.take("instrument.log")
            here.run.completed(here.upload)
            (stored,) = here.run.facility.storage.rglob("taken/instrument.log")
            eventually(lambda: log.stat().st_size > stored.stat().st_size > 0, what="the log is longer than was stored")
        assert log.read_bytes().startswith(stored.read_bytes())
        receipt = here.told("/receipt")
        assert receipt["complete"], json.dumps(receipt["doubts"])
        assert any("Uploaded while a program was still writing" in note for note in receipt["notes"])


@contextmanager
def restless(here: Station) -> Iterator[Path]:
    """Close an upload of a scan and a log that is written on and on, until the log is named as what it waits for."""
    here.pen.write("scan.h5", b"scan")
    log = here.folder / "instrument.log"
    with growing(log, every_s=0.2):
        here.request()
        here.stored()
        here.close()
        here.says("Still being written", "instrument.log")
        yield log
