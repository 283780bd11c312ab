"""What ICAT's adapter must do beyond the port: sessions that end, refused arrays, names that mean something."""

import json
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from datauploader_catalog.adapters import connect
from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.domain.apart import send_apart
from datauploader_catalog.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    NotYetThere,
    UnknownSession,
    UnknownTrouble,
    ValueRefused,
)
from datauploader_catalog.ports import Datafile, Dataset, NamedValue, NewDataset, NewInvestigation
from datauploader_catalog.settings import CatalogSettings
from datauploader_sandbox.icat import ROOT, SERVICE

ANNA, STAFF, OPEN = "1101", "1900", "20260101"
WANTED = NewDataset(OPEN, "scan-1", owner=ANNA)
ALWAYS = 1_000_000


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


@pytest.fixture
def dataset(icat: Any) -> Dataset:
    """Give a dataset that is there."""
    made: Dataset = icat.catalogue.ensure_dataset(WANTED)
    return made


# Sessions


@pytest.mark.parametrize("operation", ["find_dataset", "create_dataset", "add_datafiles", "complete_dataset"])
def test_a_session_that_ends_in_the_middle_is_opened_again(icat: Any, operation: str) -> None:
    """Nothing was done when ICAT said so; the same is asked once more, and nobody hears of it."""
    icat.fail(operation, "expired")
    made = icat.catalogue.ensure_dataset(WANTED)
    icat.catalogue.register_datafiles(made.id, [file(f"{n}.h5") for n in range(3)])
    icat.catalogue.complete_dataset(made.id)
    assert [(d["complete"], len(d["datafiles"])) for d in icat.datasets()] == [(True, 3)]
    assert requests(icat)["POST session"] == 2


def test_a_session_that_never_holds_is_not_opened_for_ever(icat: Any) -> None:
    """Twice, then it is somebody else's turn to wait."""
    icat.fail("find_dataset", "expired", ALWAYS)
    with pytest.raises(CatalogueUnavailable):
        icat.catalogue.ensure_dataset(WANTED)
    assert requests(icat)["POST session"] == 2


def test_a_session_is_kept_fresh_and_ended_at_the_end(icat: Any) -> None:
    """After half of its life it is refreshed; it is signed out of, so that ICAT does not collect them."""
    icat.catalogue.ensure_dataset(WANTED)
    assert "PUT session" not in requests(icat)
    icat.catalogue._session._half = 0.0
    icat.catalogue.ensure_dataset(WANTED)
    icat.catalogue.ensure_dataset(WANTED)
    assert requests(icat)["PUT session"] == 1
    icat.catalogue.close()
    assert requests(icat)["DELETE session"] == 1


def test_a_session_that_cannot_be_refreshed_is_opened_again(icat: Any) -> None:
    """It had ended already."""
    icat.catalogue.ensure_dataset(WANTED)
    icat.oracle.post("/_double/faults", json={"kind": "expired", "method": "PUT", "path": "session/"})
    icat.catalogue._session._half = 0.0
    assert icat.catalogue.find_dataset(OPEN, "scan-1") is not None
    assert requests(icat)["POST session"] == 2


def test_a_wrong_password_waits_for_the_operator(make_icat: Callable[..., Any]) -> None:
    """It says which setting is wrong, and not what it is."""
    world = make_icat(password="canary-password")
    with pytest.raises(NotTrusted, match="ICAT__PASSWORD") as error:
        world.catalogue.ensure_dataset(WANTED)
    assert error.value.retryable
    assert "canary" not in f"{error.value!r}{error.value}"


def test_neither_password_nor_session_is_logged(
    make_icat: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """ICAT wants sessions in addresses; not at the finest level are they logged."""
    for name in (None, "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    world = make_icat()
    world.catalogue.ensure_dataset(WANTED)
    with pytest.raises(UnknownSession):
        world.catalogue.identify(SecretStr("canary-session"))
    world.fail("identify", "timeout", ALWAYS)
    with pytest.raises(CatalogueUnavailable) as late:
        world.catalogue.identify(SecretStr("canary-session"))
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("httpx", "datauploader")))
    assert "entityManager" in ours
    for canary in ("canary-session", SERVICE.password, world.catalogue._session._session):
        assert canary not in f"{ours}{late.value}{world.catalogue._settings!r}"


