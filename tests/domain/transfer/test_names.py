"""Names in rclone's standard form, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader_transfer.domain.names import common_folder, plain_path, standard_path

NAME = st.text(
    st.characters(exclude_characters="/", exclude_categories=[]) | st.sampled_from("\n\x7f␊␡‛．／\udcff"), min_size=1
)


@pytest.mark.posix  # names of any bytes
@given(st.lists(NAME, min_size=1, max_size=3).map("/".join))
def test_a_name_in_standard_form_is_read_back_as_it_was(path) -> None:
    """Symbols of control characters, and the quotes before them, are told apart."""
    assert plain_path(standard_path(path)) == path


@pytest.mark.parametrize(
    ("targets", "folder"),
    [
        (("2026/a/raw/1.dat", "2026/a/raw/deep/2.dat"), "2026/a/raw"),
        (("2026/a/1.dat", "2026/A/1.dat"), "2026"),
        (("c:x/1.dat", "d:x/1.dat"), ""),
        (("a/1.dat", "2.dat"), ""),
    ],
)
def test_the_folder_of_many_objects_is_the_same_on_every_system(targets, folder) -> None:
    """Windows' own way of comparing paths writes backslashes, takes no account of case and stumbles over drives."""
    assert common_folder(targets) == folder
