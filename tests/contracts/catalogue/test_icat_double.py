"""The double of ICAT, held honest by python-icat, the client of ICAT's own people, and by what ICAT's sources say."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import icat
import pytest
from icat.client import Client
from icat.query import Query

from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset
from datauploader_sandbox.icat import ROOT, SERVICE, Account, IcatDouble

OPEN = 20260101
HOSTILE = "it's <b> & ☃ 100%"


@pytest.fixture
def client(make_icat: Callable[..., Any], running_icat: IcatDouble) -> Iterator[Client]:
    """Give python-icat's client, signed in as the service, at a double as if it were new."""
    make_icat()
    client = Client(f"{running_icat.url}/ICATService/ICAT?wsdl", cache=None)
    client.login("simple", {"username": SERVICE.name, "password": SERVICE.password})
    yield client
    client.cleanup()


class Rest:
    """Speaks to the double's REST interface without any client."""

    def __init__(self, url: str, account: Account = ROOT) -> None:
        self.http = httpx.Client(base_url=f"{url}/icat/", trust_env=False, verify=False)
        credentials = [{"username": account.name}, {"password": account.password}]
        form = {"json": json.dumps({"plugin": "simple", "credentials": credentials})}
        self.session = self.http.post("session", data=form).json()["sessionId"]

    def write(self, entities: Any) -> httpx.Response:
        """Write entities."""
        text = entities if isinstance(entities, str) else json.dumps(entities)
        return self.http.post("entityManager", data={"sessionId": self.session, "entities": text})

    def search(self, query: str) -> httpx.Response:
        """Ask a query."""
        return self.http.get("entityManager", params={"sessionId": self.session, "query": query})


@pytest.fixture
def rest(make_icat: Callable[..., Any], running_icat: IcatDouble) -> Iterator[Rest]:
    """Give the REST interface of a double as if it were new."""
    make_icat()
    rest = Rest(running_icat.url)
    yield rest
    rest.http.close()


def test_python_icat_does_its_own_work(client: Client) -> None:
    """It signs in, finds an investigation, makes a dataset with files and parameters, and completes it."""
    assert client.getUserName() == SERVICE.user
    assert 0 < client.getRemainingMinutes() <= 120
    client.refresh()
    named = Query(client, "Investigation", conditions={"name": f"= '{OPEN}'"}, includes=["investigationUsers.user"])
    investigation = client.assertedSearch(named)[0]
    assert {one.user.fullName for one in investigation.investigationUsers} == {"Anna Moretti", "Ben Okafor"}
    kind = client.assertedSearch(Query(client, "DatasetType", conditions={"name": "= 'raw'"}))[0]
    dataset = client.new("Dataset", name=HOSTILE, investigation=investigation, type=kind, complete=False)
    dataset.create()
    files = [client.new("Datafile", name=f"{n}.h5", dataset=dataset, fileSize=n) for n in range(5)]
    files[0].datafileModTime = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert len(set(client.createMany(files))) == 5
    energy = client.new(
        "ParameterType", name="energy", units="keV", valueType="NUMERIC", applicableToDataset=True,
        facility=client.assertedSearch("SELECT f FROM Facility f")[0],
    )  # fmt: skip
    energy.create()
    client.new("DatasetParameter", dataset=dataset, type=energy, numericValue=12.5).create()
    dataset.complete = True
    dataset.update()
    conditions = {"investigation.id": f"= {OPEN}", "name": "= '{}'".format(HOSTILE.replace("'", "''"))}
    found = client.assertedSearch(
        Query(client, "Dataset", conditions=conditions, includes=["datafiles", "parameters.type"])
    )[0]
    assert (found.complete, found.name) == (True, HOSTILE)
    assert sorted((one.name, one.fileSize) for one in found.datafiles) == [(f"{n}.h5", n) for n in range(5)]
    assert [(one.type.name, one.numericValue) for one in found.parameters] == [("energy", 12.5)]
    first = client.search(Query(client, "Datafile", conditions={"name": "= '0.h5'"}, attributes="datafileModTime"))
    assert first[0] == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    client.logout()
    with pytest.raises(icat.ICATSessionError):
        client.getUserName()