def test_who_has_a_session_but_is_no_user_is_told_so(icat: Any) -> None:
    """The service's own account is in no table of users."""
    icat.catalogue.probe_catalogue()
    with pytest.raises(UnknownSession, match="no user"):
        icat.catalogue.identify(SecretStr(icat.catalogue._session._session))


def test_people_can_be_known_by_the_name_that_they_sign_in_with(make_icat: Callable[..., Any]) -> None:
    """Then the gateway's identity provider and ICAT mean the same person, without knowing ICAT's ids."""
    world = make_icat(people_by="name", user_prefix="db/")
    world.oracle.put("/_double/limits?fold_case=true")
    catalogue = world.catalogue
    assert catalogue.identify(SecretStr("sandbox-session-anna")).id == "anna.moretti"
    assert {one.id for one in catalogue.investigations("anna.moretti")} == {OPEN, "20260103", "20250917"}
    assert catalogue.authorise("anna.moretti", OPEN).base_dir == f"/facility/store/{OPEN}"
    assert catalogue.ensure_dataset(NewDataset(OPEN, "n", owner="anna.moretti")).name == "n"
    assert catalogue.ensure_investigation(NewInvestigation("n", "1", "t", "dana.staff")).name == "n"
    for stranger in (ANNA, "db/anna.moretti", "Anna.Moretti", "", "' OR '1'='1", "a\0b", "chloe.papadaki"):
        with pytest.raises(CatalogueForbids):
            catalogue.authorise(stranger, OPEN)
    with pytest.raises(UnknownSession, match="begin with 'oidc/'"):
        make_icat(people_by="name", user_prefix="oidc/").catalogue.identify(SecretStr("sandbox-session-anna"))


# Arrays of datafiles


def test_ten_thousand_datafiles_are_ten_requests(icat: Any, dataset: Dataset) -> None:
    """Nothing is looked up that nobody doubts."""
    before = requests(icat)
    icat.catalogue.register_datafiles(dataset.id, [file(f"dir/{n:06}.h5") for n in range(2000)])
    after = requests(icat)
    asked = {name: after[name] - before.get(name, 0) for name in ("GET entityManager", "POST entityManager")}
    assert asked == {"GET entityManager": 1, "POST entityManager": 2}


@pytest.mark.fault("F42")
@pytest.mark.parametrize("kind", ["lost", "unreadable"])
def test_after_a_lost_answer_is_read_before_anything_is_sent_again(icat: Any, dataset: Dataset, kind: str) -> None:
    """The array was written: there is nothing to send."""
    files = [file(f"{n}.h5") for n in range(50)]
    icat.fail("add_datafiles", kind, **({"after_effect": True} if kind == "unreadable" else {}))
    with pytest.raises(CatalogError) as error:
        icat.catalogue.register_datafiles(dataset.id, files)
    assert error.value.retryable
    sent = requests(icat)["POST entityManager"]
    icat.catalogue.register_datafiles(dataset.id, files)
    assert requests(icat)["POST entityManager"] == sent
    assert len(icat.datasets()[0]["datafiles"]) == 50
    icat.catalogue.register_datafiles(dataset.id, [file("new.h5")])
    assert len(icat.datasets()[0]["datafiles"]) == 51


@pytest.mark.fault("F42")
def test_after_a_start_a_lost_answer_is_found_out_by_the_refusal(make_icat: Callable[..., Any]) -> None:
    """Another adapter does not know of it: ICAT refuses the array, and what is missing is sent."""
    world = make_icat()
    made = world.catalogue.ensure_dataset(WANTED)
    world.fail("add_datafiles", "lost")
    with pytest.raises(CatalogueUnavailable):
        world.catalogue.register_datafiles(made.id, [file(f"{n}.h5") for n in range(50)])
    other = IcatCatalogue(world.catalogue._settings)
    other.register_datafiles(made.id, [file(f"{n}.h5") for n in range(60)])
    other.close()
    assert sorted(row[0] for row in world.datasets()[0]["datafiles"]) == sorted(f"{n}.h5" for n in range(60))


