"""What is special about a catalogue of files and folders: power cuts, strangers' files, and what others read in it."""

import json
import multiprocessing
from pathlib import Path

import pytest

from datauploader.plugins.catalogue.errors import BadAnswer, CatalogueUnavailable, NoSuchInvestigation
from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset
from datauploader_catalogue_folder.catalogue import FolderCatalogue
from datauploader_catalogue_folder.journal import append_lines, read_lines

OPEN, ANNA = "20260101", "1101"
CRATE = "ro-crate-metadata.json"


def file(path: str, digit: str = "a") -> Datafile:
    """Return a datafile."""
    return Datafile(path, f"store:{path}", 3, digit * 64, 1_700_000_000_000_000_000)


def ensure(root: Path, results: "multiprocessing.Queue[str]") -> None:
    """Ensure a dataset in a process of its own."""
    catalogue = FolderCatalogue(root)
    for turn in range(20):
        results.put(catalogue.ensure_dataset(NewDataset(OPEN, f"scan {turn}", owner=ANNA)).id)


def test_without_a_server_that_shows_the_folder_a_dataset_has_no_page(tmp_path: Path) -> None:
    """An address that leads nowhere is none."""
    assert FolderCatalogue(tmp_path).dataset_url(f"{OPEN}/1") == ""


@pytest.mark.fault("F43")
def test_two_processes_that_ensure_the_same_make_one_of_each(folder) -> None:
    """The folder that is there first is the dataset."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=ensure, args=(folder.root, results)) for _ in range(2)]
    for one in both:
        one.start()
    found = [results.get(timeout=60) for _ in range(40)]
    for one in both:
        one.join(60)
    assert len(set(found)) == 20
    assert len(folder.datasets()) == 20
    assert not list(folder.root.glob("*/.new-*"))


@pytest.mark.parametrize("cut", [b'{"path": "b.h5", "si', b"\x00" * 100, b"x" * 100_000])
def test_a_line_that_a_power_cut_left_half_is_cut_off(tmp_path: Path, cut: bytes) -> None:
    """It was never said to be registered."""
    path = tmp_path / "list.jsonl"
    append_lines(path, [{"path": "a.h5"}])
    with path.open("ab") as held:
        held.write(cut)
    assert list(read_lines(path)) == [{"path": "a.h5"}]
    append_lines(path, [{"path": "c.h5"}])
    assert list(read_lines(path)) == [{"path": "a.h5"}, {"path": "c.h5"}]


def test_a_complete_dataset_is_described_as_a_research_object(folder) -> None:
    """With its investigation, files, hashes and parameters; what is said later is in it too."""
    dataset = folder.catalogue.ensure_dataset(NewDataset(OPEN, "scan 1", "store:2026", owner=ANNA))
    folder.catalogue.register_datafiles(dataset.id, [file("a b.h5"), file("c/d.h5", "b")])
    folder.catalogue.attach_parameters(dataset.id, [NamedValue("energy", 12.5, "keV")])
    folder.catalogue.attach_parameters(dataset.id, [NamedValue("frames", 3)], datafile="a b.h5")
    place = folder.root / dataset.id
    assert not (place / CRATE).exists()
    folder.catalogue.complete_dataset(dataset.id)
    folder.catalogue.describe_dataset(dataset.id, "later", ANNA)

    graph = {one["@id"]: one for one in json.loads((place / CRATE).read_bytes())["@graph"]}
    root = graph["./"]
    assert (root["name"], root["description"], root["identifier"]) == ("scan 1", "later", dataset.id)
    assert [part["@id"] for part in root["hasPart"]] == ["./a%20b.h5", "./c/d.h5"]
    assert graph["./a%20b.h5"]["sha256"] == "a" * 64
    (energy,) = [graph[one["@id"]] for one in root["variableMeasured"]]
    assert (energy["name"], energy["value"], energy["unitText"]) == ("energy", 12.5, "keV")
    (frames,) = [graph[one["@id"]] for one in graph["./a%20b.h5"]["variableMeasured"]]
    assert (frames["name"], frames["value"]) == ("frames", 3)
    assert graph["#investigation"]["identifier"] == f"{OPEN}/1"


@pytest.mark.fault("F44")
@pytest.mark.parametrize("left", [True, False])
def test_a_folder_that_is_away_is_not_an_empty_catalogue(folder, tmp_path: Path, left: bool) -> None:
    """Nothing is absent while nothing can be seen; a share that is not mounted leaves an empty folder."""
    folder.root.rename(tmp_path.parent / f"{tmp_path.name}-away")
    if left:
        folder.root.mkdir()
    for ask in (
        lambda: folder.catalogue.investigation(OPEN),
        lambda: folder.catalogue.investigations(ANNA),
        lambda: folder.catalogue.find_dataset(OPEN, "scan 1"),
        lambda: folder.catalogue.register_datafiles(f"{OPEN}/abc", [file("a")]),
        lambda: folder.catalogue.ensure_dataset(NewDataset(OPEN, "scan 1", owner=ANNA)),
        lambda: folder.catalogue.authorise(ANNA, OPEN),
        folder.catalogue.probe_catalogue,
    ):
        with pytest.raises(CatalogueUnavailable, match="cannot be read or written"):
            ask()


@pytest.mark.parametrize("name", ["..", ".", ".new-x", "a/b", "a\\b", "a\x00b", "C:x"])
def test_an_id_leads_to_no_other_folder(folder, name: str) -> None:
    """Ids come from people."""
    with pytest.raises(NoSuchInvestigation):
        folder.catalogue.investigation(name)


def test_what_a_person_typed_wrongly_is_named(folder) -> None:
    """The administrator writes investigation.json by hand."""
    path = folder.root / OPEN / "investigation.json"
    path.write_text(path.read_text().replace('"start": "', '"start": "soon '))
    with pytest.raises(BadAnswer, match="soon"):
        folder.catalogue.investigation(OPEN)
    path.write_text("{")
    with pytest.raises(BadAnswer):
        folder.catalogue.investigations(ANNA)
