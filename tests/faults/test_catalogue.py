"""F42 to F45: the catalogue loses answers, fails or refuses while files are uploaded, and two catalogs speak to it."""

from pathlib import Path

import httpx
import pytest

from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.faults import DropResponse
from datauploader_testing.waiting import eventually

from .conftest import Case

PLAN = Plan(scans=1, frames=3, seconds_per_frame=0.05)
SYSTEMS = pytest.mark.parametrize("system", ["vuo", "scicat", "icat"])
"""Each catalogue that is asked over a network; that of files and folders has faults of its own below."""


def folder(run: Case, name: str) -> Path:
    """Make a folder of its own for a dataset."""
    made = run.facility.watched / name
    made.mkdir()
    return made


def end_faults(run: Case) -> None:
    """Let the double be well again."""
    run.office.end_faults()
    run.heal()


def troubles(run: Case, upload: str) -> tuple[str, ...]:
    """Return what the gateway shows to be wrong with an upload."""
    with GatewayClient(run.facility.url, run.token) as gateway:
        return gateway.upload(upload).troubles


def stored(run: Case, upload: str) -> int:
    """Count the files of an upload that the storage is known to hold."""
    with GatewayClient(run.facility.url, run.token) as gateway:
        return gateway.upload(upload).counts.verified.files


@pytest.mark.campaign
@pytest.mark.fault("F42")
@SYSTEMS
def test_whatever_answer_is_lost_there_is_one_dataset_with_its_files(case, system: str) -> None:
    """Each step of the catalogue has its effect, and the answer does not arrive; every step is taken once."""
    run = case(catalogue=system)
    steps = ("create_dataset", "add_datafiles", "add_parameters", "complete_dataset")
    for step in steps:
        run.office.fail(step, "lost")
    upload = run.request()
    Detector(run.facility.watched, run.ledger, PLAN).run()
    run.control(upload, "close")
    eventually(
        lambda: run.office.fired() == [1] * len(steps), within_s=60, every_s=0.1, what="every answer is lost once"
    )
    run.heal()
    run.recover(upload, close=False)
    assert len(run.catalogue()["datasets"]) == 1


@pytest.mark.campaign
@pytest.mark.fault("F42")
def test_answers_that_the_network_swallows_double_nothing(case) -> None:
    """The connection breaks after every request; the same datafiles are registered twice and are there once."""
    run = case(proxied=("catalogue",))
    upload = run.request()
    Detector(run.facility.watched, run.ledger, Plan(mode="burst", files=3)).run()
    run.until_catalogued(upload, 3)
    run.services.pause("catalog")
    Detector(run.facility.watched, run.ledger, PLAN).run()
    eventually(lambda: stored(run, upload) > 3, within_s=60, every_s=0.1, what="files are stored")
    with run.proxy["catalogue"].having(DropResponse()):
        run.services.resume("catalog")
        eventually(lambda: said_twice(run), within_s=60, every_s=0.1, what="datafiles are registered twice")
    run.heal()
    run.recover(upload)


def said_twice(run: Case) -> bool:
    """Tell whether the catalogue has heard of the same datafiles more than once."""
    return any(file["registrations"] > 1 for found in run.catalogue()["datasets"] for file in found["datafiles"])


@pytest.mark.campaign
@pytest.mark.fault("F43")
@SYSTEMS
def test_two_catalogs_that_create_the_same_dataset_at_once_make_one(case, system: str) -> None:
    """Both processes have heard that it is absent before either creates it; later they share the work."""
    run = case(
        catalogue=system, settings={"watcher": {"catalogue_patience_s": 1.0}}
    )  # stored files wake the second one
    run.services.start("catalog#2", DATAUPLOADER_ALONE="false")  # else the lock of the first one keeps it out
    eventually(lambda: "service_started" in run.services.log("catalog#2"), within_s=30, what="a second catalog works")
    run.office.fail("find_dataset", "slow", seconds=8.0, times=2, skip=1)  # the gateway asks first
    upload = run.request()
    Detector(run.facility.watched, run.ledger, Plan(scans=4, frames=10, seconds_per_frame=0.05)).run()
    eventually(lambda: run.catalogue()["duplicates"], within_s=60, every_s=0.1, what="the slower one meets a conflict")
    run.heal()
    run.recover(upload)
    assert len(run.catalogue()["datasets"]) == 1


