"""From what was ticked and typed to requests: one dataset, or one for each folder."""

import unicodedata
from datetime import date

import pytest

from datauploader.contracts import Parameter
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.features.new_upload.drafts import Draft, Pick
from datauploader_gateway.features.new_upload.wishes import dataset_name, patterns, ticked, wishes
from datauploader_gateway.paths import child

TODAY = date(2026, 5, 1)


def draft(*picks: str, **fields) -> Draft:
    """Return a draft with these ticks."""
    return Draft(**{"investigation": "100", "station": "elettra.xrd1.ws01", "picks": ticked(picks), **fields})


def made(*picks: str, template: str = "{folder}", **fields):
    """Return the requests of a draft."""
    return wishes(draft(*picks, **fields), (Parameter(name="sample", value="LaB6"),), template, TODAY)


def test_one_folder_becomes_one_dataset_of_its_name():
    """With everything that was said."""
    (body,) = made("folder:/data/scan1", exclude="*.tmp, *.log\n core", description=" First. ", mode="batch")
    assert (body.path, body.kind, body.sources, body.dataset.name) == ("/data/scan1", "folder", None, "scan1")
    assert (body.exclude, body.dataset.description, body.mode) == (("*.tmp", "*.log", "core"), "First.", "batch")
    assert body.dataset.parameters[0].value == "LaB6"


def test_names_that_look_the_same_are_one_name():
    """Of two datasets that people could not tell apart, none is begun; an accent is written in one way."""
    with pytest.raises(InvalidRequest, match="several datasets"):
        made("folder:/data/Sample1", "folder:/data/sample1", split=True)
    decomposed = unicodedata.normalize("NFD", "Prüfung")
    (body,) = made(f"folder:/data/{decomposed}")
    assert body.dataset.name == "Prüfung"
    assert body.path == f"/data/{decomposed}", "the folder is called as it is"


def test_several_become_one_dataset_below_their_common_folder():
    """Or one each, where that was chosen."""
    picks = ("folder:/data/a/1", "file:/data/b.nxs")
    (body,) = made(*picks)
    assert (body.path, body.sources, body.dataset.name) == ("/data", ("a/1", "b.nxs"), "data")
    bodies = made(*picks, split=True, dataset="{date}_{folder}")
    assert [(one.path, one.kind, one.dataset.name) for one in bodies] == [
        ("/data/a/1", "folder", "2026-05-01_1"), ("/data/b.nxs", "file", "2026-05-01_b"),
    ]  # fmt: skip


def test_windows_paths_are_windows_paths():
    """Drive and backslashes; sources are written with slashes."""
    (body,) = made(r"folder:D:\data\a", r"folder:D:\data\b\c")
    assert (body.path, body.sources) == ("D:\\data", ("a", "b/c"))
    assert child("D:\\data", "new") == r"D:\data\new"
    assert child("/data", "new") == "/data/new"


def test_written_paths_count_like_ticked_ones():
    """Each once; of what kind they are the station says."""
    (body,) = made(paths="/data/scan1\n\n")
    assert (body.path, body.kind) == ("/data/scan1", None)
    (body,) = made("folder:/data/a", paths="/data/a")
    assert body.path == "/data/a"


@pytest.mark.parametrize(
    ("picks", "fields", "says"),
    [
        ((), {}, "no file or folder"),
        (("folder:/a",), {"station": ""}, "no station"),
        (("folder:/a",), {"investigation": ""}, "no investigation"),
        (("folder:/data/a", "folder:/srv/a"), {"split": True}, "several datasets would have the name a"),
        (("folder:/data/a", "folder:/data/b"), {"split": True, "dataset": "x"}, "the name x"),
        (("folder:C:\\a", "folder:D:\\b"), {}, "no common parent"),
        (tuple(f"folder:/data/{n}" for n in range(51)), {"split": True}, "at most 50"),
        (("folder:/a",), {"exclude": "x" * 501}, "exclude"),
    ],
)
def test_what_is_missing_or_cannot_be_is_said(picks, fields, says):
    """With what to do."""
    with pytest.raises(InvalidRequest, match=says):
        made(*picks, **fields)


def test_names_come_from_templates_and_can_be_stored():
    """What of a folder's name no dataset may have is replaced."""
    assert dataset_name("{date}-{folder}", "run 1", TODAY) == "2026-05-01-run 1"
    assert dataset_name("{folder}", "a:b*c", TODAY) == "a_b_c"
    assert dataset_name("{folder}", "", TODAY) == "dataset"
    assert dataset_name("μ-{folder}", "σκαν", TODAY) == "μ-σκαν"


def test_only_ticks_are_read_as_ticks():
    """Anything else in the form is left aside; each counts once."""
    assert ticked(["folder:/a", "folder:/a", "pipe:/b", "", "file:", "x" * 5000]) == (Pick(kind="folder", path="/a"),)
    assert patterns(" a ,b\n\n,c") == ("a", "b", "c")
