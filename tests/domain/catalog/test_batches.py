"""Long lists reach a catalogue in pieces that it takes, whole and in order."""

from hypothesis import given
from hypothesis import strategies as st

from datauploader.plugins.catalogue.batches import batches


@given(st.lists(st.text(max_size=30)), st.integers(1, 7), st.integers(1, 60))
def test_no_entry_is_lost_and_no_limit_is_passed(entries: list[str], most: int, most_bytes: int) -> None:
    """Batches hold all entries in order and stay under both limits, but for a single entry that is too large."""
    cut = list(batches(entries, most=most, most_bytes=most_bytes))
    assert [entry for batch in cut for entry in batch] == entries
    assert all(batch and len(batch) <= most for batch in cut)
    assert all(len(batch) == 1 or sum(len(e.encode()) for e in batch) <= most_bytes for batch in cut)
