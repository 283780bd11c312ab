"""Tests of what Windows itself does: collected there alone, see `./dev windows-test`."""

import os

collect_ignore_glob = [] if os.name == "nt" else ["test_*.py"]