def test_a_refused_array_is_sorted_out(icat: Any, dataset: Dataset) -> None:
    """What is there stays, what has changed is renewed under its id, what is new goes in; in one more transaction."""
    icat.catalogue.register_datafiles(dataset.id, [file("same.h5"), file("changed.h5")])
    ids = {f["name"]: f["id"] for f in icat.state()["datasets"][0]["datafiles"]}
    sent = requests(icat)["POST entityManager"]
    icat.catalogue.register_datafiles(dataset.id, [file("new.h5"), file("changed.h5", "b", size=9), file("same.h5")])
    held = {f["name"]: f for f in icat.state()["datasets"][0]["datafiles"]}
    assert requests(icat)["POST entityManager"] == sent + 2
    assert {name: held[name]["id"] for name in ids} == ids
    assert [(held[n]["checksum"][0], held[n]["fileSize"]) for n in ("new.h5", "changed.h5", "same.h5")] == [
        ("a", 1), ("b", 9), ("a", 1),
    ]  # fmt: skip


def test_the_same_path_twice_in_one_call_is_its_last_version(icat: Any, dataset: Dataset) -> None:
    """ICAT would refuse the array because of its own twin."""
    icat.catalogue.register_datafiles(dataset.id, [file(digit="a"), file(digit="b")])
    assert [row[2][0] for row in icat.datasets()[0]["datafiles"]] == ["b"]


def test_somebody_who_writes_at_the_same_time_is_looked_at_again(icat: Any, dataset: Dataset) -> None:
    """An array that was put together anew is refused anew: again it is looked what is there, but not for ever."""
    icat.catalogue.register_datafiles(dataset.id, [file("a.h5")])
    twin = {"kind": "icat", "code": "OBJECT_ALREADY_EXISTS", "match": '{"Datafile":', "skip": 1}
    icat.oracle.post("/_double/faults", json=twin)
    icat.catalogue.register_datafiles(dataset.id, [file("a.h5"), file("b.h5")])
    assert len(icat.datasets()[0]["datafiles"]) == 2
    icat.oracle.post("/_double/faults", json={**twin, "skip": 0, "times": -1})
    with pytest.raises(CatalogueUnavailable):
        icat.catalogue.register_datafiles(dataset.id, [file("c.h5")])


@pytest.mark.fault("F59")
def test_names_that_the_database_does_not_tell_apart_are_refused_alone(icat: Any, dataset: Dataset) -> None:
    """MySQL compares without case by default: A.h5 is not written over a.h5, and the others go in."""
    icat.oracle.put("/_double/limits?fold_case=true")
    icat.catalogue.register_datafiles(dataset.id, [file("a.h5")])
    files = [file(f"{n}.h5") for n in range(20)] + [file("A.h5", "b")]
    found = list(send_apart(files, lambda some: icat.catalogue.register_datafiles(dataset.id, some)))
    refused = [(some[0].path, error) for some, error in found if error is not None]
    assert [(path, type(error)) for path, error in refused] == [("A.h5", ValueRefused)]
    assert {row[0]: row[2][0] for row in icat.datasets()[0]["datafiles"]} == {
        f.path: "a" for f in [*files[:-1], file()]
    }
    with pytest.raises(CatalogueRefused, match="SCAN-1"):
        icat.catalogue.ensure_dataset(NewDataset(OPEN, "SCAN-1", owner=ANNA))


