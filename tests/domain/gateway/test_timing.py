"""Where the time of files goes: small histograms that count every file once, whatever the clocks say."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts import (
    CataloguedFile,
    Destination,
    Event,
    EventData,
    FileCatalogued,
    FileReady,
    FileStored,
    FileVersion,
    Station,
    StoredFile,
)
from datauploader_gateway.projection import timing
from datauploader_gateway.projection.facts import FileFacts
from datauploader_gateway.projection.fold import Before, fold

ID = "u-12345678"
START = datetime(2026, 3, 1, tzinfo=UTC)
THERE = Destination(remote="archive", location="1/scan")


def version(written_s: float, name: str = "a", revision: int = 1) -> FileVersion:
    """Build a version that was written some seconds after the start."""
    mtime_ns = int((START.timestamp() + written_s) * 1e9)
    return FileVersion.of(name.encode(), size=1, mtime_ns=mtime_ns, sha256="a" * 64, revision=revision)


def ready(one: FileVersion) -> FileReady:
    """Announce it."""
    return FileReady(upload_id=ID, root="/data", destination=THERE, files=(one,))


def stored(one: FileVersion) -> FileStored:
    """Say that it is stored."""
    kept = StoredFile(file=one, object=one.path, state="verified", method="read back")
    return FileStored(upload_id=ID, destination=THERE, files=(kept,))


def catalogued(one: FileVersion) -> FileCatalogued:
    """Say that it is a datafile."""
    return FileCatalogued(upload_id=ID, dataset_id="d", files=(CataloguedFile(file=one, state="verified"),))


def said(seconds: float, data: EventData) -> Event[EventData]:
    """Say it so many seconds after the start."""
    station = Station(facility="elettra", beamline="xrd1", station="ws01")
    return Event(data=data, station=station, service="test", time=START + timedelta(seconds=seconds))


def told(*story: tuple[float, EventData], mode: str = "sync") -> dict[str, timing.StepTiming]:
    """Fold what was said at these seconds, each file packed in between, and tell the steps."""
    files: dict[bytes, bytes] = {}
    counted: dict[tuple[int, int], int] = {}
    for seconds, data in story:
        event = said(seconds, data)
        changes = fold(Before(files={path: FileFacts.unpack(packed) for path, packed in files.items()}), event)
        files |= {path: facts.pack() for path, facts in changes.files.items()}
        for step, number in changes.timing.items():
            counted[step] = counted.get(step, 0) + number
    return {one.step: one for one in timing.summarise(counted, mode).steps}


def test_each_step_takes_the_time_between_what_was_said() -> None:
    """From the last change of the file to its announcement, its receipt, and its being a datafile."""
    one = version(0)
    steps = told((1.3, ready(one)), (5.3, stored(one)), (5.35, catalogued(one)))
    assert list(steps) == ["announced", "stored", "registered"]
    for step, seconds in (("announced", 1.3), ("stored", 4.0), ("registered", 0.05)):
        assert seconds <= steps[step].max_s <= seconds * 1.25 + 0.01
        assert (steps[step].files, steps[step].before) == (1, 0)


def test_what_is_said_again_counts_once_with_the_time_of_the_first() -> None:
    """A receipt that is repeated an hour later makes no step longer, in whatever order all of it is heard."""
    one = version(0)
    first: list[tuple[float, EventData]] = [(1, ready(one)), (2, stored(one)), (3, catalogued(one))]
    again: list[tuple[float, EventData]] = [(3600, stored(one)), (3601, ready(one))]
    for order in permutations([*first, *again]):
        assert told(*order) == told(*first)


def test_a_new_version_takes_the_place_of_the_old_one_in_the_figures() -> None:
    """The slow first version of a file is gone from them."""
    old, new = version(0), version(99, revision=2)
    steps = told((1, ready(old)), (91, stored(old)), (100, ready(new)), (101, stored(new)))
    assert steps["stored"].files == 1
    assert steps["stored"].max_s < 2


def test_the_figures_are_those_of_half_of_nearly_all_and_of_the_slowest() -> None:
    """Of a hundred files one takes long."""
    story: list[tuple[float, EventData]] = []
    for number in range(100):
        one = version(0, str(number))
        story += [(1, ready(one)), (1.5 if number else 61, stored(one))]
    step = told(*story)["stored"]
    assert (0.5 <= step.p50_s <= 0.63, step.p50_s == step.p95_s, 60 <= step.max_s <= 75) == (True, True, True)


def test_a_clock_that_is_behind_is_told_and_makes_no_negative_time() -> None:
    """The catalog's computer is two hours behind the station's."""
    one = version(0)
    step = told((1, ready(one)), (2, stored(one)), (-7200, catalogued(one)))["registered"]
    assert (step.files, step.before, step.p50_s, step.max_s) == (1, 1, 0.0, 0.0)


def test_how_old_a_file_of_a_batch_is_is_no_step_of_it() -> None:
    """It lay there for weeks before anybody asked for the upload."""
    one = version(-3e6)
    assert list(told((1, ready(one)), (2, stored(one)), mode="batch")) == ["stored"]


def test_what_an_older_release_has_kept_is_without_times() -> None:
    """It is read, written as it was, and counts from what is said from now on."""
    facts = FileFacts.of(version(0))
    assert len(facts.pack()) == 50
    assert FileFacts.unpack(facts.pack()) == facts
    assert told((3, catalogued(version(0)))) == {}


def test_a_file_with_times_fits_into_what_redis_keeps_compactly() -> None:
    """And reads back as it was written."""
    full = (255, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    facts = FileFacts.of(version(0)).adding(1, full)
    assert len(facts.pack()) <= 64
    assert FileFacts.unpack(facts.pack()) == facts


@given(st.integers(-(2**70), 2**70))
def test_every_time_has_a_bucket_that_fits_into_a_byte_and_is_not_much_longer(hundredths: int) -> None:
    """From clocks that are behind to files that are older than computers."""
    number = timing.bucket(hundredths)
    assert 0 < number <= 126
    within = timing.summarise({(timing.STORED, number): 1}, "sync").steps[0].max_s
    bounded = min(max(hundredths, 0), 2**31 - 1) / 100
    assert bounded <= within <= bounded * 1.25 + 0.01


@pytest.mark.parametrize("days", [0, 100, 247])
def test_a_step_may_go_over_the_end_of_the_numbers(days: int) -> None:
    """Only the last bits of a moment are kept, wherever they begin anew."""
    for offset in (0, 200, 400):
        times = timing.NEVER
        for seconds, data in ((0, ready(version(0))), (days * 86_400, stored(version(0)))):
            heard = timing.Heard.of(said(offset * 86_400 + seconds, data))
            assert heard is not None
            times = heard.adding(times, 0)
        found = dict(timing.steps(times))
        assert found[timing.STORED] == timing.bucket(days * 8_640_000)
