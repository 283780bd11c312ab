"""Of many things that are sent together the refused ones are found, and the others go in (F59)."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.plugins.catalogue.batches import PROBES, send_apart
from datauploader.plugins.catalogue.errors import (
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    ValueRefused,
)


class Catalogue:
    """Takes numbers, and none of those that it refuses."""

    def __init__(self, refused: set[int], error: Callable[[str], CatalogError] = ValueRefused) -> None:
        self.refused, self.error = refused, error
        self.held: set[int] = set()
        self.calls = 0

    def take(self, some: Sequence[int]) -> None:
        """Take all or none."""
        self.calls += 1
        if self.refused.intersection(some):
            raise self.error("too long")
        self.held.update(some)


def sent(catalogue: Catalogue, items: Sequence[int]) -> set[int]:
    """Send them; return which were refused."""
    return {some[0] for some, error in send_apart(items, catalogue.take) if error is not None}


@pytest.mark.fault("F59")
@given(st.integers(1, 60), st.data())
def test_whatever_few_are_refused_all_others_go_in(number: int, data: st.DataObject) -> None:
    """As long as one of those goes in that are tried alone."""
    items = range(number)
    probes = set(items[:: -(-number // PROBES)])
    refused = data.draw(st.sets(st.sampled_from(items)).filter(lambda some: number <= PROBES or not probes <= some))
    catalogue = Catalogue(refused)
    assert sent(catalogue, items) == refused
    assert catalogue.held == set(items) - refused


@pytest.mark.fault("F59")
def test_one_of_two_thousand_is_found_in_a_few_calls() -> None:
    """The batch, the probes, and halves."""
    catalogue = Catalogue({1234})
    assert sent(catalogue, range(2000)) == {1234}
    assert catalogue.calls < 2 * 11 + PROBES + 3


@pytest.mark.fault("F59")
@pytest.mark.parametrize("number", [1, 5, 500])
def test_a_refusal_of_everything_is_about_the_dataset(number: int) -> None:
    """Nothing is halved two thousand times because a dataset is complete."""
    catalogue = Catalogue(set(range(number)), CatalogueRefused)
    with pytest.raises(CatalogueRefused):
        sent(catalogue, range(number))
    assert catalogue.calls <= PROBES + 1


@pytest.mark.fault("F59")
@pytest.mark.parametrize("error", [CatalogueForbids, CatalogueUnavailable])
def test_what_is_not_about_values_is_not_divided(error: type[CatalogError]) -> None:
    """Neither a right that is missing nor a catalogue that is away."""
    catalogue = Catalogue({1}, error)
    with pytest.raises(error):
        sent(catalogue, range(10))
    assert catalogue.calls == 1
