"""F47: two uploads, one dataset: whatever the second one is, the first one's dataset holds, byte by byte."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from datauploader.contracts import DatasetSpec, Destination, Event, Person, UploadRequested
from datauploader.errors import RequestRefused
from datauploader.messaging import connect
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.facility import BASE_DIR
from datauploader_testing.waiting import eventually

from .conftest import HERE, Case

pytestmark = pytest.mark.fault("F47")
NAMES = ("a.dat", "b.dat", "sub/c.dat")


def write(run: Case, folder: str, word: str) -> Path:
    """Write the same names as ever into a folder, each with a content of its own."""
    there = run.facility.watched / folder
    for name in NAMES:
        path = there / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{word} of {name}".encode() * 100)
    return there


def datasets(run: Case) -> dict[str, Any]:
    """Return what the catalogue holds, by the datasets' names."""
    return {one["name"]: one for one in run.catalogue()["datasets"]}


def held(run: Case) -> set[bytes]:
    """Return the contents of all objects on the storage."""
    return {path.read_bytes() for path in run.facility.storage.rglob("*") if path.is_file()}


def judge(run: Case, *complete: str) -> None:
    """See that these datasets are complete, and that every datafile of each is on the storage as it is catalogued."""
    found = datasets(run)
    assert {name for name, one in found.items() if one["complete"]} == set(complete)
    for name in complete:
        assert found[name]["datafiles"]
        for datafile in found[name]["datafiles"]:
            stored = run.facility.storage / datafile["location"].partition(":")[2]
            assert sha256(stored.read_bytes()).hexdigest() == datafile["sha256"], stored


def wish(folder: Path, dataset: str, **more: Any) -> dict[str, Any]:
    """Return a request for an upload of a folder."""
    return {
        "investigation": "20260101", "dataset": {"name": dataset}, "station": HERE.key, "kind": "folder",
        "path": str(folder.resolve()), "mode": "batch", "quiet_period_s": 0.5, **more,
    }  # fmt: skip


def ask(run: Case, token: str, body: dict[str, Any]) -> str:
    """Ask for an upload as somebody; return its id."""
    with GatewayClient(run.facility.url, token) as gateway:
        return gateway.request_upload(body, key="").id


def until_complete(run: Case, *names: str) -> None:
    """Wait until these datasets are complete."""

    def complete() -> bool:
        found = datasets(run)
        return all(name in found and found[name]["complete"] for name in names)

    eventually(complete, within_s=90, every_s=0.3, what=f"{names} are complete")


@pytest.mark.campaign
def test_a_second_upload_of_the_same_name_begins_nothing_and_the_first_receipt_holds(case) -> None:
    """Of another folder or the same one, by the same person and another one; under the offered name it is stored."""
    run = case()
    anna, ben = run.token, run.facility.sign_in("sandbox-session-ben")
    first, second = write(run, "first", "first"), write(run, "second", "second")
    upload = ask(run, anna, wish(first, "run"))
    run.completed(upload)
    before = held(run)
    receipts = {receipt.path: receipt.sha256 for receipt in run.receipts(upload)}
    write(run, "first", "changed")
    for token in (anna, ben):
        for folder in (first, second):
            with pytest.raises(RequestRefused, match="already complete"):
                ask(run, token, wish(folder, "run"))
    assert held(run) == before
    ask(run, ben, wish(second, "run (2)"))
    until_complete(run, "run (2)")
    judge(run, "run", "run (2)")
    assert before < held(run)
    assert {receipt.path: receipt.sha256 for receipt in run.receipts(upload)} == receipts


@pytest.mark.campaign
def test_of_two_requests_that_come_together_one_writes_and_the_other_writes_nothing(case) -> None:
    """Both have passed the gateway while the catalog was away: neither sends a byte before one has the dataset."""
    run = case()
    folders = {"1101": write(run, "first", "first"), "1102": write(run, "second", "second")}
    run.services.terminate("catalog")
    bus = connect(run.facility.broker_address, name="test")
    for user, folder in folders.items():
        data = UploadRequested(
            upload_id=f"upload-{user}", investigation="20260101", dataset=DatasetSpec(name="run"),
            root=str(folder.resolve()), mode="batch", requested_by=Person(id=user), quiet_period_s=0.5,
            destination=Destination(remote="store", location=f"{BASE_DIR.strip('/')}/20260101/run"),
        )  # fmt: skip
        bus.publish(Event(data=data, station=HERE, service="gateway")).result(60)
    eventually(lambda: run.services.log("watcher").count("upload_opened") == 2, within_s=30, what="both are opened")
    assert not held(run)
    run.services.start("catalog")
    eventually(
        lambda: "dataset_completed" in run.services.log("catalog"), within_s=60, every_s=0.2, what="one completes"
    )
    eventually(
        lambda: "dataset_refused" in run.services.log("catalog"), within_s=60, every_s=0.2, what="one is refused"
    )
    bus.close()
    judge(run, "run")
    assert len(held(run)) == len(NAMES)


RULE = {
    "name": "scans", "remote": "store", "investigation": "20260101", "location": "20260101/{dataset}",
    "quiet_period_s": 0.5, "idle_close_s": 2.0,
}  # fmt: skip


def ruled(case, tmp_path: Path, **more: Any) -> Case:
    """Start a facility whose station has a standing rule, and looks soon whether a closed folder has changed."""
    pattern = f"{(tmp_path / 'facility' / 'data').resolve()}/{{dataset}}/**"
    watcher = {
        "rules": [{**RULE, "pattern": pattern, **more}], "allow_delete": True, "rule_interval_s": 0.5,
        "reopen_interval_s": 1.0,
    }  # fmt: skip
    run: Case = case(settings={"watcher": watcher})
    return run


@pytest.mark.campaign
def test_a_rule_that_opens_a_folder_again_never_writes_over_what_it_has_completed(case, tmp_path) -> None:
    """The local copies were removed; the next day the instrument uses the same names: all six contents are stored."""
    run = ruled(case, tmp_path, delete_after=True)
    folder = write(run, "run", "first")
    until_complete(run, "run")
    eventually(lambda: not [p for p in folder.rglob("*") if p.is_file()], within_s=60, what="the local copies are gone")
    before = held(run)
    write(run, "run", "second")
    until_complete(run, "run (2)")
    judge(run, "run", "run (2)")
    assert before < held(run)
    assert len(held(run)) == 2 * len(NAMES)


@pytest.mark.campaign
def test_a_change_after_completion_becomes_a_further_dataset_of_what_has_changed(case, tmp_path) -> None:
    """Nothing is removed locally: the file that was written over and the new one are added, the others are not."""
    run = ruled(case, tmp_path)
    folder = write(run, "run", "first")
    until_complete(run, "run")
    before = held(run)
    (folder / "a.dat").write_bytes(b"written over")
    (folder / "new.dat").write_bytes(b"new")
    until_complete(run, "run (2)")
    judge(run, "run", "run (2)")
    assert {one["path"] for one in datasets(run)["run (2)"]["datafiles"]} == {"a.dat", "new.dat"}
    assert before < held(run)
