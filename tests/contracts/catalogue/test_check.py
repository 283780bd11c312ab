"""`datauploader catalogue check`: all holds on every catalogue that we know, and each misbehaviour fails a sentence."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.errors import CatalogueRefused, NoSuchInvestigation, NotYetThere
from datauploader.plugins.catalogue.inspection import CheckRequest, Finding, Mark
from datauploader.plugins.catalogue.port import (
    Catalogue,
    CatalogueInvestigation,
    CatalogueUser,
    Dataset,
    Grant,
    NewDataset,
)
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.conformance.check import LEAVES_NOTHING, check_catalogue
from datauploader_catalog.conformance.reading import REACHED, READING
from datauploader_catalog.conformance.writing import WRITING

ANNA, OPEN, NAME = "1101", "20260101", "datauploader-check-t"
ALWAYS = 1_000_000
PAGE = Path(__file__).parents[3] / "docs" / "catalogues" / "README.md"
COLUMNS = ["memory", "vuo", "scicat-v3", "scicat-v4", "icat", "folder"]
NO_ROW = "—"


def checked(world: Any, *, write: bool = True, session: str | None = "sandbox-session-anna") -> dict[str, Finding]:
    """Check a world as its operator does; the findings by their duties."""
    request = CheckRequest(SecretStr(session) if session else None, ANNA, OPEN, write)
    return {finding.duty: finding for finding in check_catalogue(world.catalogue, request, NAME)}


def failed(findings: dict[str, Finding]) -> dict[str, Finding]:
    """Return those that do not hold."""
    return {duty: finding for duty, finding in findings.items() if finding.mark is Mark.FAILS}


def let_delete(world: Any) -> None:
    """Let SciCat's account delete, as docs/catalogues/scicat.md advises."""
    if type(world).__name__ == "ScicatWorld":
        groups(world, "admin", "archivemanager")


def groups(world: Any, *names: str) -> None:
    """Put the service's account of SciCat's double into these groups."""
    world.oracle.put("/_double/accounts/9001/groups", json=names).raise_for_status()


def test_the_page_shows_what_the_check_finds_on_each_catalogue(world, request: pytest.FixtureRequest) -> None:
    """All holds, but for what cannot be tried; the table of docs/catalogues/README.md is held to it."""
    column = request.node.callspec.params["world"]
    let_delete(world)
    findings = checked(world, session=None if column == "folder" else "sandbox-session-anna")
    assert failed(findings) == {}
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    table = {row[0]: row[1 + COLUMNS.index(column)] for row in rows if len(row) == len(COLUMNS) + 1}
    shown = {duty: mark for duty, mark in table.items() if mark in {*Mark, NO_ROW}}
    assert {duty: str(findings[duty].mark) if duty in findings else NO_ROW for duty in shown} == shown
    assert set(findings) <= set(shown)


def test_what_was_made_is_removed_or_named(world) -> None:
    """VUO alone has no way to remove a dataset: then it is named as left."""
    let_delete(world)
    kept = checked(world)[LEAVES_NOTHING]
    left = [d["name"] for d in world.datasets()]
    assert len(left) == (2 if type(world).__name__ == "VuoWorld" else 0)
    assert all(repr(name) in kept.seen for name in left)


def test_without_write_nothing_is_changed(world) -> None:
    """Whatever would write is named as not tried."""
    before = world.investigations()
    findings = checked(world, write=False)
    assert {findings[duty.sentence].mark for duty in WRITING} == {Mark.NOT_TRIED}
    assert (world.datasets(), world.investigations()) == ([], before)
    assert LEAVES_NOTHING not in findings


def test_a_check_that_is_broken_off_removes_what_it_has_made(world) -> None:
    """Ctrl-C closes the generator."""
    let_delete(world)
    check = check_catalogue(world.catalogue, CheckRequest(None, ANNA, OPEN, write=True))
    assert any(WRITING[3].sentence == finding.duty and world.datasets() for finding in check)
    check.close()
    assert len(world.datasets()) == (2 if type(world).__name__ == "VuoWorld" else 0)


def test_a_catalogue_that_is_away_is_asked_nothing_more(world) -> None:
    """One sentence fails, all others are not tried."""
    world.fail("identify", "unavailable", ALWAYS)
    findings = checked(world)
    assert list(failed(findings)) == [REACHED.sentence]
    assert {finding.mark for finding in findings.values()} == {Mark.FAILS, Mark.NOT_TRIED}
    assert world.datasets() == []


def test_a_catalogue_with_nothing_but_the_port_is_checked_as_far_as_that_goes(world) -> None:
    """As one of a third party is."""

    class PortAlone:
        def __getattr__(self, name: str) -> Any:
            if name not in dir(Catalogue):
                raise AttributeError(name)
            return getattr(world.catalogue, name)

    request = CheckRequest(None, ANNA, OPEN, write=True)
    findings = list(check_catalogue(PortAlone(), request))
    assert {finding.mark for finding in findings} == {Mark.HOLDS, Mark.NOT_TRIED}
    assert findings[-1].seen.startswith("this catalogue has no way to remove a dataset. Left in")
    assert len(world.datasets()) == 2