def test_a_complete_dataset_knows_its_files_whatever_else_was_said_of_them(icat: Any, dataset: Dataset) -> None:
    """The bytes count: another time of change or place is nothing new."""
    icat.catalogue.register_datafiles(dataset.id, [file()])
    icat.catalogue.complete_dataset(dataset.id)
    icat.catalogue.register_datafiles(dataset.id, [file(mtime_ns=5, location="elsewhere")])
    for other in (file(size=2), file("new.h5")):
        with pytest.raises(CatalogueRefused, match="complete"):
            icat.catalogue.register_datafiles(dataset.id, [other])


@pytest.mark.parametrize("mtime_ns", [0, -1, -(10**18), 2**63 - 1, 1_767_225_600_000_000_000])
def test_moments_are_kept_to_the_millisecond(icat: Any, dataset: Dataset, mtime_ns: int) -> None:
    """With three digits, whatever they are: with more of them ICAT reads another moment."""
    icat.catalogue.register_datafiles(dataset.id, [file(mtime_ns=mtime_ns)])
    assert icat.datasets()[0]["datafiles"][0][4] == mtime_ns // 1_000_000 * 1_000_000


# Names


@pytest.mark.attack("S19")
@pytest.mark.parametrize(
    "name",
    [
        "' OR '1'='1", "x' OR ds.id > 0 OR ds.name = 'x", "\\", "\\'", "''", "'", "a:ts20260101000000b", ":user",
        ":ts20260101000000:ts20260101000000", "{ts 2026-01-01 00:00:00}", "%", "_", "100% ; DROP", "x\ny\tz", "{name}",
    ],
)  # fmt: skip
def test_names_stay_names_in_queries(icat: Any, name: str) -> None:
    """A look-up finds this name or nothing."""
    others = [icat.catalogue.ensure_dataset(NewDataset(OPEN, other, owner=ANNA)) for other in ("x", "1", "ds")]
    assert icat.catalogue.find_dataset(OPEN, name) is None
    made = icat.catalogue.ensure_dataset(NewDataset(OPEN, name, owner=ANNA))
    assert made.id not in {other.id for other in others}
    assert icat.catalogue.find_dataset(OPEN, name) == made
    icat.catalogue.register_datafiles(made.id, [file("x"), file(name)])
    icat.catalogue.register_datafiles(made.id, [file("x"), file(name, "b")])
    icat.catalogue.attach_parameters(made.id, [NamedValue(name, name, name)], datafile=name)
    assert len(icat.state()["datasets"]) == 4
    assert icat.catalogue.ensure_investigation(NewInvestigation(name, name, name, STAFF)).name == name


@pytest.mark.parametrize("hostile", ["1 OR 1=1", "1'", "7001)", "-1", "", "٧", "9" * 19])
def test_ids_are_ids(icat: Any, dataset: Dataset, hostile: str) -> None:
    """Whatever else is asked for is not there."""
    calls: list[Callable[[], object]] = [
        lambda: icat.catalogue.authorise(ANNA, hostile),
        lambda: icat.catalogue.authorise(hostile, OPEN),
        lambda: icat.catalogue.investigation(hostile),
        lambda: icat.catalogue.ensure_dataset(NewDataset(hostile, "n", owner=ANNA)),
        lambda: icat.catalogue.register_datafiles(hostile, [file()]),
        lambda: icat.catalogue.attach_parameters(hostile, [NamedValue("a", 1)]),
        lambda: icat.catalogue.describe_dataset(hostile, "x", ANNA),
        lambda: icat.catalogue.describe_investigation(hostile, "x", ANNA),
        lambda: icat.catalogue.complete_dataset(hostile),
    ]
    for call in calls:
        with pytest.raises(CatalogueRefused):
            call()
    assert icat.catalogue.investigations(hostile) == ()
    assert icat.datasets()[0]["id"] == dataset.id


