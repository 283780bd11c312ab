"""What a finished file means beside what the ledger has of it."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from datauploader.contracts.files import FileVersion
from datauploader_watcher.domain.versions import (
    SAFE,
    Digests,
    KnownVersion,
    NewVersion,
    Reannounced,
    Stamp,
    Unchanged,
    join,
    judge,
    split,
    stamp,
    version,
)

ONE = Digests(b"\x01" * 32, b"\x01" * 16)
TWO = Digests(b"\x02" * 32, b"\x02" * 16)
SEEN = Stamp(5, 1_000, 3)


def known(
    state: str, *, seen: Stamp = SEEN, mtime_ns: int = 1_000, digests: Digests = ONE, revision: int = 50
) -> KnownVersion:
    """Return a version as the ledger has it."""
    return KnownVersion(SEEN, state, 1_000, ONE, 50)


def test_an_unknown_file_is_a_new_version_dated_now():
    """Revisions are nanoseconds, so that they go on after the state was lost."""
    assert judge(None, SEEN, ONE, 1234) == NewVersion(1234)


@pytest.mark.fault("F17")
def test_other_bytes_are_a_new_version_with_a_higher_revision_whatever_the_clock_says():
    """A clock that was set back does not let revisions go back."""
    assert judge(known("stored"), SEEN, TWO, 10) == NewVersion(51)
    assert judge(known("stored"), SEEN, TWO, 99) == NewVersion(99)


def test_the_same_bytes_under_another_time_are_new_only_while_they_are_not_stored():
    """Who moves a file compares its time."""
    touched = Stamp(5, 2_000, 3)
    assert judge(known("announced"), touched, ONE, 99) == NewVersion(99)
    for state in SAFE:
        assert judge(known(state), touched, ONE, 99) == Unchanged()


def test_the_same_file_with_another_inode_is_kept():
    """A drive that was mounted anew numbers its files anew."""
    remounted = Stamp(5, 1_000, 99)
    for state in ("ready", "announced", "failed", "stored", "catalogued"):
        assert judge(known(state), remounted, ONE, 99) == Unchanged()


def test_a_suspect_with_the_announced_bytes_is_announced_again():
    """Whoever could not read it may try again."""
    assert judge(known("suspect"), SEEN, ONE, 99) == Reannounced()
    assert judge(known("gone"), SEEN, ONE, 99) == Reannounced()


ANY_TIME = st.integers(-(2**65), 2**65)


@pytest.mark.fault("F58")
@given(st.integers(0, 2**64 - 1), ANY_TIME, st.integers(0, 2**64 - 1), ANY_TIME)
def test_whatever_a_disk_says_of_a_file_fits_the_ledger_and_travels(size, mtime_ns, inode, ctime_ns):
    """NTFS and FUSE use all 64 bits of an inode, file servers deliver any year; the columns are signed."""
    seen = stamp(size, mtime_ns, inode, ctime_ns)
    with closing(sqlite3.connect(":memory:")) as db:
        assert db.execute("SELECT ?, ?, ?, ?", seen).fetchone() == tuple(seen)
    made = version(b"name", seen.size, seen.mtime_ns, ONE, 3)
    assert TypeAdapter(FileVersion).validate_json(made.to_json()) == made
    inside = -(2**63) < mtime_ns < 2**63
    assert (seen.mtime_ns == mtime_ns) is inside, "what can be held stays as it is"


@pytest.mark.fault("F58")
@pytest.mark.parametrize("field", ["mtime_ns", "size", "revision"])
def test_a_number_that_no_column_holds_is_refused_where_it_arrives(field):
    """An event that says such a one is parked as invalid, and fails no ledger behind it."""
    said = version(b"name", 1, 2, ONE, 3).model_copy(update={field: 2**63})
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(FileVersion).validate_json(said.to_json())
    with pytest.raises(ValidationError, match=field):
        said.check()


@given(st.lists(st.binary(min_size=1, max_size=8).filter(lambda b: b"/" not in b and b"\0" not in b), min_size=1))
def test_paths_split_and_join(parts):
    """A path is a folder and a name."""
    path = b"/".join(parts)
    folder, name = split(path)
    assert join(folder, name) == path
    assert name == parts[-1]


@given(st.binary(min_size=1, max_size=60).filter(lambda b: b"\0" not in b and b"/" not in b and b not in (b".", b"..")))
def test_a_version_carries_any_name(name):
    """Bytes that are no UTF-8 travel beside what is shown."""
    assert version(name, 1, 2, ONE, 3).raw == name
