"""Patterns as in .gitignore, on names of any bytes."""

import re
import time

import pytest

from datauploader_watcher.domain.selection import ALWAYS_EXCLUDED, EXCLUDED, NOT_INCLUDED, SYSTEM, Selection
from datauploader_watcher.errors import BadPattern
from datauploader_watcher.settings import TEMPORARY_NAMES


def test_without_patterns_everything_belongs():
    """Nothing is left out by itself."""
    selection = Selection()
    assert selection.omits(b"any/thing") is None
    assert selection.omits(b"any", folder=True) is None
    assert not selection.marks(b"any")


def test_include_concerns_files_and_lets_folders_through():
    """What is wanted may lie deep."""
    selection = Selection(include=("*.h5", "raw/**/*.tif"))
    assert selection.omits(b"a.h5") is None
    assert selection.omits(b"deep/er/a.h5") is None
    assert selection.omits(b"raw/x/y.tif") is None
    assert selection.omits(b"y.tif") == NOT_INCLUDED
    assert selection.omits(b"deep", folder=True) is None


def test_exclude_wins_over_include():
    """Leaving out is the safer reading."""
    selection = Selection(include=("*.h5",), exclude=("test*",))
    assert selection.omits(b"test1.h5") == EXCLUDED
    assert selection.omits(b"scan1.h5") is None


def test_an_excluded_folder_is_told_from_a_file_of_the_same_name():
    """A pattern that ends with a slash means folders."""
    selection = Selection(exclude=("cache/",))
    assert selection.omits(b"cache", folder=True) == EXCLUDED
    assert selection.omits(b"cache") is None


@pytest.mark.parametrize(
    "name",
    [b".scan.tmp", b"a.part", b"deep/a.h5.partial", b"notes.txt~", b".~lock.report.odt#", b"~$thesis.docx",
     b".a.swp", b".nfs0001", b"deep/A.H5.PART", b"#scan.txt#", b".scan_1.h5.Xa12bC"],
)  # fmt: skip
def test_temporary_names_are_left_out(name):
    """The default list covers what editors, browsers, offices and instruments leave."""
    assert Selection(always_exclude=TEMPORARY_NAMES).omits(name) == ALWAYS_EXCLUDED


@pytest.mark.parametrize("name", [b"scan.tmp", b"part.h5", b"a.h5", b"til~de", b"Thumbs.db.h5", b"new\nline", b"\xff"])
def test_names_that_only_look_alike_belong(name):
    """The list must not take data away."""
    assert Selection(always_exclude=TEMPORARY_NAMES).omits(name) is None


def test_a_list_of_names_with_a_path_in_it_still_works():
    """An administrator may write any pattern into the default list."""
    selection = Selection(always_exclude=("*.log", "/top/only/*", "!keep.log"))
    assert selection.omits(b"a.log") == ALWAYS_EXCLUDED
    assert selection.omits(b"keep.log") is None
    assert selection.omits(b"top/only/x") == ALWAYS_EXCLUDED
    assert selection.omits(b"sub/top/only/x") is None
    assert Selection(always_exclude=("#*#", "/top")).omits(b"#a#") == ALWAYS_EXCLUDED


def test_what_a_system_leaves_is_left_out_whatever_the_patterns_are():
    """A recycle bin is not entered; a file of the same name is a file."""
    selection = Selection(include=("*",))
    assert selection.omits(b"share/#Recycle", folder=True) == SYSTEM
    assert selection.omits(b"share/@eaDir", folder=True) == SYSTEM
    assert selection.omits(b"deep/._scan.h5") == SYSTEM
    assert selection.omits(b"THUMBS.DB") == SYSTEM
    assert selection.omits(b"Icon\r") == SYSTEM
    assert selection.omits(b"recycler") is None
    assert selection.omits(b"thumbs.db", folder=True) is None


def test_a_newline_in_a_name_does_not_end_what_a_pattern_matches():
    """Names may hold any byte but a slash and NUL."""
    selection = Selection(include=("data/**/*.h5",))
    assert selection.omits(b"data/a\nb/c\nd.h5") is None