@pytest.mark.fault("F59")
def test_what_a_column_cannot_hold_is_refused_in_icats_words(icat: Any, dataset: Dataset) -> None:
    """Counted in UTF-16 units; of many only that one."""
    with pytest.raises(ValueRefused, match=r"Dataset: name cannot have length > 255"):
        icat.catalogue.ensure_dataset(NewDataset(OPEN, "x" * 256, owner=ANNA))
    with pytest.raises(ValueRefused, match=r"Dataset: description cannot have length > 255"):
        icat.catalogue.describe_dataset(dataset.id, "x" * 256, ANNA)
    with pytest.raises(ValueRefused, match=r"Investigation: summary cannot have length > 4000"):
        icat.catalogue.describe_investigation(OPEN, "x" * 4001, ANNA)
    files = [file(f"{n}.h5") for n in range(20)]
    files += [file("\U0001f600" * 128), file("x" * 999), file("long", location="x" * 512)]
    found = list(send_apart(files, lambda some: icat.catalogue.register_datafiles(dataset.id, some)))
    assert sorted(some[0].path for some, error in found if error is not None) == sorted(f.path for f in files[20:])
    icat.catalogue.register_datafiles(dataset.id, [file("\U0001f600" * 127 + "x")])
    assert len(icat.datasets()[0]["datafiles"]) == 21


def test_a_name_with_the_code_0_is_refused(icat: Any) -> None:
    """No query can hold it."""
    with pytest.raises(ValueRefused, match="code 0"):
        icat.catalogue.ensure_dataset(NewDataset(OPEN, "a\0b", owner=ANNA))


# Limits and rules


def test_more_than_icat_gives_at_once_is_asked_for_in_parts(icat: Any, dataset: Dataset) -> None:
    """Of investigations as of datafiles."""
    number = {"name": "", "visitId": "1", "title": "t", "facility": {"id": 1}, "type": {"id": 21}}
    user = {"role": "PI", "user": {"id": int(ANNA)}}
    write(icat, [{"Investigation": {**number, "name": f"n{n}", "investigationUsers": [user]}} for n in range(30)])
    icat.catalogue.register_datafiles(dataset.id, [file(f"{n}.h5") for n in range(100)])
    icat.oracle.put("/_double/limits?most=12")
    assert len(icat.catalogue.investigations(ANNA)) == 33
    icat.catalogue.register_datafiles(dataset.id, [file(f"{n}.h5", "b") for n in range(110)])
    assert {row[2][0] for row in icat.datasets()[0]["datafiles"]} == {"b"}
    assert len(icat.datasets()[0]["datafiles"]) == 110


def test_an_address_never_gets_too_long(icat: Any, dataset: Dataset) -> None:
    """Names of many bytes are asked for in more queries; the double refuses what Payara would."""
    files = [file(f"{n:03}" + "Δ" * 200) for n in range(60)]
    for digit in "ab":
        icat.catalogue.register_datafiles(dataset.id, [file(f.path, digit) for f in files])
    assert {row[2][0] for row in icat.datasets()[0]["datafiles"]} == {"b"}


def test_a_missing_rule_is_told_and_creates_nothing(icat: Any, dataset: Dataset) -> None:
    """Who may not write is told so; who may not read finds nothing, and that is not believed."""
    may: dict[str, str] = dict(SERVICE.rules)
    icat.oracle.put(f"/_double/rules/{SERVICE.name}", json=may | {"Datafile": "R"})
    with pytest.raises(CatalogueForbids, match="CREATE access to this Datafile"):
        icat.catalogue.register_datafiles(dataset.id, [file()])
    icat.oracle.put(f"/_double/rules/{SERVICE.name}", json=may | {"Dataset": "CU"})
    with pytest.raises(BadAnswer, match="exists and that it does not"):
        icat.catalogue.ensure_dataset(WANTED)
    assert len(icat.datasets()) == 1


def test_who_runs_no_instrument_makes_no_investigation(icat: Any) -> None:
    """And the instrument must be there."""
    with pytest.raises(CatalogueForbids, match="scientist"):
        icat.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", ANNA, "XRD1"))
    with pytest.raises(CatalogueRefused, match="no instrument 'XRD9'"):
        icat.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", STAFF, "XRD9"))
    days = date(2026, 2, 3), date(2026, 2, 5)
    made = icat.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", STAFF, "xrd1", *days))
    assert (made.beamline, made.start, made.end) == ("XRD1", *days)
    assert icat.state()["investigations"][-1]["members"] == [[int(STAFF), "Investigator"]]
    assert [one.id for one in icat.catalogue.investigations(STAFF)] == [made.id]


