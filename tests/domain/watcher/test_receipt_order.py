"""States of a version only move forward, whatever order receipts come in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts.questions import StoredHash
from datauploader_watcher.background.local_cleanup import objection
from datauploader_watcher.domain.receipts import moves
from datauploader_watcher.domain.versions import Digests

RECEIPTS = ("announced", "failed", "stored", "catalogued")
DIGESTS = Digests(b"\x01" * 32, b"\x02" * 16)


@pytest.mark.fault("F26")
def test_every_order_of_the_same_receipts_ends_in_the_same_state():
    """All 24 orders."""
    for order in itertools.permutations(RECEIPTS):
        state = "ready"
        for receipt in order:
            if moves(state, receipt):
                state = receipt
        assert state == "catalogued"


@given(st.lists(st.sampled_from(RECEIPTS)))
def test_a_repeated_receipt_changes_nothing(receipts):
    """Twice is once."""
    once = twice = "ready"
    for receipt in receipts:
        once = receipt if moves(once, receipt) else once
        for _ in range(3):
            twice = receipt if moves(twice, receipt) else twice
    assert once == twice


def test_what_is_called_gone_and_then_stored_is_stored():
    """The better news is the later one."""
    assert moves("gone", "stored")
    assert not moves("gone", "failed")
    assert not moves("left-out", "stored")
    assert not moves("released", "catalogued")


def stored(**fields) -> StoredHash:
    """Return what the storage says of the right object."""
    usual = {"found": True, "size": 5, "digests": {"sha256": "01" * 32}}
    return StoredHash(**{**usual, **fields})


def test_a_local_copy_goes_only_when_a_digest_says_so():
    """Not found, not hashed, another size or another digest: each keeps the file, with its reason."""
    assert objection(DIGESTS, 5, stored()) == ""
    assert objection(DIGESTS, 5, stored(digests={"md5": "02" * 16})) == ""
    assert "no longer on the storage" in objection(DIGESTS, 5, stored(found=False))
    assert "6 bytes" in objection(DIGESTS, 5, stored(size=6))
    assert "could not hash" in objection(DIGESTS, 5, stored(digests={}))
    assert "could not hash" in objection(DIGESTS, 5, stored(digests={"sha1": "03" * 20}))
    assert "different sha256" in objection(DIGESTS, 5, stored(digests={"sha256": "02" * 32, "md5": "02" * 16}))
    assert "different md5" in objection(DIGESTS, 5, stored(digests={"sha256": "01" * 32, "md5": "03" * 16}))
