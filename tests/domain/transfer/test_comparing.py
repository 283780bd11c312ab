"""What is found between a listing and a list of files: everything that differs, under the right word."""

import hashlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts.audits import MOST_NAMED
from datauploader_transfer.comparing import Comparison, ExpectedObject
from datauploader_transfer.domain.leftovers import beside
from datauploader_transfer.ports import Listed, Stored

NAMES = st.text(st.sampled_from("abÄß/.\udcff\n"), min_size=1, max_size=6).filter(lambda n: "/" not in (n[0], n[-1]))
TREES = st.dictionaries(NAMES, st.sampled_from([b"", b"1", b"2", b"22"]), max_size=8)


def md5(content: bytes) -> str:
    """Hash a content."""
    return hashlib.md5(content).hexdigest()


def compare(
    wanted: Mapping[str, bytes],
    there: Mapping[str, bytes],
    *,
    kind: str = "md5",
    read: bool = False,
    ours: frozenset[str] = frozenset(),
    alias=str,
):
    """Compare two trees as an audit does; return the names by kind of difference, and the comparison's counts."""

    def listed(name: str, content: bytes) -> Listed:
        return Listed(name, len(content), kind, md5(content)) if kind else Listed(name, len(content))

    def sizes(names):
        return [len(there[alias(name)]) if alias(name) in there else None for name in names]

    def hashes(objects):
        return [Stored("md5", md5(there[alias(name)]), "read back") for name, _ in objects]

    with Comparison() as compared:
        compared.add_wanted(
            ExpectedObject(name, len(c), {"md5": md5(c), "sha256": "0" * 64}) for name, c in wanted.items()
        )
        compared.add_found(listed(name, content) for name, content in there.items())
        compared.find_differences(sizes, hashes if read else None, lambda names: set(names) & ours)
        found = {one.kind: (one.files, set(one.first)) for one in compared.differences()}
        return found, {one.algorithm: one.files for one in compared.hashes()}, compared.read


@given(TREES, TREES)
def test_two_trees_differ_by_just_what_differs(wanted, there) -> None:
    """Each name is missing, cut, altered, foreign, or not told of."""
    found, _, _ = compare(wanted, there)

    both = wanted.keys() & there.keys()
    expected = {
        "missing": len(wanted.keys() - there.keys()),
        "foreign": len(there.keys() - wanted.keys()),
        "cut": sum(len(wanted[name]) != len(there[name]) for name in both),
        "altered": sum(len(wanted[name]) == len(there[name]) and wanted[name] != there[name] for name in both),
    }
    assert {kind: count for kind, (count, _) in found.items()} == {k: n for k, n in expected.items() if n}


@given(TREES)
def test_a_tree_does_not_differ_from_itself(tree) -> None:
    """Whatever the names are, and with whatever hash."""
    assert compare(tree, tree)[0] == compare(tree, tree, kind="")[0] == {}


def test_a_change_of_the_same_size_is_found_by_reading_where_there_are_no_hashes() -> None:
    """By name and size alone it cannot be seen, and the counts say that nothing else was compared."""
    wanted, there = {"a": b"AAAA", "b": b"BBBB"}, {"a": b"AAAA", "b": b"CCCC"}

    assert compare(wanted, there, kind="") == ({}, {}, 0)
    assert compare(wanted, there, kind="", read=True) == ({"altered": (1, {"b"})}, {}, 2)
    assert compare(wanted, there) == ({"altered": (1, {"b"})}, {"md5": 2}, 0)


@pytest.mark.fault("F52")
def test_two_names_that_lead_to_one_object_are_both_doubled() -> None:
    """The storage cuts names: it answers to both, lists neither, and shows one that nobody ordered."""
    long = "x" * 8
    found, _, _ = compare({f"{long}-1": b"1", f"{long}-2": b"2"}, {long: b"2"}, alias=lambda name: name[:8])

    assert found == {"doubled": (2, {f"{long}-1", f"{long}-2"}), "foreign": (1, {long})}


@pytest.mark.fault("F52")
def test_of_two_cases_of_a_name_one_is_doubled_where_case_does_not_count() -> None:
    """The one that is listed is there."""
    found, _, _ = compare(
        {"A.dat": b"1", "a.dat": b"22"}, {"A.dat": b"1"}, alias=lambda name: name.replace("a", "A", 1)
    )

    assert found == {"doubled": (1, {"a.dat"})}


def test_a_name_in_another_unicode_form_is_respelt_and_compared_all_the_same() -> None:
    """The storage keeps one form of its own; the bytes are right or wrong as ever."""
    composed, decomposed = "\u00fc", "u\u0308"
    there = {decomposed: b"2"}

    assert compare({composed: b"2"}, there, alias=lambda _: decomposed)[0] == {"respelt": (1, {composed})}
    found, _, _ = compare({composed: b"1"}, there, alias=lambda _: decomposed)
    assert found == {"respelt": (1, {composed}), "altered": (1, {composed})}


def test_bytes_that_a_listing_cannot_carry_are_asked_for() -> None:
    """It shows U+FFFD; asked under its own name the object is there."""
    found, _, _ = compare({"\udcff": b"1"}, {"\ufffd": b"1"}, alias=lambda name: name.replace("\udcff", "\ufffd"))

    assert found == {}


NEXT = beside("d/b.dat")


def test_what_nobody_wants_is_ours_or_a_leftover_or_foreign() -> None:
    """Temporary names of ours are told by their form, what we wrote by the ledger."""
    there = dict.fromkeys(["a.dat.01234567.du.partial", NEXT, "old.dat", "README"], b"")

    found, _, _ = compare({}, there, ours=frozenset({"old.dat"}))

    assert found == {
        "leftover": (2, {"a.dat.01234567.du.partial", NEXT}),
        "ours": (1, {"old.dat"}),
        "foreign": (1, {"README"}),
    }


def test_of_very_many_and_very_long_names_a_few_are_named_and_cut() -> None:
    """All are counted; the report must fit into a message."""
    found, _, _ = compare({f"{n:05}" + "é" * 2000: b"" for n in range(1000)}, {})

    (count, first) = found["missing"]
    assert (count, len(first)) == (1000, MOST_NAMED)
    assert sum(len(name.encode()) for name in first) < 5000