def test_days_are_those_of_the_facility(make_icat: Callable[..., Any]) -> None:
    """Midnight in Rome is the day before in UTC."""
    world = make_icat(timezone="Europe/Rome")
    wanted = NewInvestigation("n", "1", "t", "", "", date(2026, 2, 3), date(2026, 7, 5))
    made = world.catalogue.ensure_investigation(wanted)
    assert (made.start, made.end) == (wanted.start, wanted.end)


def test_another_facility_of_the_same_icat_is_not_ours(make_icat: Callable[..., Any]) -> None:
    """Neither by its id nor by its name, nor in lists."""
    world = make_icat()
    (other,) = write(world, {"Facility": {"name": "OTHER"}})
    (kind,) = write(world, {"InvestigationType": {"name": "experiment", "facility": {"id": other}}})
    user = {"role": "PI", "user": {"id": int(ANNA)}}
    values = {"name": "theirs", "visitId": "1", "title": "t", "facility": {"id": other}, "type": {"id": kind}}
    (theirs,) = write(world, {"Investigation": values | {"investigationUsers": [user]}})
    with pytest.raises(CatalogueForbids):
        world.catalogue.authorise(ANNA, str(theirs))
    assert str(theirs) not in {one.id for one in world.catalogue.investigations(ANNA)}
    assert world.catalogue.ensure_investigation(NewInvestigation("theirs", "1", "t")).id != str(theirs)


@pytest.mark.attack("S19")
@pytest.mark.parametrize(
    ("name", "folder"),
    [("../../etc", "..%2F..%2Fetc"), ("..", "%2E%2E"), (".", "%2E"), ("a\\b:c", "a%5Cb%3Ac"), ("é\n", "%C3%A9%0A")],
)
def test_a_name_is_one_folder(icat: Any, name: str, folder: str) -> None:
    """Nothing leads out of the place for investigations."""
    made = icat.catalogue.ensure_investigation(NewInvestigation(name, "1", "t"))
    assert made.base_dir == f"/facility/store/{folder}"


# Parameters


def test_types_of_parameters_are_made_once_and_then_known(icat: Any, dataset: Dataset) -> None:
    """By name and units; the second time two requests are enough."""
    values = [NamedValue("energy", 12.5, "keV"), NamedValue("sample", "x")]
    icat.catalogue.attach_parameters(dataset.id, values)
    before = requests(icat)
    icat.catalogue.attach_parameters(dataset.id, values)
    after = requests(icat)
    assert after["GET entityManager"] - before["GET entityManager"] == 1
    assert after["POST entityManager"] - before["POST entityManager"] == 1


def test_a_value_in_other_units_takes_the_place_of_the_first(icat: Any, dataset: Dataset) -> None:
    """There is one energy."""
    icat.catalogue.attach_parameters(dataset.id, [NamedValue("energy", 12.5, "keV")])
    icat.catalogue.attach_parameters(dataset.id, [NamedValue("energy", 12500, "eV")])
    assert icat.datasets()[0]["parameters"] == [("", "energy", 12500.0, "eV")]


def make_type(world: Any, name: str, kind: str, **more: Any) -> None:
    """Make a type as the facility does."""
    values = {"name": name, "units": "", "valueType": kind, "facility": {"id": 1}, "applicableToDataset": True}
    write(world, {"ParameterType": values | more})


