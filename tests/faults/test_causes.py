"""The operations page names the cause of each fault soon, and it alone, in a facility of real processes."""

from collections.abc import Iterator

import pytest

from datauploader_sandbox.causes.faults import FAULTS
from datauploader_sandbox.causes.scene import NAMED_S, Fault, Scene, scene


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Give a facility that all faults happen to, one after the other."""
    with scene(tmp_path_factory.mktemp("causes")) as running:
        yield running


@pytest.mark.campaign
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_page_names_the_cause_of_a_fault_within_15_seconds_and_nothing_else(here: Scene, fault: Fault) -> None:
    """The rule of its alert holds as well, or `measure` says that it does not."""
    found = here.measure(fault)
    assert found.seconds <= NAMED_S, found
    assert found.causes <= 1, found
