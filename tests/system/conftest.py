"""A whole facility for each test, and the runs in it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run

Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a facility; its arguments are those of `Facility`."""
    with ExitStack() as stack:

        def begin(**how: Any) -> Run:
            return Run(stack.enter_context(Facility(folder=tmp_path / "facility", **how)), tmp_path / "ledger.jsonl")

        yield begin
