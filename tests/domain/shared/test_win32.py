"""How paths are written for Windows; what Windows itself does is shown by `./dev windows-test`."""

import pytest

from datauploader.files.win32 import long_path, verbatim


def test_a_long_path_has_its_prefix_once():
    """Drives, shares, and what has it already."""
    assert long_path("C:/data/a") == "\\\\?\\C:\\data\\a"
    assert long_path("\\\\server\\share\\a") == "\\\\?\\UNC\\server\\share\\a"
    assert long_path("\\\\?\\C:\\a") == "\\\\?\\C:\\a"


@pytest.mark.posix
def test_elsewhere_a_path_stays_as_it_is():
    """Any bytes."""
    assert verbatim(b"/data/\xff ") == b"/data/\xff "
