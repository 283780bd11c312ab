"""What is told about descriptions is the same whatever the order of words and answers, and however often each comes."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetDescribed,
    DatasetEnsured,
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
)
from datauploader.contracts.questions import InvestigationSummary
from datauploader.contracts.rest.descriptions import Description
from datauploader_gateway.features.investigations.service import arranged
from datauploader_gateway.projection.fold import Before, Register, fold, wanted
from datauploader_gateway.projection.summary import of_dataset, of_investigation
from datauploader_testing import builders

BEGAN = datetime(2026, 3, 4, 12, tzinfo=UTC)
ID, WHO = builders.UPLOAD, builders.SOMEBODY


def at(seconds: int, data: EventData, name: str) -> Event[EventData]:
    """An event of a moment."""
    return Event(data, builders.HERE, "test", id=name, time=BEGAN + timedelta(seconds=seconds))


def word(number: int, second: int) -> Event[EventData]:
    """A person's word about the dataset."""
    return at(second, DatasetDescribed(upload_id=ID, description=f"text {number}", requested_by=WHO), f"word-{number}")


def answer(said: Event[EventData], second: int, refusal: str = "") -> Event[EventData]:
    """The catalogue's answer to a word."""
    data = DatasetAnnotated(upload_id=ID, dataset_id="1", word=said.id, said=said.time, refusal=refusal)
    return at(second, data, f"answer-{said.id}")


def folded(events: list[Event[EventData]]) -> dict[str, Register]:
    """Fold events as the writer does."""
    registers: dict[str, Register] = {}
    for event in events:
        known = {name: registers[name] for name in wanted(event).registers if name in registers}
        registers |= fold(Before(known), event).registers
    return registers


def told(events: list[Event[EventData]]) -> Description:
    """What a person is told after these events."""
    said = of_dataset(folded(events))
    assert said is not None
    return said


REQUEST = at(0, builders.upload_requested(), "request")
ENSURED = at(1, DatasetEnsured(upload_id=ID, investigation_id="1", dataset_id="1"), "ensured")
FIRST, SECOND = word(1, 5), word(2, 6)
# the clock of the catalog is late, and it answers the second word before the first is answered by the log
ALL = [REQUEST, ENSURED, FIRST, SECOND, answer(SECOND, 3), answer(FIRST, 9, "no")]


@pytest.mark.fault("F26")
@given(st.permutations(ALL * 2))
def test_the_last_word_and_its_answer_are_told_in_every_order(events: list[Event[EventData]]) -> None:
    """An answer is ordered by its word, whatever the catalog's clock says."""
    said = told(events)
    assert (said.description, said.state, said.word, said.refusal) == ("text 2", "catalogued", "word-2", "")


def test_an_answer_to_an_earlier_word_leaves_the_last_one_waiting() -> None:
    """Also a refusal."""
    for refusal in ("", "no"):
        for events in permutations([REQUEST, FIRST, SECOND, answer(FIRST, 9, refusal)]):
            said = told(list(events))
            assert (said.description, said.state, said.refusal) == ("text 2", "waiting", "")


def test_of_two_words_of_one_moment_the_higher_id_is_told() -> None:
    """As the catalog decides."""
    for events in permutations([REQUEST, word(1, 5), word(2, 5)]):
        assert told(list(events)).word == "word-2"


def test_before_anybody_describes_it_the_request_does() -> None:
    """Waiting until the dataset is there."""
    assert of_dataset(folded([FIRST])) is None
    assert told([REQUEST]).state == "waiting"
    assert (told([ENSURED, REQUEST]).state, told([ENSURED, REQUEST]).by) == ("catalogued", WHO)


def test_what_the_catalogue_says_later_of_an_investigation_counts_again() -> None:
    """A word is shown while the catalogue does not have it; afterwards it may be corrected there."""
    said = at(1, InvestigationDescribed(investigation="1", description="ours", requested_by=WHO), "w")
    done = at(2, InvestigationAnnotated(investigation="1", word="w", said=said.time), "a")
    assert of_investigation({}, "theirs").description == "theirs"
    assert of_investigation(folded([said]), "theirs").description == "ours"
    for events in permutations([said, done]):
        found = of_investigation(folded(list(events)), "theirs")
        assert (found.description, found.state) == ("theirs", "catalogued")


@pytest.mark.parametrize(("beamline", "here"), [("XRD1", True), ("xrd1", True), ("", True), ("XRD 1", False)])
def test_a_beamline_is_here_however_the_catalogue_writes_it(beamline: str, here: bool) -> None:
    """Stations write it as one word of small letters; a catalogue that does not say hides nothing."""
    one = InvestigationSummary(id="1", beamline=beamline, start=BEGAN.date())
    (item,) = arranged([one], today=BEGAN.date(), here={"xrd1"}, used={})
    assert (item.here, item.section) == (here, "today" if here else "open")
