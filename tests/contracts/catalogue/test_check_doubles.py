"""The check on the doubles of VUO, SciCat and ICAT with each known misbehaviour: the right sentence fails."""

import json
from typing import Any

import pytest

from datauploader.plugins.catalogue.inspection import Mark
from datauploader_catalog.conformance.check import LEAVES_NOTHING
from datauploader_catalog.conformance.reading import REACHED, READING
from datauploader_catalog.conformance.writing import WRITING

from .checking import ALWAYS, NAME, OPEN, checked, failed, groups, let_delete, patient_icat, patient_vuo  # noqa: F401 - two fixtures


def test_a_wrong_secret_of_vuo_is_not_trusted(make_vuo) -> None:
    """Only the signed calls tell it; the known ones answer as ever."""
    findings = checked(make_vuo(secret="another"))
    assert "Correct it (DATAUPLOADER_CATALOG_VUO__SECRET)" in failed(findings)[REACHED.sentence].seen


def vuo_says(world: Any, operation: str, text: str, **more: Any) -> None:
    """Let a procedure of VUO's answer this text."""
    world.fail(operation, "unreadable", more.pop("times", ALWAYS), body=f"{text}\n", **more)


def row(number: int, name: str = NAME) -> str:
    """Write a dataset as VUO answers it."""
    return f"OK:{number}:{OPEN}:{name}:x:0:"


def test_vuo_makes_a_dataset_twice(vuo) -> None:
    """Its look-up and its creation are two procedures, and nothing there is unique: four ask, and four are made."""
    vuo.fail("find_dataset", "slow", 5, seconds=0.3)
    for number in (7002, 7003, 7004):
        vuo_says(vuo, "create_dataset", row(number), times=1, skip=1)
    found = failed(checked(vuo))["A dataset is made once, also where four ask at the same time."]
    assert "were made, all with the name 'datauploader-check-t'" in found.seen
    assert "can make the same dataset twice" in found.therefore


@pytest.mark.parametrize(
    ("operation", "text", "sentence", "seen"),
    [
        ("identify", "OK:1102:ben.okafor:1:1", "A session that nobody has is refused.", "user '1102'"),
        ("find_investigation", "KO", "An investigation that does not exist is said to be absent.", "cannot be read"),
        ("find_dataset", "ABSENT:no", "A dataset is made once, also where four ask at the same time.", "does not"),
        ("create_dataset", row(7001, "datauplo"), "A dataset is made where the person may", "'datauplo'"),
        ("authorise", "OK:1/everywhere", "Whoever does not belong to an investigation may not upload", "'/everywhere'"),
        ("add_datafiles", "OK:0", "2,500 datafiles are registered", "registered 0 datafiles"),
        ("add_parameters", "OK:1", "A parameter of a datafile that is not registered yet waits.", "never registered"),
        ("complete_dataset", row(7001), "A dataset is completed, and completing it twice", "complete=False"),
        ("add_datafiles", "ORA-12899: too large", "Datafiles' names with signs of any kind come back", "too large"),
    ],
)
def test_a_vuo_that_answers_wrongly_fails_the_right_duty(
    vuo, operation: str, text: str, sentence: str, seen: str
) -> None:
    """With VUO's own words, or with what they were taken for."""
    vuo_says(vuo, operation, text)
    found = [finding for duty, finding in failed(checked(vuo)).items() if duty.startswith(sentence)]
    assert len(found) == 1
    assert seen in found[0].seen


def test_a_vuo_that_holds_a_file_twice_is_found_out(vuo) -> None:
    """As its table without the constraint does."""
    file = {"path": "folder/first.h5", "location": "x", "size": 7, "sha256": "b" * 64, "mtime_ns": 1}
    vuo_says(vuo, "show_dataset", f"OK:{json.dumps({'description': '', 'datafiles': [file] * 2, 'parameters': []})}")
    assert "there 2 times" in failed(checked(vuo))["A datafile that is registered twice is there once."].seen


def test_a_vuo_that_does_not_show_its_datasets_is_checked_all_the_same(vuo) -> None:
    """The procedure is for the check alone: where there is none, what needs it is not tried."""
    vuo.fail("show_dataset", "error", ALWAYS, status=404)
    findings = checked(vuo)
    assert failed(findings) == {}
    untried = findings["A datafile is registered with path, size, SHA-256, location and time."]
    assert (untried.mark, "VUO__PROCEDURES" in untried.seen) == (Mark.NOT_TRIED, True)


def test_an_account_of_scicat_without_its_groups_is_told_which_it_needs(scicat) -> None:
    """It may ask for nobody's groups then, so that nobody sees anything."""
    groups(scicat, "ingestor")
    found = failed(checked(scicat))
    assert "its account must be in ADMIN_GROUPS" in found[READING[2].sentence].seen


