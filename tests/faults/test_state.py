"""State files are damaged, emptied, or of another release: noticed at the start, set aside, and filled again."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.messaging.rabbit import apply_topology
from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

from .conftest import HERE

FILES = {
    "watcher": "watcher.sqlite3",
    "transfer": "transfer.sqlite",
    "catalog": "catalog.sqlite",
    "gateway": "gateway.sqlite",
    "nexus-harvester": "harvester-nexus.sqlite",
}
IMPATIENT = {"watcher": {"receipt_patience_s": 5.0}, "gateway": {"request_patience_s": 5.0}}


def truncate(path: Path) -> None:
    """Cut a state file in its middle, and make what is left unreadable where that alone does not."""
    content = path.read_bytes()
    assert content, f"{path} holds nothing yet"
    path.write_bytes(content[:1024] + b"\xff" * max(0, len(content) // 2 - 1024))
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)


def aside(path: Path) -> list[Path]:
    """List what was set aside of a file."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def checkpoint(path: Path) -> None:
    """Have all that a killed process committed in the file itself, so that cutting the file is damage."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def half_way(case) -> tuple:
    """Begin an upload, and return when some of its files are catalogued and others are not written yet."""
    run = case(settings=IMPATIENT)
    upload = run.request()
    run.opened(upload)
    detector = Detector(run.facility.watched, run.ledger, Plan(scans=0, frames=10, seconds_per_frame=0.1))
    return run, upload, detector


@pytest.mark.campaign
@pytest.mark.fault("F28")
@pytest.mark.parametrize("service", [*FILES, "all of them"])
def test_a_truncated_state_file_is_set_aside_and_what_it_held_is_found_again(case, service: str) -> None:
    """Of each service alone, and of all at once, in the middle of an upload with files that still change."""
    run, upload, detector = half_way(case)
    victims = list(FILES) if service == "all of them" else [service]
    with detector:
        eventually(lambda: run.catalogued() > 20, within_s=60, what="twenty files are catalogued")
        for victim in victims:
            run.services.kill(victim)
        for victim in victims:
            path = run.facility.folder / "state" / FILES[victim]
            checkpoint(path)
            truncate(path)
        for victim in victims:
            run.services.start(victim)
        run.heal()
        run.facility.wait()
        before = run.catalogued()
        eventually(lambda: run.catalogued() > before, within_s=60, what="uploads go on")
        detector.stop()
        detector.finish(30)
    for victim in victims:
        path = run.facility.folder / "state" / FILES[victim]
        eventually(lambda: aside(path), within_s=30, what=f"the damaged file of {victim} is set aside")  # noqa: B023
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F28")
def test_a_station_without_its_state_and_with_few_rights_goes_on_at_once(case) -> None:
    """Its broker user may not read the event log; a power cut emptied both files; the upload was closed meanwhile."""
    run, upload, _ = half_way(case)
    Detector(run.facility.watched, run.ledger, Plan("burst", files=60, file_size=2000)).run()
    eventually(lambda: run.catalogued() >= 60, within_s=60, what="sixty files are catalogued")
    run.control(upload, "pause")
    for service in ("watcher", "transfer"):
        run.services.kill(service)
        path = run.facility.folder / "state" / FILES[service]
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        path.write_bytes(b"")
    run.control(upload, "resume")
    run.control(upload, "close")
    run.heal()
    settings = as_station(run)
    for service in ("watcher", "transfer"):
        run.services.start(service, **settings)
    run.recover(upload, close=False)
    assert "event_log_read_failed" in run.services.log("transfer")


@pytest.mark.campaign
@pytest.mark.fault("F28")
def test_a_station_without_its_state_and_without_the_files_that_it_has_uploaded_completes_the_dataset(case) -> None:
    """Local copies were removed by hand; the catalog, which has them, is away at first; the rights are a station's."""
    run, upload, _ = half_way(case)
    Detector(run.facility.watched, run.ledger, Plan("burst", files=60, file_size=2000)).run()
    eventually(lambda: run.catalogued() >= 60, within_s=60, what="sixty files are catalogued")
    run.services.kill("watcher")
    for path in (run.facility.folder / "state").glob("watcher.sqlite3*"):
        path.unlink()
    files = sorted(path for path in run.facility.watched.rglob("*") if path.is_file())
    for path in files[::2]:
        path.unlink()
    run.services.kill("catalog")
    run.services.start("watcher", **as_station(run))
    run.control(upload, "close")
    asked_in_vain = lambda: "catalog_query_failed" in run.services.log("watcher")  # noqa: E731 - a condition with a name
    eventually(asked_in_vain, within_s=60, what="the catalog is asked in vain")
    assert "upload_sealed" not in run.services.log("watcher")
    run.heal()
    run.services.start("catalog")
    (status,) = run.recover(upload, close=False)
    assert status.counts.catalogued.files == len(files)


def as_station(run) -> dict[str, str]:
    """Make a broker user with the rights of a station; return the settings that its services need for it."""
    server, user = run.server["rabbitmq"], HERE.key
    apply_topology(server.address.url, [HERE])
    server.ctl("add_user", user, "correct-horse-7319")
    document = definitions([HERE], [BrokerUser(user, "station", station=HERE)])
    (rights,) = document["permissions"]
    server.ctl("set_permissions", user, rights["configure"], rights["write"], rights["read"])
    for one in document["topic_permissions"]:
        server.ctl("set_topic_permissions", user, one["exchange"], one["write"], one["read"])
    address = server.address
    return {
        "DATAUPLOADER_BROKER": f"amqp://{user}:correct-horse-7319@{address.host}:{address.port}/%2F",
        "DATAUPLOADER_BROKER_USERS": json.dumps({address.user: "operator"}),  # as whom all others speak
    }


@pytest.mark.campaign
@pytest.mark.fault("F28")
def test_a_state_file_of_a_newer_release_keeps_every_service_from_starting_and_stays_as_it_is(case) -> None:
    """Each ends with code 2 and a sentence that says what to do; started with what it knows, it goes on."""
    run = case()
    for service, name in FILES.items():
        assert run.services.terminate(service) == 0
        path = run.facility.folder / "state" / name
        known = set_version(path, "outbox", 99)
        run.services.start(service)
        assert run.services.ended(service, within_s=30) == 2
        said = run.services.log(service)
        assert "was written by a newer release" in said
        assert "install that release again, or move the file away" in said
        assert "Traceback" not in said
        set_version(path, "outbox", known)
        assert not aside(path)
        run.services.start(service)
    run.facility.wait()


def set_version(path: Path, component: str, version: int) -> int:
    """Write the version of a component's tables as another release would; return which it was."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (known,) = db.execute("SELECT version FROM schema WHERE component = ?", (component,)).fetchone()
        db.execute("UPDATE schema SET version = ? WHERE component = ?", (version, component))
    return int(known)
