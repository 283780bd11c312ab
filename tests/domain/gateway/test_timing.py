"""Where the time of files goes: small histograms that count every file once, whatever the clocks say."""

import struct
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


def ready(*files: FileVersion, seen_s: tuple[float, ...] = ()) -> FileReady:
    """Announce files, each seen so many seconds before."""
    seen_ms = tuple(int(seconds * 1000) for seconds in seen_s) or None
    return FileReady(upload_id=ID, root="/data", destination=THERE, files=files, seen_ms=seen_ms)


def stored(one: FileVersion, proof_s: float | None = None) -> FileStored:
    """Say that it is stored."""
    kept = StoredFile(file=one, object=one.path, state="verified", method="read back")
    proof_ms = None if proof_s is None else int(proof_s * 1000)
    return FileStored(upload_id=ID, destination=THERE, files=(kept,), proof_ms=proof_ms)


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


def test_a_file_is_seen_before_it_is_announced_and_moved_before_it_is_verified() -> None:
    """Where station and transfer say so: the quiet period is told apart from the finding, the proof from the moving."""
    one, two = version(0, "a"), version(1, "b")
    story = ((5.0, ready(one, two, seen_s=(4.5, 2.0))), (9.0, stored(one, 3.0)), (13.0, stored(two, 3.0)))
    steps = told(*story)
    assert list(steps) == ["seen", "announced", "moved", "verified"]
    for step, least, most in (("seen", 0.5, 2), ("announced", 2, 4.5), ("moved", 1, 5), ("verified", 3, 3)):
        assert steps[step].files == 2
        assert least * 0.8 <= steps[step].p50_s <= least * 1.25 + 0.01
        assert most * 0.8 <= steps[step].max_s <= most * 1.25 + 0.01


def test_what_takes_long_to_prove_leaves_the_time_of_moving_right() -> None:
    """It is what is left of the whole, so the proof is kept finer than it is told: by a sixteenth."""
    one = version(0)
    for proof_s in (55, 59, 60, 61, 64, 70):
        steps = told((1, ready(one)), (21 + proof_s, stored(one, proof_s)))
        assert 20 - proof_s / 16 <= steps["moved"].max_s <= (20 + proof_s / 16) * 1.25
        assert proof_s * 0.9 <= steps["verified"].max_s <= proof_s * 1.3


@pytest.mark.parametrize("both", [3.0, -7200.0])
def test_a_proof_that_took_longer_than_the_clocks_say_leaves_no_time_to_moving(both: float) -> None:
    """And where transfer's clock is behind, the moving seems to have ended before it began."""
    one = version(0)
    step = told((1, ready(one)), (1 + both, stored(one, 10)))["moved"]
    assert (step.files, step.max_s, step.before) == (1, 0.01 if both > 0 else 0, both < 0)


def test_a_list_that_does_not_fit_its_files_is_not_read() -> None:
    """Another program may say anything: the step is told as of a station that does not say when it saw its files."""
    steps = told((2, ready(version(0, "a"), version(0, "b"), seen_s=(1.0,))))
    assert list(steps) == ["announced"]
    assert steps["announced"].p50_s >= 2


def test_of_two_words_of_the_same_moment_the_one_that_says_more_stays() -> None:
    """A receipt that is repeated at once does not say how long the proof took, in whatever order both are heard."""
    one = version(0)
    first: list[tuple[float, EventData]] = [(2, ready(one, seen_s=(1.0,))), (5, stored(one, 1.0))]
    again: list[tuple[float, EventData]] = [(2, ready(one)), (5, stored(one))]
    for order in permutations([*first, *again]):
        assert told(*order) == told(*first)


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
    seen = told((1, ready(one, seen_s=(0.5,))), (2, stored(one, 0.5)), mode="batch")
    assert list(seen) == ["moved", "verified"]


def test_what_an_older_release_has_kept_is_without_times() -> None:
    """It is read, written as it was, and counts from what is said from now on."""
    facts = FileFacts.of(version(0))
    assert len(facts.pack()) == 50
    assert FileFacts.unpack(facts.pack()) == facts
    assert told((3, catalogued(version(0)))) == {}


def test_a_file_with_times_fits_into_what_redis_keeps_compactly() -> None:
    """And reads back as it was written."""
    full = (255, 2**32 - 1, 2**32 - 1, 2**32 - 1, 255, 255)
    facts = FileFacts.of(version(0)).adding(1 | 255 << 16, full)
    assert len(facts.pack()) <= 64
    assert FileFacts.unpack(facts.pack()) == facts


@pytest.mark.parametrize("size", [2**32 - 1, 2**32, 2**63 - 1])
def test_a_file_of_any_size_reads_back_as_it_was_written(size: int) -> None:
    """The largest take a few bytes more."""
    facts = FileFacts(1, size, b"d" * 32, 1, (2, 1, 1, 1, 2, 2))
    assert FileFacts.unpack(facts.pack()) == facts


def test_times_that_an_older_release_has_kept_are_read() -> None:
    """With and without the harvesters that could read the file."""
    words = (4, 7, 10**12, b"d" * 32, 9, 1000, 1400, 1500)
    for packed, readers in (
        (struct.pack("<HQQ32sB3I", *words), 0),
        (struct.pack("<HQQ32sB3IB", *words, 3), 3),
    ):
        facts = FileFacts.unpack(packed)
        assert facts == FileFacts(7, 10**12, b"d" * 32, 4 | readers << 16, (9, 1000, 1400, 1500, 0, 0))
        assert FileFacts.unpack(facts.pack()) == facts
        assert [step for step, _ in timing.steps(facts.times)] == [timing.ANNOUNCED, timing.STORED, timing.REGISTERED]


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
            times = heard.adding(times, (0, 0))
        found = dict(timing.steps(times))
        assert found[timing.STORED] == timing.bucket(days * 8_640_000)
