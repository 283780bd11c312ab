"""Names in rclone's standard form, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader_transfer.domain.names import plain_path, standard_path

NAME = st.text(
    st.characters(exclude_characters="/", exclude_categories=[]) | st.sampled_from("\n\x7f␊␡‛．／\udcff"), min_size=1
)


@pytest.mark.posix  # names of any bytes
@given(st.lists(NAME, min_size=1, max_size=3).map("/".join))
def test_a_name_in_standard_form_is_read_back_as_it_was(path) -> None:
    """Symbols of control characters, and the quotes before them, are told apart."""
    assert plain_path(standard_path(path)) == path