class Misbehaving(MemoryCatalogue):
    """The catalogue in memory with one method that does something else."""

    def __init__(self, known: MemoryCatalogue, method: str, wrong: Callable[..., Any]) -> None:
        super().__init__()
        self.users, self.known, self.members = known.users, known.known, known.members
        real = getattr(self, method)
        setattr(self, method, lambda *given, **more: wrong(real, *given, **more))


def _raise(error: Exception) -> Any:
    raise error


def _twice(real: Any, dataset_id: str) -> Any:
    held = real(dataset_id)
    return type(held)(held.description, held.datafiles * 2, held.parameters * 2)


def _without(what: str) -> Callable[..., Any]:
    def wrong(real: Any, dataset_id: str) -> Any:
        held = real(dataset_id)
        kept = {"description": held.description, "datafiles": held.datafiles, "parameters": held.parameters}
        return type(held)(**kept | {what: "" if what == "description" else ()})

    return wrong


def _cut(real: Any, wanted: NewDataset) -> Dataset:
    made: Dataset = real(NewDataset(wanted.investigation_id, wanted.name[:24], owner=wanted.owner))
    return made


def _texts(real: Any, dataset_id: str, parameters: Any, **more: Any) -> None:
    real(dataset_id, [type(one)(one.name, str(one.value), one.units) for one in parameters], **more)


def _other_time(real: Any, dataset_id: str, datafiles: Any) -> None:
    moved = [type(d)(d.path, d.location, d.size, d.checksum, d.mtime_ns + 3600 * 10**9) for d in datafiles]
    real(dataset_id, moved)


def _first_stays(real: Any, dataset_id: str, datafiles: Any) -> None:
    real(dataset_id, [one for one in datafiles if one.size != 7])


def _only_plain(real: Any, dataset_id: str, datafiles: Any) -> None:
    if any("'" in one.path for one in datafiles):
        raise CatalogueRefused("ORA-00000: no quotes", words="no quotes")
    real(dataset_id, datafiles)


def _some(real: Any, dataset_id: str, datafiles: Any) -> None:
    real(dataset_id, datafiles[:1000])


def _fold(real: Any, investigation_id: str, name: str) -> Any:
    return real(investigation_id, name.lower().replace("ελληνικά", "Ελληνικά"))


NEVER = Dataset("1", OPEN, "something", "")
USER = CatalogueUser("1102", "ben.okafor", 1, 1)
WHATEVER = CatalogueInvestigation("7", "7", "1", "something else", "/7")
MISBEHAVIOURS: list[tuple[str, Callable[..., Any], str, str]] = [
    ("identify", lambda *_: USER, "A session that nobody has is refused.", "taken for a session of user '1102'"),
    ("identify", lambda *_: USER, "A person's session tells who they are.", "of user '1102', not of '1101'"),
    ("investigations", lambda *_: (), "The person's investigations are listed", "None is listed for user '1101'"),
    ("investigations", lambda *_: (WHATEVER,), "The named investigation is listed", "'20260101' is not among them"),
    ("investigation", lambda *_: WHATEVER, "An investigation that is listed is found", "'something else') is found"),
    ("investigation", lambda *_: WHATEVER, "An investigation that does not exist is said", "it answered '7'"),
    (
        "investigation", lambda real, one: real(OPEN if one == "0" else one),
        "An investigation that does not exist is said", "asked for '0'",
    ),
    (
        "investigation", lambda real, one: _raise(CatalogueRefused("HTTP 403")) if one == "0" else real(one),
        "An investigation that does not exist is said", "HTTP 403",
    ),
    ("authorise", lambda *_: Grant("/everywhere", 0), "Whoever does not belong", "User '0' may upload"),
    ("authorise", lambda *_: Grant("", 0), "The person may upload to an open", "names no folder"),
    ("authorise", lambda *_: _raise(NoSuchInvestigation("none")), "The person may upload to an open", "none"),
    ("find_dataset", lambda *_: NEVER, "A dataset that does not exist is said to be absent.", "answered Dataset("),
    ("find_dataset", lambda *_: None, "A dataset is made once", "exists and that it does not"),
    ("ensure_dataset", lambda real, new: _numbered(real(new)), "A dataset is made once", "were made, all with the"),
    ("find_dataset", _fold, "Names of datasets that differ in case", "answers with dataset 'datauploader-check-t'"),
    ("ensure_dataset", _cut, "A dataset's name with colons", "has made 'datauploader-check-t a:b'"),
    ("register_datafiles", lambda *_: None, "A datafile is registered with", "does not hold 'folder/first.h5'"),
    ("register_datafiles", _other_time, "A datafile is registered with", "mtime_ns=1700003600123456789"),
    ("dataset_contents", _twice, "A datafile that is registered twice is there once.", "is there 2 times"),
    ("register_datafiles", _first_stays, "A newer version of a datafile takes", "(size, checksum) [(5000000123, 'aaaa"),
    ("register_datafiles", _only_plain, "Datafiles' names with signs of any", "\"<script>alert('x')</script>\" (ORA"),
    ("register_datafiles", _some, "2,500 datafiles are registered", "1500 of 2500 are missing"),
    ("attach_parameters", _texts, "Parameters of a dataset are kept", "'12.5', 'keV'"),
    ("dataset_contents", _without("parameters"), "Parameters of a datafile are kept.", "and holds []"),
    (
        "attach_parameters",
        lambda real, one, some, datafile=None: None if (datafile or "").endswith("absent.h5") else real(
            one, some, datafile=datafile
        ),
        "A parameter of a datafile that is not registered yet waits.", "which was never registered",
    ),
    ("attach_parameters", lambda *_, **__: _raise(NotYetThere("wait")), "Parameters of a dataset are kept", "wait"),
    ("dataset_contents", _without("description"), "The description of a dataset can be changed.", "and holds ''"),
    ("describe_dataset", lambda *_: None, "Whoever does not belong to the investigation", "User '0' has changed"),
    ("complete_dataset", lambda *_: NEVER, "A dataset is completed", "It answers Dataset("),
    (
        "register_datafiles", lambda real, one, some: None if some[0].path == "late.h5" else real(one, some),
        "A complete dataset takes", "'late.h5' after the completion",
    ),
    ("remove_dataset", lambda *_: _raise(CatalogueRefused("not here")), LEAVES_NOTHING, "'datauploader-check-t' (not"),
    ("describe_dataset", lambda *_: {}["text"], "The description of a dataset", "KeyError was raised ('text')"),
]  # fmt: skip