def test_python_icat_is_refused_what_is_there_already(client: Client) -> None:
    """Of an array nothing is written then, and the offset says which one it was."""
    investigation = client.assertedSearch(f"SELECT i FROM Investigation i WHERE i.id = {OPEN}")[0]
    kind = client.assertedSearch("SELECT t FROM DatasetType t WHERE t.name = 'raw'")[0]
    dataset = client.new("Dataset", name="scan", investigation=investigation, type=kind)
    dataset.create()
    client.new("Datafile", name="b", dataset=dataset).create()
    with pytest.raises(icat.ICATObjectExistsError) as refusal:
        client.createMany([client.new("Datafile", name=name, dataset=dataset) for name in "abc"])
    assert refusal.value.offset == 1
    with pytest.raises(icat.ICATObjectExistsError):
        client.new("Dataset", name="scan", investigation=investigation, type=kind).create()
    with pytest.raises(icat.ICATValidationError):
        client.new("Dataset", name="x" * 256, investigation=investigation, type=kind).create()
    with pytest.raises(icat.ICATPrivilegesError):
        client.new("Facility", name="mine").create()
    with pytest.raises(icat.ICATParameterError):
        client.search("SELECT x FROM Nothing x")
    count = Query(client, "Datafile", conditions={"dataset.id": f"= {dataset.id}"}, aggregate="COUNT")
    assert client.search(count) == [1]


@pytest.mark.parametrize(
    ("query", "results"),
    [
        ({"attributes": "name", "order": ["name"], "limit": (1, 2)}, ["b", "c"]),
        ({"attributes": "name", "order": [("name", "DESC")]}, ["d", "c", "b", "a"]),
        (
            {"attributes": ["name", "fileSize"], "conditions": {"fileSize": ">= 2"}, "order": ["id"]},
            [("c", 2), ("d", 3)],
        ),
        ({"attributes": "name", "conditions": {"name": ["> 'a'", "< 'c'"]}}, ["b"]),
        ({"attributes": "name", "conditions": {"name": "in ('a', 'd')"}, "order": ["name"]}, ["a", "d"]),
        ({"attributes": "dataset.name", "aggregate": "DISTINCT"}, ["scan"]),
        ({"attributes": "fileSize", "aggregate": "MAX"}, [3]),
        ({"attributes": "fileSize", "aggregate": "SUM"}, [6]),
        ({"attributes": "dataset", "aggregate": "COUNT:DISTINCT"}, [1]),
        ({"aggregate": "COUNT", "conditions": {"checksum": "IS NULL"}}, [4]),
        ({"aggregate": "COUNT", "conditions": {"dataset.investigation.investigationUsers.user.id": "= 1101"}}, [4]),
    ],
)
def test_python_icats_queries_are_understood(client: Client, query: dict[str, Any], results: list[Any]) -> None:
    """As its Query class writes them: joins, orders, limits, aggregates."""
    investigation = client.assertedSearch(f"SELECT i FROM Investigation i WHERE i.id = {OPEN}")[0]
    kind = client.assertedSearch("SELECT t FROM DatasetType t WHERE t.name = 'raw'")[0]
    dataset = client.new("Dataset", name="scan", investigation=investigation, type=kind)
    dataset.create()
    client.createMany([client.new("Datafile", name=n, dataset=dataset, fileSize=s) for s, n in enumerate("abcd")])
    assert client.search(Query(client, "Datafile", **query)) == results


