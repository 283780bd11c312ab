"""Only what rclone left of the very file is taken for a leftover."""

import pytest

from datauploader_transfer.domain.leftovers import SUFFIX, leftovers

LONG = "é" * 60 + ".h5"


@pytest.mark.parametrize("left", [f"scan.h5.0a1b2c3d{SUFFIX}", f"scan.h5.ffffffff{SUFFIX}"])
def test_what_rclone_left_of_a_file_is_found_whatever_version_it_was(left: str) -> None:
    """The eight digits stand for the version, which may have changed since."""
    assert leftovers("scan.h5", ["scan.h5", left, "other"]) == [left]


@pytest.mark.parametrize(
    "other",
    [
        "scan.h5",
        "scan.h5.0a1b2c3d.partial",
        f"scan.h5{SUFFIX}",
        f"scan.h5.0a1b2c3{SUFFIX}",
        f"scan2.h5.0a1b2c3d{SUFFIX}",
        f"scan.h5.bak.0a1b2c3d{SUFFIX}",
    ],
)
def test_what_belongs_to_another_file_or_to_somebody_else_is_left_alone(other: str) -> None:
    """Another name, another suffix or no version: not ours to remove."""
    assert leftovers("scan.h5", [other]) == []


def test_a_long_name_is_found_although_rclone_shortens_it() -> None:
    """The end of a name of more than 100 bytes makes place for the suffix, at a character's edge."""
    shortened = LONG.encode()[: -len(f".0a1b2c3d{SUFFIX}")].decode(errors="ignore")
    assert leftovers(LONG, [f"{shortened}.0a1b2c3d{SUFFIX}"])
    assert not leftovers(LONG, [f"{shortened[:-9]}.0a1b2c3d{SUFFIX}", f"{LONG}.0a1b2c3d{SUFFIX}"])
