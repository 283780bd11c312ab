"""The storage loses, alters or gains something behind our back: nobody is told that the dataset is complete."""

import json

import pytest

from datauploader_client.cli.app import main
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.facility import BASE_DIR


def objects(run):
    """Return the folder of the dataset on the storage."""
    return run.facility.storage / BASE_DIR.strip("/") / "20260101" / "run"


def verify(run, upload: str, capsys, *options: str) -> tuple[int, dict]:
    """Run the command as a person does; return its exit code and what it says to programs."""
    capsys.readouterr()
    code = main(["verify", upload, "--json", "--gateway", run.facility.url, *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def signed_in(monkeypatch):
    """Let the command line speak as the person of a run."""

    def sign_in(run) -> None:
        monkeypatch.setenv("DATAUPLOADER_TOKEN", run.token)

    return sign_in


@pytest.mark.campaign
@pytest.mark.fault("F52")
def test_an_object_that_is_lost_after_it_was_verified_keeps_the_dataset_from_completing(
    case, scribe, capsys, signed_in
) -> None:
    """The file is named, a retry sends it again, and what is lost after completion is found by the command."""
    run = case()
    signed_in(run)
    pen = scribe(run)
    upload = run.request()
    pen.write_many(f"{number}.dat" for number in range(5))
    run.until(upload, lambda status: status.counts.verified.files == 5, "all is verified")
    (objects(run) / "3.dat").unlink()

    run.control(upload, "close")

    stuck = run.until(upload, lambda status: status.needs_person, "somebody is asked")
    assert stuck.state == "sealed"
    assert any("3.dat is missing" in trouble for trouble in stuck.troubles), stuck.troubles
    run.control(upload, "retry")
    run.heal()
    run.recover(upload, close=False)
    assert verify(run, upload, capsys)[0] == 0
    (objects(run) / "README").write_text("by the facility")
    run.guard.excuse(objects(run) / "1.dat")
    (objects(run) / "1.dat").write_bytes(b"CONTENT of 1.dat")
    code, found = verify(run, upload, capsys)
    assert (code, {one["kind"] for one in found["differences"]}) == (1, {"altered", "foreign"})
    with GatewayClient(run.facility.url, run.token) as gateway:
        assert gateway.upload(upload).troubles
