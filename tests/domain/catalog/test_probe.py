"""When the catalogue is asked how it is, and what is remembered of its answer."""

import pytest

from datauploader_catalog.adapters.memory import Fault, MemoryCatalogue
from datauploader_catalog.probe import PROBE_S, CatalogueProbe


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [(Fault.UNAVAILABLE, "does not answer"), (Fault.UNREADABLE, "gibberish"), (Fault.REFUSED, "refuses")],
)
def test_a_catalogue_that_is_not_well_is_asked_more_rarely_until_it_is(fault: Fault, sentence: str) -> None:
    """Whatever it says instead; the first good answer ends that."""
    catalogue = MemoryCatalogue()
    probe = CatalogueProbe(catalogue)
    assert (probe.take_turn(), probe.problem) == (PROBE_S, "")
    catalogue.fail("identify", fault, times=3)
    assert [probe.take_turn() for _ in range(3)] == [PROBE_S, 2 * PROBE_S, 2 * PROBE_S]
    assert sentence in probe.problem
    assert (probe.take_turn(), probe.problem) == (PROBE_S, "")


def test_what_an_adapter_of_others_raises_ends_no_thread() -> None:
    """It is told as a problem of the catalogue, and asked again."""

    def broken() -> None:
        raise ZeroDivisionError

    catalogue = MemoryCatalogue()
    catalogue.probe_catalogue = broken  # type: ignore[method-assign]
    probe = CatalogueProbe(catalogue)
    assert probe.take_turn() == PROBE_S
    assert "ZeroDivisionError" in probe.problem