@pytest.mark.fault("F59")
def test_what_a_type_does_not_take_is_refused_with_the_reason(icat: Any, dataset: Dataset) -> None:
    """Numbers are written as text where ICAT wants text, dates as dates; nothing else is guessed."""
    make_type(icat, "number", "NUMERIC")
    make_type(icat, "text", "STRING")
    make_type(icat, "when", "DATE_AND_TIME")
    make_type(icat, "foreign", "NUMERIC", applicableToDataset=False)
    good = [NamedValue("number", 1), NamedValue("text", 12.5), NamedValue("when", "2026-01-02T03:04:05+01:00")]
    icat.catalogue.attach_parameters(dataset.id, good)
    held = {p["name"]: p for p in icat.state()["datasets"][0]["parameters"]}
    assert (held["number"]["numericValue"], held["text"]["stringValue"]) == (1.0, "12.5")
    assert held["when"]["dateTimeValue"] == 1_767_319_445_000
    for bad, why in (
        (NamedValue("number", "one"), "NUMERIC"),
        (NamedValue("number", 2**53 + 1), "exactly"),
        (NamedValue("when", "yesterday"), "DATE_AND_TIME"),
        (NamedValue("when", 5), "DATE_AND_TIME"),
        (NamedValue("foreign", 5), "not applicable to a Dataset"),
        (NamedValue("text", "x" * 4001), "4000"),
    ):
        with pytest.raises(ValueRefused, match=why):
            icat.catalogue.attach_parameters(dataset.id, [*good, bad])


@pytest.mark.fault("F59")
def test_a_type_that_may_not_be_made_is_asked_for_by_name(icat: Any, dataset: Dataset) -> None:
    """The other parameters go in."""
    make_type(icat, "known", "NUMERIC")
    icat.oracle.put(f"/_double/rules/{SERVICE.name}", json=SERVICE.rules | {"ParameterType": "R"})
    values = [NamedValue("known", 1), NamedValue("unheard of", 2)]
    found = list(send_apart(values, lambda some: icat.catalogue.attach_parameters(dataset.id, some)))
    assert [(some[0].name, type(error)) for some, error in found if error] == [("unheard of", ValueRefused)]
    assert [row[1] for row in icat.datasets()[0]["parameters"]] == ["known"]


def test_parameters_that_somebody_else_sets_as_well_are_tried_again(icat: Any, dataset: Dataset) -> None:
    """The second try finds them."""
    icat.fail("add_parameters", "icat", code="OBJECT_ALREADY_EXISTS")
    with pytest.raises(NotYetThere):
        icat.catalogue.attach_parameters(dataset.id, [NamedValue("a", 1)])
    icat.catalogue.attach_parameters(dataset.id, [NamedValue("a", 1)])
    assert len(icat.datasets()[0]["parameters"]) == 1


def test_units_of_what_has_none_can_be_called_something(make_icat: Callable[..., Any]) -> None:
    """Oracle takes an empty text for nothing at all."""
    world = make_icat(no_units="N/A")
    made = world.catalogue.ensure_dataset(WANTED)
    world.catalogue.attach_parameters(made.id, [NamedValue("frames", 3)])
    assert world.datasets()[0]["parameters"] == [("", "frames", 3.0, "N/A")]


# Answers


def test_an_inner_error_passes_or_is_about_the_value(icat: Any) -> None:
    """ICAT says INTERNAL of a database that is away, and of a value that its database does not take."""
    icat.fail("create_dataset", "internal")
    with pytest.raises(UnknownTrouble, match="INTERNAL") as error:
        icat.catalogue.ensure_dataset(WANTED)
    assert error.value.retryable
    icat.fail("create_dataset", "lost")
    with pytest.raises(CatalogueUnavailable):
        icat.catalogue.ensure_dataset(WANTED)
    icat.catalogue.ensure_dataset(WANTED)
    assert len(icat.datasets()) == 1
    assert icat.state()["refused_twins"] == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "error", "status": 502}, CatalogueUnavailable),
        ({"kind": "error", "status": 500}, UnknownTrouble),
        ({"kind": "error", "status": 404}, CatalogueRefused),
        ({"kind": "error", "status": 302, "location": "/icat/version"}, BadAnswer),
        ({"kind": "unreadable", "body": '{"error": "none"}'}, BadAnswer),
        ({"kind": "unreadable", "body": "[[1, 2]]"}, BadAnswer),
        ({"kind": "unreadable", "body": "[" * 100_000}, BadAnswer),
        ({"kind": "unreadable", "body": '[["7", 20260101, "scan-1", null, "maybe", null]]'}, BadAnswer),
        ({"kind": "icat", "code": "NOT_IMPLEMENTED"}, UnknownTrouble),
    ],
)
def test_answers_of_others_are_not_taken_for_icats(icat: Any, fault: dict[str, Any], kind: type[CatalogError]) -> None:
    """Proxies, redirects, other JSON: never an absence."""
    plan = {"method": "GET", "match": "ds.investigation.id", "times": -1}
    icat.oracle.post("/_double/faults", json=plan | fault)
    with pytest.raises(kind):
        icat.catalogue.ensure_dataset(WANTED)
    assert icat.datasets() == []


