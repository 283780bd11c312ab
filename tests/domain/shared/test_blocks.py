"""Files in blocks: found by their paths as if each had a row, in any order, whatever bytes their names have."""

import pytest

from datauploader.reliability import Schema, Store
from datauploader.reliability.blocks import TABLE, FileBlocks

PATHS = [b"a", b"a/b", b"a\xff.h5", b"b", "b/é".encode(), b"c", b"d", b"e"]
KNOWN = {path: {"size": number, "sha256": "0" * 64} for number, path in enumerate(PATHS)}


@pytest.fixture
def blocks():
    """Three blocks of an upload, one of another, in a transaction."""
    store = Store(None, [Schema("blocks", (TABLE,))])
    with store.transaction() as db:
        blocks = FileBlocks(db)
        for some in (PATHS[:3], PATHS[3:5], PATHS[6:]):
            blocks.put_block("one", [(path, KNOWN[path]) for path in some])
        blocks.put_block("other", [(b"a", {"size": 99})])
        yield blocks
    store.close()


def test_files_are_found_by_their_paths(blocks) -> None:
    """Only those of the upload that are there, also where a name is not UTF-8."""
    wanted = [b"zz", b"a\xff.h5", b"", b"c", b"b", b"a", b"aa"]
    assert blocks.find_files("one", wanted) == {path: KNOWN[path] for path in (b"a", b"a\xff.h5", b"b")}
    assert blocks.find_files("none", wanted) == {}
    assert (blocks.has_blocks("one"), blocks.has_blocks("none")) == (True, False)


@pytest.mark.parametrize("after", [b"", b"a", b"a/b", b"aa", b"b/z", b"c", b"e", b"z"])
def test_files_are_gone_through_in_order_of_their_paths(blocks, after) -> None:
    """From behind any path on, so that a list can be asked for page by page."""
    there = sorted(path for path in PATHS if path != b"c")
    assert list(blocks.files_after("one", after)) == [(path, KNOWN[path]) for path in there if path > after]


def test_what_is_taken_out_is_in_no_block_any_more(blocks) -> None:
    """All of the blocks concerned comes back, and nothing of the others."""
    assert [path for path, _ in blocks.take_out("one", [b"b/a", b"c"])] == PATHS[3:5]
    assert blocks.find_files("one", PATHS) == {path: KNOWN[path] for path in (*PATHS[:3], *PATHS[6:])}
    assert blocks.bound_after("one", b"b") == b"d"
    assert blocks.bound_after("one", b"d") is None