def test_the_marker_is_a_pattern():
    """A writer may say that it is done under any name."""
    selection = Selection(marker="*.done")
    assert selection.marks(b"deep/scan.done")
    assert not selection.marks(b"scan.h5")


@pytest.mark.parametrize("pattern", ["", "   ", "#comment", "!", "scan[z-a].h5"])
def test_what_is_no_pattern_is_named(pattern):
    """The message quotes the pattern."""
    with pytest.raises(BadPattern, match=re.escape(repr(pattern))):
        Selection(exclude=(pattern,))


@pytest.mark.attack("S24")
@pytest.mark.parametrize(
    "pattern", ["*a*a*a*ab", "x/*a*a*a*a*b", "**/a/**/a/**/b", "a/" * 60 + "b", "**a**a**a**ab"], ids=lambda p: p[:20]
)
def test_a_pattern_that_could_stop_the_station_is_refused(pattern):
    """Its time would grow with a high power of the length of a name, and everybody's files would wait."""
    with pytest.raises(BadPattern, match="too many wildcards"):
        Selection(exclude=(pattern,))


@pytest.mark.attack("S33")
@pytest.mark.parametrize("part", ["*?*?*?", "*[!b]*?*?", "?" * 15, "*a*a*a"], ids=len)
@pytest.mark.parametrize("leap", ["", "**/"])
def test_wildcards_in_every_part_cost_no_more_than_the_parts(part, leap):
    """Three stars a part and any number of parts: the parts do not multiply, on ordinary paths and the longest ones."""
    selection = Selection(exclude=[f"{leap}{f'{part}/' * 48}zz"] * 10)
    paths = [b"/".join(b"scan_%04d" % n for n in range(48)), b"/".join([b"a" * 255] * 60), b"a/" * 999 + b"a"]
    began = time.process_time()
    for path in paths:
        selection.omits(path)
    assert time.process_time() - began < 2.0


@pytest.mark.attack("S33")
@pytest.mark.parametrize(
    ("patterns", "problem"),
    [(["a" * 1001], "1001 characters"), (["a"] * 101, "101 patterns"), (["a/b/c/d/e/f"] * 90, "500 parts")],
    ids=["length", "number", "parts"],
)
def test_more_patterns_than_anybody_needs_are_refused(patterns, problem):
    """Every file is asked about each of them."""
    with pytest.raises(BadPattern, match=problem):
        Selection(exclude=patterns)


@pytest.mark.parametrize(
    ("pattern", "path", "left_out"),
    [
        ("[!a]b", b"xb", True), ("[!a]b", b"ab", False), ("x[!a]y", b"x/y", False), ("[]a]b", b"]b", True),
        ("[a-", b"[a-", False), (r"\*.h5", b"*.h5", True), (r"\*.h5", b"a.h5", False), ("a?b", "aéb".encode(), True),
        ("a/**/b", b"a/b", True), ("a/**/b", b"a/x/y/b", True), ("a/**", b"a", False), ("/a", b"b/a", False),
        ("a/b", b"c/a/b", False), ("run*_*.tmp", b"run1_x_2.tmp", True), ("**", b"any", True), ("*.h5 ", b"a.h5", True),
    ],
)  # fmt: skip
def test_patterns_mean_what_they_mean_in_a_gitignore(pattern, path, left_out):
    """Brackets, escapes, folders between and below, what is bound to the root; no wildcard stands for a slash."""
    assert Selection(exclude=(pattern,)).omits(path) == (EXCLUDED if left_out else None)


@pytest.mark.attack("S24")
@pytest.mark.parametrize("pattern", ["*a*a*ab", "**/*a*a*ab/**/x", "**/a/**/b", "*a*a*ab/x", "[!b]*a*a*b"])
def test_the_worst_pattern_that_is_allowed_costs_little(pattern):
    """On the worst name that a disk can hold, a thousand levels deep."""
    selection = Selection(exclude=(pattern,))
    worst = [b"a" * 255, b"/".join([b"a" * 80] * 12), b"a/" * 500 + b"a"]
    began = time.process_time()
    for path in worst:
        selection.omits(path)
    assert time.process_time() - began < 2.0
