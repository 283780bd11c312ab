"""A harvester leaves events unread that name no file for it, and never one that does."""

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datauploader.contracts.envelope import decode, encode
from datauploader.plugins.harvester.kinds import Kind
from datauploader_testing.builders import event, file_catalogued, file_stored, file_version, upload_requested

NEXUS = Kind("nexus", ("*.nxs", "*.h5"), "nexus:read")
ODD = Kind("odd", ("*.k", "*.dat"), "odd:read")
NAMES = st.lists(
    st.binary(min_size=1, max_size=8)
    .map(lambda raw: raw.replace(b"/", b"-").replace(b"\0", b"-"))
    .filter(lambda name: name not in (b".", b".."))
    | st.sampled_from([b".nxs", b"x.NXS", b"x.nxs.bak", b"h5", b"\xff.h5", "x.\u212a".encode(), b'".nxs', b"\\.dat"]),
    min_size=1,
    max_size=4,
)


@given(NAMES)
@example([b"x.\xe2\x84\xaa"])
@pytest.mark.parametrize("kind", [NEXUS, ODD], ids=lambda kind: kind.name)
def test_nothing_is_skipped_that_has_a_file_for_the_harvester(kind: Kind, names: list[bytes]) -> None:
    """Whatever the bytes of the names are, and in whatever way the event is written."""
    stored = file_stored(*(file_version(b"scan/" + name) for name in names))
    said, wanted = event(stored), any(kind.wants(one) for one in stored.files)
    for body in (encode(said), json.dumps(json.loads(encode(said))).encode()):
        assert decode(body).data == stored
        assert not (wanted and kind.skips(body))


def test_files_of_other_names_are_skipped() -> None:
    """Also where the letters stand in the middle of a name."""
    others = file_stored(*(file_version(name) for name in ("a/frame.bin", "b.h5/frame.tif", "c.nxs.bak")))
    assert NEXUS.skips(encode(event(others)))


def test_only_what_is_stored_is_skipped() -> None:
    """A request is needed whatever it says."""
    assert not NEXUS.skips(encode(event(upload_requested())))
    assert not NEXUS.skips(encode(event(file_catalogued(file_version("frame.bin")))))
    assert not NEXUS.skips(b"\xff not json")


@pytest.mark.parametrize("pattern", ["*", "scan*", "*.d?t", "*.[ab]", '*"', "*\\", "scan.dat"])
def test_a_pattern_that_is_more_than_an_ending_has_everything_read(pattern: str) -> None:
    """What it fits cannot be told from the text."""
    kind = replace(NEXUS, patterns=("*.nxs", pattern))
    assert not kind.skips(encode(event(file_stored(file_version("frame.bin")))))