@pytest.mark.campaign
@pytest.mark.fault("F43")
def test_a_catalog_with_a_state_of_its_own_waits_until_the_other_one_is_gone_and_misses_nothing(case) -> None:
    """Two of them would split one queue; the one that is over then waits in its turn, and says why."""
    run = case()
    run.services.start("catalog#2", DATAUPLOADER_STATE_DIR=str(run.facility.folder / "state-2"))
    waits = "another state folder"
    eventually(lambda: waits in run.services.log("catalog#2"), within_s=30, what="the second catalog waits")
    upload = run.request()
    Detector(run.facility.watched, run.ledger, Plan("burst", files=10)).run()
    eventually(lambda: run.catalogued() > 5, within_s=60, what="some files are catalogued")
    run.services.kill("catalog")
    Detector(run.facility.watched, run.ledger, PLAN).run()
    run.heal()
    (status,) = run.recover(upload)
    run.services.start("catalog")
    eventually(lambda: waits in run.services.log("catalog"), within_s=30, what="the first one waits now")
    assert status.counts.catalogued.files == run.catalogued()


@pytest.mark.campaign
@pytest.mark.fault("F44")
@SYSTEMS
@pytest.mark.parametrize("kind", ["unavailable", "timeout"])
def test_nothing_is_created_while_nobody_knows_what_exists(case, kind: str, system: str) -> None:
    """The look-up fails or is never answered: files travel on, nothing is created, and all is made up for later."""
    run = case(catalogue=system, settings={"catalog": {system: {"timeout": 1.0}}})
    run.office.fail("find_dataset", kind, times=-1, skip=1)  # the gateway has heard that nobody has the name
    upload = run.request()
    Detector(run.facility.watched, run.ledger, PLAN).run()
    run.control(upload, "close")
    eventually(
        lambda: run.office.fired()[0] >= 6, within_s=60, every_s=0.1, what="it was looked for in more than one turn"
    )
    eventually(lambda: stored(run, upload), within_s=60, every_s=0.1, what="files are stored meanwhile")
    assert run.catalogue()["datasets"] == []
    end_faults(run)
    run.recover(upload, close=False)
    assert run.catalogue()["duplicates"] == {}


@pytest.mark.campaign
@pytest.mark.fault("F45")
@SYSTEMS
def test_a_dataset_that_is_refused_is_shown_and_does_not_hold_up_the_others(case, system: str) -> None:
    """One dataset is refused for good; another one becomes complete meanwhile; after a retry the first one as well."""
    run = case(catalogue=system)
    other = run.beside("other")
    run.office.fail("create_dataset", "refused", times=-1, match="refused")
    uploads = []
    for one, name in ((run, "refused"), (other, "welcome")):
        place = folder(one, name)
        uploads.append(one.request(name, path=str(place.resolve())))
        Detector(place, one.ledger, PLAN).run()
        one.control(uploads[-1], "close")
    other.recover(uploads[1], datasets=("welcome",), close=False)
    shown = eventually(lambda: troubles(run, uploads[0]), within_s=30, every_s=0.1, what="the refusal is shown")
    assert "refuses the dataset" in " ".join(shown)
    end_faults(run)
    run.control(uploads[0], "retry")
    run.recover(uploads[0], datasets=("refused",), close=False)


