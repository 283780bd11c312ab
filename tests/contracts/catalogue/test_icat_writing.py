"""How ICAT's adapter writes: arrays that are refused, names that mean something, parameters and their types."""

from collections.abc import Callable
from typing import Any

import pytest

from datauploader.plugins.catalogue.batches import send_apart
from datauploader.plugins.catalogue.errors import (
    CatalogError,
    CatalogueRefused,
    CatalogueUnavailable,
    NotYetThere,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import Dataset, NamedValue, NewDataset, NewInvestigation
from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_sandbox.icat import SERVICE

from .icat_material import ANNA, OPEN, STAFF, WANTED, file, make_type, requests


@pytest.fixture
def dataset(icat: Any) -> Dataset:
    """Give a dataset that is there."""
    made: Dataset = icat.catalogue.ensure_dataset(WANTED)
    return made


# Arrays of datafiles


def test_two_thousand_datafiles_are_two_arrays(icat: Any, dataset: Dataset) -> None:
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