NUMBERS = itertools.count(100)


def _numbered(made: Dataset) -> Dataset:
    """Give what was made an id of its own each time, as a catalogue does that keeps nothing unique."""
    return Dataset(str(next(NUMBERS)), made.investigation_id, made.name, made.location)


@pytest.mark.parametrize(("method", "wrong", "sentence", "seen"), MISBEHAVIOURS)
def test_each_duty_fails_for_a_catalogue_that_does_not_do_it(
    method: str, wrong: Callable[..., Any], sentence: str, seen: str, memory
) -> None:
    """With what was seen, and with what the service will therefore do."""
    memory.catalogue = Misbehaving(memory.catalogue, method, wrong)
    found = [finding for duty, finding in failed(checked(memory)).items() if duty.startswith(sentence)]
    assert len(found) == 1, checked(memory)
    assert seen in found[0].seen
    assert found[0].therefore


def test_every_duty_can_fail() -> None:
    """A duty that nothing can fail says nothing; a lost answer alone cannot be provoked."""
    sentences = [duty.sentence for duty in (*READING, *WRITING) if not duty.sentence.startswith("After a lost answer")]
    fail = {one for one in sentences for _, _, start, _ in MISBEHAVIOURS if one.startswith(start)}
    assert set(sentences) - fail == {"A dataset that was made is found by its name."}, "which has a test of its own"


def test_a_dataset_that_is_not_found_again_is_said(memory) -> None:
    """It is there while it is made, and absent afterwards."""

    def forget(real: Any, investigation_id: str, name: str) -> Any:
        return None if memory.catalogue.datasets and done else real(investigation_id, name)

    done: list[Any] = []
    memory.catalogue = Misbehaving(memory.catalogue, "find_dataset", forget)
    found = {}
    for finding in check_catalogue(memory.catalogue, CheckRequest(None, ANNA, OPEN, write=True), NAME):
        found[finding.duty] = finding
        done += [True] if finding.duty == WRITING[0].sentence else []
    assert "which it has just made" in failed(found)["A dataset that was made is found by its name."].seen


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
    assert "can make it twice" in found.therefore


@pytest.mark.parametrize(
    ("operation", "text", "sentence", "seen"),
    [
        ("identify", "OK:1102:ben.okafor:1:1", "A session that nobody has is refused.", "user '1102'"),
        ("find_investigation", "KO", "An investigation that does not exist is said to be absent.", "cannot be read"),
        ("find_dataset", "ABSENT:no", "A dataset is made once, also where four ask at the same time.", "does not"),
        ("create_dataset", row(7001, "datauplo"), "A dataset is made once, also where four ask", "'datauplo'"),
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
    assert list(found) == ["Parameters of a datafile are kept.", WRITING[11].sentence]
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
