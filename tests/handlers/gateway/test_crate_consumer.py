"""The writer of RO-Crates at a real gateway: with the token of a member of staff it writes what the gateway says."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rocrate.rocrate import ROCrate

from datauploader.contracts import DatasetAnnotated, DatasetCompleted, EventData, UploadSealed
from datauploader.contracts.uploads import manifest_digest
from datauploader.plugins.consumer import Trial
from datauploader_consumer_ro_crate.app import RoCrateSettings, app
from datauploader_testing import builders
from datauploader_testing.consumers import hand
from datauploader_testing.waiting import eventually


class Desk:
    """An upload of Anna's, a consumer with the token of somebody else, and the folder that it writes to."""

    def __init__(self, facility: Any, scene: Any, folder: Path) -> None:
        self.facility, self.scene, self.folder = facility, scene, folder
        self.id: str = facility.client("anna").post("/api/v1/uploads", json=scene.wish()).json()["id"]
        self.path = folder / "100" / "scan1" / "ro-crate-metadata.json"

    def live(self, count: int) -> None:
        """Let the gateway hear that the dataset is complete with so many files."""
        digest = manifest_digest((file.raw, file.sha256) for file in self.scene.versions(count))
        said: list[EventData] = [
            one.model_copy(update={"manifest_sha256": digest})
            if isinstance(one, UploadSealed | DatasetCompleted)
            else one
            for one in self.scene.life_of(self.id, count)
        ]
        for one in said:
            self.facility.say(one)
        eventually(lambda: self.receipt()["complete"] and self.receipt()["manifest"]["files"] == count)

    def receipt(self) -> dict[str, Any]:
        """Ask the gateway for the receipt."""
        return self.facility.client("stella").get(f"/api/v1/uploads/{self.id}/receipt").json()

    def hand(self, account: str = "stella", token: str = "", attempt: int = 1, said: EventData | None = None) -> Trial:
        """Hand the event to the consumer, with a token of this account or this one."""
        made = {**self.scene.credentials(account), "name": "crates", "days": 365}
        token = token or self.facility.client().post("/api/v1/tokens", json=made).json()["token"]
        settings = RoCrateSettings(folder=self.folder, gateway=self.facility.gateway.url, token=SecretStr(token))
        return hand(app, said or builders.dataset_completed(upload_id=self.id), settings, attempt=attempt)


@pytest.fixture
def desk(facility: Any, scene: Any, tmp_path: Path) -> Desk:
    """Ask for an upload."""
    (tmp_path / "crates").mkdir()
    return Desk(facility, scene, tmp_path / "crates")


def test_a_complete_dataset_has_a_crate_that_the_library_reads(desk: Desk, tmp_path: Path) -> None:
    """Beside the dataset's files it names each with its digest; it is what the gateway says, byte for byte."""
    desk.live(3)
    assert desk.hand().verdict == "done"
    told = desk.facility.client("anna").get(f"/api/v1/uploads/{desk.id}/receipt/ro-crate-metadata.json")
    assert desk.path.read_bytes() == told.content
    beside = tmp_path / "dataset"
    shutil.copytree(desk.path.parent, beside)
    files = desk.scene.versions(3)
    for file in files:
        (beside / file.path).write_bytes(bytes(10))
    root = ROCrate(beside).root_dataset
    assert (root["name"], root["isPartOf"]["name"], root["contributor"]["name"]) == ("scan1", "100", "Anna Rossi")
    assert {entity["name"]: entity["sha256"] for entity in root["hasPart"]} == {f.path: f.sha256 for f in files}


def test_a_crate_is_written_again_when_the_description_is_corrected(desk: Desk) -> None:
    """What is said before the dataset is complete waits for that; afterwards the crate has the latest word."""
    answer = DatasetAnnotated(upload_id=desk.id, dataset_id="42", word="w", said=datetime.now(UTC))
    assert (desk.hand(said=answer).verdict, list(desk.folder.iterdir())) == ("done", [])
    desk.live(1)
    assert desk.hand().verdict == "done"
    desk.facility.client("anna").patch(f"/api/v1/uploads/{desk.id}/dataset", json={"description": "a correction"})
    assert desk.hand(said=answer).log[-1]["event"] == "crate_written"
    assert b'"description": "a correction"' in desk.path.read_bytes()


def test_what_is_the_same_stays_and_what_changed_is_replaced(desk: Desk) -> None:
    """A repetition touches nothing; a dataset that is completed anew with one file more has a new crate."""
    desk.live(2)
    assert [desk.hand().log[-1]["event"], desk.hand().log[-1]["event"]] == ["crate_written", "crate_is_the_same"]
    before = desk.path.stat()
    desk.live(3)
    assert desk.hand().log[-1]["event"] == "crate_written"
    assert desk.path.stat().st_ino != before.st_ino
    assert b"f00002.tif" in desk.path.read_bytes()
    assert [path.name for path in desk.path.parent.iterdir()] == [desk.path.name]


def test_a_gateway_that_has_not_heard_it_yet_is_asked_again(desk: Desk) -> None:
    """Both hear of a complete dataset at once; what never becomes final is parked with the gateway's reason."""
    trial = desk.hand()
    assert (trial.verdict, trial.delay_s) == ("again", 1)
    assert "the gateway has no final receipt (HTTP status 409: there is no manifest of scan1 yet" in trial.reason
    assert desk.hand(attempt=11).verdict == "park"
    assert list(desk.folder.rglob("*.json")) == []


def test_a_token_that_sees_too_little_or_ended_is_told(desk: Desk) -> None:
    """A user's sees no others' uploads; one that was revoked is parked at once, with what to do."""
    desk.live(1)
    trial = desk.hand("bruno")
    assert (trial.verdict, "staff of the beamline, or an operator" in trial.reason) == ("again", True)
    assert desk.hand("bruno", attempt=11).verdict == "park"
    trial = desk.hand(token="du_gone")
    assert (trial.verdict, "du_gone" in trial.reason) == ("park", False)
    assert trial.reason.startswith("the gateway does not accept the token: put a new one into its file")
    assert list(desk.folder.iterdir()) == []
