"""What the tests of ICAT's adapter have in common: a dataset, datafiles, and ICAT's own people."""

import json
from typing import Any

from datauploader.plugins.catalogue.port import Datafile, NewDataset
from datauploader_sandbox.icat import ROOT

ANNA, STAFF, OPEN = "1101", "1900", "20260101"
ALWAYS = 1_000_000
WANTED = NewDataset(OPEN, "scan-1", owner=ANNA)


def file(path: str = "a.h5", digit: str = "a", **more: Any) -> Datafile:
    """Return a datafile to register."""
    values = {"location": f"store:x/{path}", "size": 1, "checksum": digit * 64, "mtime_ns": 1_700_000_000_123_456_789}
    return Datafile(path, **(values | more))


def write(world: Any, entities: Any) -> list[int]:
    """Write as ICAT's own people do."""
    credentials = [{"username": ROOT.name}, {"password": ROOT.password}]
    login = world.oracle.post(
        "/icat/session", data={"json": json.dumps({"plugin": "simple", "credentials": credentials})}
    )
    form = {"sessionId": login.json()["sessionId"], "entities": json.dumps(entities)}
    answer = world.oracle.post("/icat/entityManager", data=form)
    assert answer.status_code == 200, answer.text
    ids: list[int] = answer.json()
    return ids


def requests(world: Any) -> dict[str, int]:
    """Return how often what was asked."""
    counted: dict[str, int] = world.state()["requests"]
    return counted


def make_type(world: Any, name: str, kind: str, **more: Any) -> None:
    """Make a type as the facility does."""
    values = {"name": name, "units": "", "valueType": kind, "facility": {"id": 1}, "applicableToDataset": True}
    write(world, {"ParameterType": values | more})