def test_python_icat_sees_what_the_adapter_has_written(icat_world: Any, client: Client) -> None:
    """Datasets, datafiles and parameters are what an ICAT's people expect."""
    catalogue = icat_world.catalogue
    dataset = catalogue.ensure_dataset(NewDataset(str(OPEN), HOSTILE, "store:x", "words", owner="1101"))
    catalogue.register_datafiles(
        dataset.id, [Datafile("d/a.h5", "store:x/d/a.h5", 7, "a" * 64, 1_700_000_000_123_456_789)]
    )
    catalogue.attach_parameters(dataset.id, [NamedValue("energy", 12, "keV"), NamedValue("sample", "Σ")])
    catalogue.complete_dataset(dataset.id)
    found = client.assertedSearch(
        Query(
            client,
            "Dataset",
            conditions={"id": f"= {dataset.id}"},
            includes=["datafiles", "parameters.type", "type", "investigation"],
        )
    )[0]
    assert (found.name, found.location, found.description, found.complete) == (HOSTILE, "store:x", "words", True)
    assert (found.type.name, found.investigation.id) == ("raw", OPEN)
    file = found.datafiles[0]
    assert (file.name, file.location, file.fileSize, file.checksum) == ("d/a.h5", "store:x/d/a.h5", 7, "a" * 64)
    assert file.datafileModTime == datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)
    told = {one.type.name: (one.type.valueType, one.numericValue, one.stringValue) for one in found.parameters}
    assert told == {"energy": ("NUMERIC", 12.0, None), "sample": ("STRING", None, "Σ")}


@pytest.fixture
def icat_world(icat: Any) -> Any:
    """Give the adapter under a name that does not hide the module `icat`."""
    return icat


DATASET = {"name": "n", "investigation": {"id": OPEN}, "type": {"id": 31}}


@pytest.mark.parametrize(
    ("entities", "status", "code", "said"),
    [
        ("no json", 400, "BAD_PARAMETER", "json"),
        ({"Dataset": {}, "Datafile": {}}, 400, "BAD_PARAMETER", "one keyword"),
        ({"Nothing": {}}, 400, "BAD_PARAMETER", "Nothing"),
        ({"Dataset": {**DATASET, "colour": "red"}}, 400, "BAD_PARAMETER", "Field colour not found in Dataset"),
        ({"Dataset": {"name": "n", "type": {"id": 31}}}, 412, "VALIDATION", "investigation cannot be null"),
        ({"Dataset": {**DATASET, "name": None}}, 412, "VALIDATION", "name cannot be null"),
        ({"Dataset": {**DATASET, "name": "x" * 256}}, 412, "VALIDATION", "name cannot have length > 255"),
        ({"Dataset": {**DATASET, "name": "\U0001f600" * 128}}, 412, "VALIDATION", "length > 255"),
        ({"Dataset": {**DATASET, "location": "x" * 512}}, 412, "VALIDATION", "location cannot have length > 511"),
        ({"Dataset": {**DATASET, "type": {"id": 404}}}, 404, "NO_SUCH_OBJECT_FOUND", "DatasetType[id:404]"),
        ({"Dataset": {"id": 404, "complete": True}}, 404, "NO_SUCH_OBJECT_FOUND", "Dataset[id:404]"),
        ({"Dataset": {**DATASET, "type": {"name": "raw"}}}, 400, "BAD_PARAMETER", "id"),
        ({"Dataset": {**DATASET, "startDate": "2026-01-01T00:00:00Z"}}, 400, "BAD_PARAMETER", "Badly formatted date"),
        ({"Dataset": {**DATASET, "startDate": "2026-01-01"}}, 400, "BAD_PARAMETER", "Badly formatted date"),
        ([{"Dataset": DATASET}, {"Dataset": DATASET}], 412, "OBJECT_ALREADY_EXISTS", "name = 'n'"),
    ],
)
def test_what_cannot_be_written_is_refused_whole(rest: Rest, entities: Any, status: int, code: str, said: str) -> None:
    """By the code that ICAT has for it; and nothing of it is there."""
    answer = rest.write(entities)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert said in answer.json()["message"]
    assert rest.search("SELECT COUNT(ds) FROM Dataset ds").json() == [0]


def test_an_array_is_undone_as_a_whole_updates_included(rest: Rest) -> None:
    """The offset names the one that was refused."""
    first = rest.write({"Dataset": DATASET}).json()[0]
    answer = rest.write(
        [
            {"Dataset": {"id": first, "complete": True, "name": "m"}},
            {"Dataset": {**DATASET, "name": "o"}},
            {"Dataset": {**DATASET, "name": "o"}},
        ]
    )
    assert (answer.status_code, answer.json()["offset"]) == (412, 2)
    assert rest.search("SELECT ds.name, ds.complete FROM Dataset ds").json() == [["n", False]]
    assert rest.write({"Dataset": DATASET}).status_code == 412