@pytest.mark.attack("S18")
def test_a_redirect_is_not_followed(icat: Any) -> None:
    """Not even to where the right answer would be."""
    icat.fail("identify", "error", status=302, location="/icat/session/sandbox-session-anna")
    with pytest.raises(BadAnswer, match="302"):
        icat.catalogue.identify(SecretStr("canary-session"))


def test_a_wait_that_is_asked_for_is_handed_on(icat: Any) -> None:
    """Retry-After goes to the caller at once, without knocking again."""
    icat.fail("find_dataset", "error", status=503, retry_after=120)
    with pytest.raises(CatalogueUnavailable) as error:
        icat.catalogue.ensure_dataset(WANTED)
    assert error.value.retry_after == 120


def test_the_doi_of_a_dataset_is_told(icat: Any, dataset: Dataset) -> None:
    """Where ICAT has one."""
    write(icat, {"Dataset": {"id": int(dataset.id), "doi": "10.5072/x"}})
    assert icat.catalogue.complete_dataset(dataset.id).doi == "10.5072/x"


# Settings

ENVIRONMENT = {
    "ADAPTER": "icat", "ICAT__BASE_URL": "https://icat.example.org", "ICAT__PLUGIN": "db", "ICAT__USERNAME": "u",
    "ICAT__PASSWORD": "canary", "ICAT__FACILITY": "F", "ICAT__BASE_DIR": "/d/{name}",
    "ICAT__DATASET_PAGE": "https://portal.example.org/{dataset_id}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ICAT__BASE_URL": "http://icat.example.org"}, "without TLS"),
        ({"ICAT__BASE_DIR": "/d"}, "pattern"),
        ({"ICAT__BASE_DIR": "d/{name}"}, "pattern"),
        ({"ICAT__BASE_DIR": "/d/{name.__class__}"}, "pattern"),
        ({"ICAT__DATASET_PAGE": "https://portal.example.org/"}, "pattern"),
        ({"ICAT__TIMEZONE": "Mars/Olympus"}, "time zone"),
    ],
)
def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], why: str) -> None:
    """And the password is not shown."""
    for name, value in (ENVIRONMENT | changes).items():
        monkeypatch.setenv(f"DATAUPLOADER_CATALOG_{name}", value)
    with pytest.raises(ValidationError, match=why) as error:
        CatalogSettings()
    assert "canary" not in str(error.value)


def test_settings_choose_the_adapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The password may stand in a file; without the block it says what is missing."""
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ADAPTER", "icat")
    with pytest.raises(ValidationError, match="ICAT__BASE_URL"):
        CatalogSettings()
    (tmp_path / "password").write_text("canary\n")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(f"DATAUPLOADER_CATALOG_{name}", value)
    monkeypatch.delenv("DATAUPLOADER_CATALOG_ICAT__PASSWORD")
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ICAT__PASSWORD_FILE", str(tmp_path / "password"))
    settings = CatalogSettings()
    assert settings.icat is not None
    assert settings.icat.password.get_secret_value() == "canary"
    assert "canary" not in repr(settings)
    catalogue = connect(settings)
    assert isinstance(catalogue, IcatCatalogue)
    assert catalogue.dataset_url("7/1") == "https://portal.example.org/7%2F1"
    catalogue.close()