@pytest.mark.campaign
@pytest.mark.fault("F42", "F43")
def test_two_catalogs_that_are_killed_while_they_write_files_and_folders_double_nothing(case) -> None:
    """Of an answer that a killed process has not heard, the folder tells whether it came to be."""
    run = case(catalogue="folder", settings={"watcher": {"catalogue_patience_s": 1.0}})
    run.services.start("catalog#2", DATAUPLOADER_ALONE="false")
    upload = run.request()
    with Detector(run.facility.watched, run.ledger, Plan(scans=4, frames=10, seconds_per_frame=0.05)) as detector:
        for files, name in enumerate(("catalog", "catalog#2", "catalog"), 1):
            run.until_catalogued(upload, files)
            run.services.kill(name)
            run.services.start(name, DATAUPLOADER_ALONE="false")
        detector.finish(60)
    run.heal()
    run.recover(upload)
    assert len(run.catalogue()["datasets"]) == 1


@pytest.mark.campaign
@pytest.mark.fault("F44")
def test_nothing_is_created_where_a_catalogue_of_folders_is_not_mounted(case) -> None:
    """The folder is empty, as that of a share is: files travel on, and all is made up for when it is there again."""
    run = case(catalogue="folder", settings={"catalog": {"patience_s": 2.0}})
    upload = run.request()
    root = run.facility.catalogue.root
    eventually(lambda: run.catalogue()["datasets"], within_s=60, every_s=0.1, what="the dataset is there")
    root.rename(root.with_name("unmounted"))
    root.mkdir()
    Detector(run.facility.watched, run.ledger, PLAN).run()
    run.control(upload, "close")
    eventually(lambda: stored(run, upload) > 3, within_s=60, every_s=0.1, what="files are stored meanwhile")
    eventually(lambda: troubles(run, upload), within_s=60, what="it is shown that the catalogue is away")
    assert list(root.iterdir()) == []
    root.rmdir()
    root.with_name("unmounted").rename(root)
    run.heal()
    run.recover(upload, close=False)


def set_widths(run: Case, **widths: int) -> None:
    """Give the double's columns a width in bytes; none takes everything."""
    columns = {name.replace("_", ".", 1): size for name, size in widths.items()}
    httpx.put(f"{run.facility.catalogue.url}/_double/widths", json=columns).raise_for_status()


@pytest.mark.campaign
@pytest.mark.fault("F59")
def test_a_path_that_the_catalogue_cannot_hold_keeps_its_dataset_alone_open_and_no_other_file_out(case) -> None:
    """The person sees which file and why; when the column is wider, a retry completes the dataset."""
    run = case()
    upload = run.request()
    Detector(run.facility.watched, run.ledger, Plan("burst", files=20)).run()
    set_widths(run, datafiles_path=60)
    odd = run.facility.watched / ("x" * 80 + ".dat")
    odd.write_bytes(b"odd")
    run.until(upload, lambda status: status.counts.failed.files == 1, "the refused file is shown", 60)
    run.control(upload, "close")
    status = run.until(upload, lambda status: status.needs_person, "a person is asked", 60)
    assert "ORA-12899" in " ".join(status.troubles)
    run.until_catalogued(upload, status.counts.found.files - 1)
    odd_alone = [file for found in run.catalogue()["datasets"] for file in found["datafiles"] if "xxx" in file["path"]]
    assert not odd_alone
    set_widths(run)
    run.control(upload, "retry")
    completed = run.until(upload, lambda status: status.state == "completed", "the dataset is complete", 60)
    assert completed.counts.failed.files == 0


@pytest.mark.campaign
@pytest.mark.fault("F59")
def test_a_dataset_name_that_the_catalogue_cannot_hold_is_refused_at_once(case) -> None:
    """With the words of the database, at the upload; the name has 190 bytes, the column 150."""
    run = case()
    set_widths(run, datasets_name=150)
    place = folder(run, "long")
    upload = run.request("n" * 190, path=str(place.resolve()))
    (place / "a.dat").write_bytes(b"a")
    status = run.until(upload, lambda status: status.state == "refused", "the dataset is refused", 60)
    assert "ORA-12899" in " ".join(status.troubles)
    assert status.needs_person
