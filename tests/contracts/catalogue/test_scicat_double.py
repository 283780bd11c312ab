"""The double of SciCat, held honest by clients that other people wrote: scitacean for /api/v4, pyscicat for /api/v3."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pyscicat.client import ScicatClient as OldClient
from pyscicat.client import ScicatCommError as OldError
from pyscicat.client import from_credentials
from pyscicat.model import CreateDatasetOrigDatablockDto, DataFile, RawDataset
from pyscicat.model import Proposal as OldProposal
from scitacean import PID, Client, Dataset, ScicatCommError, model
from scitacean.error import AuthError

from datauploader_sandbox.scicat import PASSWORD, SERVICE

TAKEN = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
RAW = {
    "pid": "20.500.1/a", "type": "raw", "owner": "Anna", "contactEmail": "anna@facility.eu", "sourceFolder": "/data/a/",
    "creationTime": TAKEN.isoformat(), "ownerGroup": "p20260101", "datasetName": "scan",
}  # fmt: skip


@pytest.fixture
def scitacean(scicat_double) -> Client:
    """Sign scitacean in as the service."""
    return Client.from_credentials(
        url=f"{scicat_double.url}/api/v3", username=SERVICE, password=PASSWORD, allow_http=True
    )


@pytest.fixture
def pyscicat(scicat_double) -> OldClient:
    """Sign pyscicat in as the service."""
    return from_credentials(f"{scicat_double.url}/api/v3", SERVICE, PASSWORD)


@pytest.fixture
def http(scicat_double) -> Any:
    """Give a plain connection that is signed in as the service."""
    with httpx.Client(base_url=scicat_double.url, trust_env=False, verify=False) as client:
        answer = client.post("/api/v3/auth/login", json={"username": SERVICE, "password": PASSWORD})
        assert answer.status_code == 201
        assert {"access_token", "id", "expires_in", "ttl", "created", "userId", "user"} <= answer.json().keys()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def dataset() -> Dataset:
    """Return a dataset as a user of scitacean writes it."""
    return Dataset(
        type="raw", name="scan: α.1", contact_email="anna@facility.eu", creation_time=TAKEN, owner="Anna Moretti",
        owner_group="p20260101", source_folder="/facility/store/20260101/scan", proposal_ids=["20260101"],
        principal_investigators=["Anna Moretti"], creation_location="/XRD1", description="what was done",
        meta={"energy": {"value": 12.5, "unit": "keV"}, "sample": {"value": "Σ 1", "unit": ""}},
    )  # fmt: skip


def test_a_dataset_of_scitacean_comes_back_as_it_was(scitacean: Client) -> None:
    """Its fields, its metadata with units, its files with sizes, checksums and times."""
    upload = dataset().make_upload_model()
    made = scitacean.scicat.create_dataset_model(upload)
    assert made.pid is not None
    content = b"some bytes"
    block = model.UploadOrigDatablock(
        datasetId=made.pid, size=len(content), chkAlg="sha256",
        dataFileList=[
            model.UploadDataFile(path="a/1.h5", size=10, time=TAKEN, chk=hashlib.sha256(content).hexdigest())
        ],
    )  # fmt: skip
    scitacean.scicat.create_orig_datablock(block)
    back = scitacean.get_dataset(made.pid)
    assert (back.name, back.description, back.owner_group) == ("scan: α.1", "what was done", "p20260101")
    assert (back.creation_time, back.proposal_ids, back.number_of_files, back.size) == (TAKEN, ["20260101"], 1, 10)
    assert back.meta["energy"] == {"value": 12.5, "unit": "keV", "valueSI": 12.5, "unitSI": "keV"}
    assert back.meta["sample"] == {"value": "Σ 1", "unit": ""}
    [file] = list(back.files)
    assert (file.remote_path.posix, file.size, file.creation_time) == ("a/1.h5", 10, TAKEN)
    assert file.checksum() == hashlib.sha256(content).hexdigest()
    lifecycle = back.lifecycle
    assert lifecycle is not None
    assert (lifecycle.is_on_central_disk, lifecycle.archivable) == (True, True)
    assert lifecycle.archive_status_message == "datasetCreated"


def test_a_dataset_is_found_by_scitacean(scitacean: Client) -> None:
    """By what it holds, arrays included."""
    made = scitacean.scicat.create_dataset_model(dataset().make_upload_model())
    for fields in ({"datasetName": "scan: α.1"}, {"ownerGroup": "p20260101"}):
        assert [one.pid for one in scitacean.scicat.query_datasets(fields)] == [made.pid]
    assert scitacean.scicat.query_datasets({"datasetName": "other"}) == []


def test_a_proposal_is_made_once_by_scitacean(scitacean: Client) -> None:
    """And read with its people and dates."""
    upload = model.UploadProposal(
        proposalId="20269999", title="New", email="a@facility.eu", ownerGroup="p9", startTime=TAKEN, metadata={"a": 1}
    )
    scitacean.scicat.create_proposal_model(upload)
    back = scitacean.scicat.get_proposal_model("20269999")
    assert (back.title, back.ownerGroup, str(back.startTime)[:10]) == (
        "New",
        "p9",
        "2026-02-03",
    )
    with pytest.raises(ScicatCommError, match="409"):
        scitacean.scicat.create_proposal_model(upload)
    known = scitacean.scicat.get_proposal_model("20260101")
    assert (known.pi_firstname, known.pi_lastname) == ("Anna", "Moretti")


def test_scitacean_is_told_what_is_missing(scitacean: Client, scicat_double) -> None:
    """A dataset that does not exist, a wrong password, a dataset that exists already."""
    with pytest.raises(ScicatCommError, match="404"):
        scitacean.get_dataset(PID(pid="nothing"))
    with pytest.raises(AuthError):
        Client.from_credentials(url=f"{scicat_double.url}/api/v3", username=SERVICE, password="wrong", allow_http=True)


def test_pyscicat_writes_and_reads_through_the_old_interface(pyscicat: OldClient) -> None:
    """Names of resources are taken in any case, pids are percent-encoded."""
    raw = RawDataset(**{
        **RAW, "principalInvestigator": "Anna", "creationLocation": "/XRD1", "proposalId": "20260101",
        "scientificMetadata": {"a.b c": {"value": 1, "unit": "m"}}, "createdAt": None,
    })  # fmt: skip
    assert pyscicat.datasets_create(raw) == RAW["pid"]
    block = CreateDatasetOrigDatablockDto(
        size=3, dataFileList=[DataFile(path="1.h5", size=3, time=TAKEN.isoformat(), chk="0" * 32)]
    )
    pyscicat.datasets_origdatablock_create(RAW["pid"], block)
    back = pyscicat.datasets_get_one(RAW["pid"])
    assert (back["proposalId"], back["sourceFolder"], back["numberOfFiles"]) == ("20260101", "/data/a", 1)
    assert back["scientificMetadata"]["a.b c"]["valueSI"] == 1
    [held] = pyscicat.datasets_origdatablocks_get_one(RAW["pid"])
    assert [file["path"] for file in held["dataFileList"]] == ["1.h5"]
    assert [one["pid"] for one in pyscicat.datasets_find(query_fields={"datasetName": "scan"})] == [RAW["pid"]]
    assert [one["pid"] for one in pyscicat.datasets_get_many({"proposalId": "20260101"})] == [RAW["pid"]]
    with pytest.raises(OldError, match="already exists"):
        pyscicat.datasets_create(raw)


def test_pyscicat_makes_a_proposal(pyscicat: OldClient) -> None:
    """And reads it, also where its id needs encoding."""
    pyscicat.proposals_create(OldProposal(proposalId="a/1ü", email="a@b.eu", title="t", ownerGroup="p1"))
    assert pyscicat.proposals_get_one("a/1ü")["title"] == "t"


@pytest.mark.parametrize(("version", "extra"), [("v3", "proposalIds"), ("v4", "proposalId")])
def test_an_unknown_field_is_a_bad_request_that_names_it(http, version: str, extra: str) -> None:
    """Each interface has fields of its own."""
    answer = http.post(f"/api/{version}/datasets", json={**RAW, extra: "x"})
    assert answer.status_code == 400
    assert f"property {extra} should not exist" in json.dumps(answer.json())


def test_a_lifecycle_claims_that_all_is_there_unless_somebody_says_otherwise(http) -> None:
    """And a change of it leaves the rest as it was."""
    http.post("/api/v4/datasets", json=RAW).raise_for_status()
    answer = http.patch("/api/v4/datasets/20.500.1%2Fa/datasetlifecycle", json={"isOnCentralDisk": False})
    assert (answer.json()["isOnCentralDisk"], answer.json()["archivable"]) == (False, True)


def test_blocks_are_not_unique_and_their_sum_is_of_the_last_ten(http) -> None:
    """What is sent twice is there twice; /api/v4 counts ten blocks, and forgets the sum at the next change."""
    http.post("/api/v4/datasets", json=RAW).raise_for_status()
    file = {"path": "a", "size": 5, "time": TAKEN.isoformat()}
    for _ in range(12):
        block = {"datasetId": RAW["pid"], "size": 5, "dataFileList": [file]}
        assert http.post("/api/v4/origdatablocks", json=block).status_code == 201
    where = json.dumps({"where": {"datasetId": RAW["pid"]}, "limits": {"limit": 50}})
    assert len(http.get("/api/v4/origdatablocks", params={"filter": where}).json()) == 12
    assert http.get("/api/v4/datasets/20.500.1%2Fa").json()["numberOfFiles"] == 10
    http.patch("/api/v4/datasets/20.500.1%2Fa", json={"description": "x"}).raise_for_status()
    assert http.get("/api/v4/datasets/20.500.1%2Fa").json()["numberOfFiles"] == 0


def test_a_change_in_between_is_noticed_where_the_client_asks_for_it(http) -> None:
    """The header's time must be after the last change, not the same."""
    made = http.post("/api/v4/datasets", json=RAW).json()
    for since, status in (
        (made["updatedAt"], 412),
        ("Tue, 01 Jan 2019 00:00:00 GMT", 412),
        ("2999-01-01T00:00:00Z", 200),
    ):
        answer = http.patch(
            "/api/v4/datasets/20.500.1%2Fa", json={"description": "x"}, headers={"If-Unmodified-Since": since}
        )
        assert (since, answer.status_code) == (since, status)


