"""`datauploader catalogue check`: all holds on every catalogue that we know, and each misbehaviour fails a sentence."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datauploader.plugins.catalogue.errors import CatalogueRefused, NoSuchInvestigation, NotYetThere
from datauploader.plugins.catalogue.inspection import CheckRequest, Mark
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

from .checking import ALWAYS, ANNA, NAME, OPEN, checked, failed, let_delete, patient_icat, patient_vuo  # noqa: F401 - two fixtures

PAGE = Path(__file__).parents[3] / "docs" / "catalogues" / "README.md"
COLUMNS = ["memory", "vuo", "scicat-v3", "scicat-v4", "icat", "folder"]
NO_ROW = "—"


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
    assert any(WRITING[4].sentence == finding.duty and world.datasets() for finding in check)
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
    ("ensure_dataset", lambda *_: _raise(CatalogueRefused("no")), "A dataset is made where the person may", "no"),
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
