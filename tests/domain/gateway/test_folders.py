"""Folders that belong to investigations: what is theirs, what leads to it, and what is neither."""

import pytest
from pydantic import TypeAdapter, ValidationError

from datauploader_gateway.settings.folders import FolderPattern, InvestigationFolders

MINE = frozenset(("20260101", "grains"))


@pytest.mark.attack("S8")
@pytest.mark.parametrize(
    ("pattern", "path", "place"),
    [
        ("/data/{investigation}/**", "/data/20260101", "inside"),
        ("/data/{investigation}/**", "/data/20260101/run1/a.h5", "inside"),
        ("/data/{investigation}", "/data/GRAINS/run1", "inside"),
        ("/data/{investigation}/**", "/data", "above"),
        ("/data/{investigation}/**", "/", "above"),
        ("/data/{investigation}/**", "/data/20260102/run1", "outside"),
        ("/data/{investigation}/**", "/data/20260101x", "outside"),
        ("/data/{investigation}/**", "/database/20260101", "outside"),
        ("/data/{investigation}/**", "/Data/20260101", "outside"),
        ("/data/{investigation}/raw/**", "/data/20260101", "above"),
        ("/data/{investigation}/raw/**", "/data/20260101/processed", "outside"),
        ("D:\\data\\{investigation}", "d:/DATA/20260101/run1", "inside"),
        ("D:\\data\\{investigation}", "E:\\data\\20260101", "outside"),
    ],
)
def test_a_path_lies_in_a_folder_of_theirs_on_the_way_to_one_or_outside(pattern: str, path: str, place: str) -> None:
    """Parts are compared whole; on Windows whatever their case."""
    assert InvestigationFolders([pattern]).place(path, MINE) == place


def test_the_best_of_several_patterns_counts_and_without_any_all_is_theirs() -> None:
    """A beamline may have two disks."""
    folders = InvestigationFolders(["/a/{investigation}", "/b/{investigation}"])
    assert [folders.place(path, MINE) for path in ("/a/20260101", "/b/grains", "/b", "/c")] == [
        "inside", "inside", "above", "outside",
    ]  # fmt: skip
    assert (InvestigationFolders(()).any, InvestigationFolders(()).place("/anything", MINE)) == (False, "inside")


@pytest.mark.parametrize(
    "pattern", ["data/{investigation}", "/data/**", "/data/x{investigation}", "/*/{investigation}"]
)
def test_a_pattern_that_could_bind_nothing_is_refused(pattern: str) -> None:
    """The sentence says what is wrong."""
    with pytest.raises(ValidationError, match="a folder pattern"):
        TypeAdapter(FolderPattern).validate_python(pattern)