def test_a_token_that_has_ended_is_nobodys(http, scicat_double) -> None:
    """Lists answer with what is public, writes with 403, and only who-am-I says it plainly."""
    http.post(
        "/api/v3/datasets", json={**RAW, "principalInvestigator": "A", "creationLocation": "/"}
    ).raise_for_status()
    http.delete("/_double/tokens")
    assert http.get("/api/v3/datasets").json() == []
    assert http.get("/api/v3/proposals").json() == []
    assert http.get("/api/v4/datasets/20.500.1%2Fa").status_code == 403
    assert http.patch("/api/v3/datasets/20.500.1%2Fa", json={"description": "x"}).status_code == 403
    assert http.get("/api/v3/users/my/identity").status_code == 401


def test_rights_are_those_of_groups(http, scicat_double) -> None:
    """Members read and change; strangers do not; choosing a pid and making proposals are privileges."""
    http.post("/api/v4/datasets", json=RAW).raise_for_status()
    path = "/api/v4/datasets/20.500.1%2Fa"
    for session, status in (("anna", 200), ("ben", 200), ("chloe", 403)):
        signed = {"Authorization": f"Bearer sandbox-session-{session}"}
        assert http.get(path, headers=signed).status_code == status
        assert http.patch(path, json={"description": "x"}, headers=signed).status_code == status
        assert http.post("/api/v4/datasets", json={**RAW, "pid": "b"}, headers=signed).status_code == 403
        assert http.post("/api/v3/proposals", json={}, headers=signed).status_code == 403


def test_bodies_have_a_limit(http) -> None:
    """As the address of a block that is too large says."""
    assert http.post("/api/v4/datasets", json={**RAW, "description": "x" * 17_000_000}).status_code == 413


def test_an_old_backend_has_no_new_interface(http, scicat_double) -> None:
    """It says so in the words of its framework."""
    http.put("/_double/api/v3")
    answer = http.get("/api/v4/origdatablocks")
    http.put("/_double/api/v4")
    assert (answer.status_code, answer.json()["message"]) == (404, "Cannot GET /api/v4/origdatablocks")