def test_an_account_of_scicat_that_may_not_delete_is_told(scicat) -> None:
    """What came twice cannot be taken out; and what the check has made stays, by name."""
    found = failed(checked(scicat))
    assert list(found) == ["An origdatablock that came twice can be removed.", LEAVES_NOTHING]
    assert "DELETE_GROUPS" in found["An origdatablock that came twice can be removed."].seen
    assert all(repr(dataset["name"]) in found[LEAVES_NOTHING].seen for dataset in scicat.datasets())
    assert len(scicat.datasets()) == 2


def test_a_token_of_scicat_that_ends_meanwhile_changes_nothing(scicat) -> None:
    """Its bearer is nobody from then on, which is noticed and mended."""
    let_delete(scicat)
    for operation in ("find_dataset", "add_datafiles", "list_investigations"):
        scicat.fail(operation, "expired")
    assert failed(checked(scicat)) == {}


def test_a_scicat_that_takes_everybody_for_somebody_fails(scicat) -> None:
    """As a server before it does that signs everybody in as one."""
    somebody = {"userId": "1102", "profile": {"username": "ben.okafor", "accessGroups": []}}
    scicat.fail("identify", "unreadable", ALWAYS, body=json.dumps(somebody))
    assert "user '1102'" in failed(checked(scicat))["A session that nobody has is refused."].seen


def test_a_scicat_that_keeps_no_metadata_of_files_is_told_as_such(make_scicat) -> None:
    """It is a setting, and the sentence names it."""
    world = make_scicat(file_metadata_bytes=0)
    let_delete(world)
    found = failed(checked(world))
    assert list(found) == ["Parameters of a datafile are kept.", WRITING[12].sentence]
    assert "FILE_METADATA_BYTES" in found["Parameters of a datafile are kept."].seen


def icat_rules(world: Any, **letters: str) -> None:
    """Change the rules of the service's account."""
    known = {"*": "R"} | dict.fromkeys(("Dataset", "Datafile", "DatasetParameter", "DatafileParameter"), "CRUD")
    answer = world.oracle.put("/_double/rules/datauploader", json=known | {"ParameterType": "CRD"} | letters)
    answer.raise_for_status()


@pytest.mark.parametrize(
    ("letters", "sentence", "seen"),
    [
        ({"Investigation": ""}, "The person's investigations are listed", "None is listed"),
        ({"InvestigationUser": ""}, "The person may upload to an open investigation", "does not belong to investig"),
        ({"ParameterType": "R"}, "Parameters of a dataset are kept", "does not let this service make it"),
        ({"ParameterType": "CR"}, LEAVES_NOTHING, "parameter types datauploader-check-t-energy"),
        ({"Dataset": "CRU"}, LEAVES_NOTHING, "DELETE access to this Dataset"),
        ({"Dataset": "CUD"}, "A dataset is made once", "exists and that it does not"),
        ({"DatasetType": ""}, "ICAT has the type of datasets that the service makes.", "no DatasetType 'raw'"),
    ],
)
def test_a_rule_of_icat_that_is_missing_is_named(icat, letters: dict[str, str], sentence: str, seen: str) -> None:
    """What may not be read is answered as if it were not there; the duty that needs it fails all the same."""
    icat_rules(icat, **letters)
    found = [finding for duty, finding in failed(checked(icat)).items() if duty.startswith(sentence)]
    assert len(found) == 1
    assert seen in found[0].seen


def test_an_icat_with_the_rules_of_its_page_and_d_holds(icat) -> None:
    """So the page asks for what is needed."""
    icat_rules(icat)
    assert failed(checked(icat)) == {}


def test_limits_of_icat_are_told(icat) -> None:
    """A small maxEntities makes it slower, and a database that folds case takes two names for one."""
    icat.oracle.put("/_double/limits?most=200&fold_case=true").raise_for_status()
    found = failed(checked(icat))
    assert "maxEntities is 200" in found["ICAT gives 1,000 entities or more at once."].seen
    folded = found["Names of datasets that differ in case alone are two."]
    assert "database does not tell them apart" in folded.seen
    assert set(found) == {"ICAT gives 1,000 entities or more at once.", folded.duty}


def test_an_older_icat_is_told(icat) -> None:
    """Its version is what its operators can change."""
    icat.fail("identify", "unreadable", ALWAYS, path="version", body='{"version": "4.11.1"}')
    found = failed(checked(icat))["This is ICAT 6 or newer."]
    assert found.seen == "version 4.11.1"