def test_dates_have_three_digits_and_more_of_them_are_more_time(rest: Rest) -> None:
    """As Java's SimpleDateFormat reads them, without a word."""
    for name, text in (("a", "2026-01-01T01:00:00.123+01:00"), ("b", "2026-01-01T00:00:00.123456Z")):
        assert rest.write({"Dataset": {**DATASET, "name": name, "startDate": text}}).status_code == 200
    found = rest.search("SELECT ds.startDate FROM Dataset ds ORDER BY ds.name").json()
    assert found == ["2026-01-01T00:00:00.123Z", "2026-01-01T00:02:03.456Z"]


def test_what_a_user_may_not_read_is_not_there(rest: Rest, running_icat: IcatDouble) -> None:
    """No error, an empty list: so a missing rule looks like an absence."""
    rest.write({"Dataset": DATASET})
    httpx.put(f"{running_icat.url}/_double/rules/{SERVICE.name}", json={"*": "R", "Dataset": "C"}, trust_env=False)
    service = Rest(running_icat.url, SERVICE)
    assert service.search("SELECT ds FROM Dataset ds").json() == []
    assert service.search("SELECT COUNT(ds) FROM Dataset ds").json() == [0]
    assert service.write({"Dataset": DATASET}).json()["code"] == "OBJECT_ALREADY_EXISTS"
    assert (
        service.write({"Datafile": {"name": "x", "dataset": {"id": 7001}}}).json()["code"] == "INSUFFICIENT_PRIVILEGES"
    )
    service.http.close()


@pytest.mark.parametrize(
    "query",
    [
        "", "SELECT", "SELECT ds FROM Dataset", "SELECT ds FROM Dataset ds WHERE", "SELECT x FROM Dataset ds",
        "SELECT ds FROM Dataset ds WHERE ds.name = 'open", "SELECT ds FROM Dataset ds WHERE ds.name\n= 'x'",
        "SELECT ds FROM Dataset ds WHERE ds.colour = 'red'", "SELECT ds FROM Dataset ds WHERE ds.datafiles.name = 'x'",
        "SELECT ds FROM Dataset ds INCLUDE ds.datafiles, ds.datafiles", "SELECT ds FROM Dataset ds INCLUDE ds.colour",
        "SELECT ds.id, ds.name FROM Dataset ds INCLUDE ds.type", "SELECT ds FROM Dataset ds LIMIT 1",
        "Dataset [id = 1]", "SELECT ds FROM Dataset ds; DELETE", 'SELECT ds FROM Dataset ds WHERE ds.name = "x"',
    ],
)  # fmt: skip
def test_what_is_no_query_is_a_bad_parameter(rest: Rest, query: str) -> None:
    """Cut off, unknown names, other white space than blanks, double quotes, the older form."""
    answer = rest.search(query)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_PARAMETER")


def test_sessions_are_opened_shown_and_ended(rest: Rest) -> None:
    """With the wrong password there is none; one that has ended is not known any more."""
    for document in (
        {"plugin": "simple", "credentials": [{"username": "root"}, {"password": "x"}]},
        {"plugin": "ldap"},
    ):
        answer = rest.http.post("session", data={"json": json.dumps({"credentials": [], **document})})
        assert (answer.status_code, answer.json()["code"]) == (403, "SESSION")
    state = rest.http.get(f"session/{rest.session}").json()
    assert (state["userName"], state["remainingMinutes"] > 119) == (ROOT.user, True)
    assert rest.http.put(f"session/{rest.session}").status_code == 204
    assert rest.http.delete(f"session/{rest.session}").status_code == 204
    for answer in (rest.search("SELECT f FROM Facility f"), rest.write({"Dataset": DATASET})):
        assert (answer.status_code, answer.json()["code"]) == (403, "SESSION")
    assert rest.http.get("version").json() == {"version": "6.2.0"}
    assert rest.http.get("properties").json()["maxEntities"] == 10_000


def test_the_double_is_a_process_as_well() -> None:
    """It prints its address first."""
    process = subprocess.Popen([sys.executable, "-m", "datauploader_sandbox.icat"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert httpx.get(f"{process.stdout.readline().strip()}/icat/version", trust_env=False).status_code == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
