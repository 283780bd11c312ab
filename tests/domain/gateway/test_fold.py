"""The view of an upload is the same whatever the order of its events and however often each comes (F26)."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datauploader.contracts import (
    CataloguedFile,
    DatasetCompleted,
    DatasetDelayed,
    DatasetEnsured,
    DatasetPartlyRefused,
    DatasetRefused,
    DatasetSpec,
    Destination,
    Event,
    EventData,
    ExtractedFile,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileReleased,
    FileStored,
    FileVersion,
    LeftOutFile,
    MetadataExtracted,
    Parameter,
    Person,
    RefusedFile,
    Station,
    StoredFile,
    TransferProgressed,
    UploadCancelled,
    UploadControlled,
    UploadOpened,
    UploadRequested,
    UploadScanned,
    UploadSealed,
)
from datauploader.contracts.model import microseconds
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.projection import timing
from datauploader_gateway.projection.columns import columns_of, fold_together
from datauploader_gateway.projection.facts import VERIFIED, FileFacts, FileFailure, LeftOut
from datauploader_gateway.projection.files import KnownFile, describe
from datauploader_gateway.projection.fold import (
    Before,
    Changes,
    FoldInput,
    Register,
    Step,
    fold,
    fold_all,
    wanted,
    wanted_together,
)
from datauploader_gateway.projection.harvest import MOST_FILES, MOST_IN_FILE, FirstFiles, Harvest, What
from datauploader_gateway.projection.remarks import Remarks
from datauploader_gateway.projection.summary import summarise

ID = "u-12345678"
STATION = Station(facility="elettra", beamline="xrd1", station="ws01")
THERE = Destination(remote="archive", location="1/scan")
ANNA = Person(id="7", name="Anna")
START = datetime(2026, 3, 1, tzinfo=UTC)


def at(seconds: float, data: EventData, number: int | None = None) -> Event[EventData]:
    """Build an event of a moment, with a number or, as older releases said it, without."""
    sequence = None if number is None else microseconds(START) + number
    return Event(data=data, station=STATION, service="test", time=START + timedelta(seconds=seconds), sequence=sequence)


def version(path: str, revision: int = 1, size: int = 10, digest: str = "a") -> FileVersion:
    """Build a version of a file."""
    sha256 = (digest * 64)[:64]
    return FileVersion.of(path.encode(), size=size, mtime_ns=1, sha256=sha256, revision=revision)


def requested() -> UploadRequested:
    """Build the request of an upload."""
    return UploadRequested(
        upload_id=ID, investigation="1", dataset=DatasetSpec(name="scan"), root="/data", mode="sync",
        destination=THERE, requested_by=ANNA,
    )  # fmt: skip


def ready(*files: FileVersion, seen_ms: int | None = None) -> FileReady:
    """Announce versions, which were seen that long ago."""
    seen = None if seen_ms is None else tuple(seen_ms * number for number in range(1, len(files) + 1))
    return FileReady(upload_id=ID, root="/data", destination=THERE, files=files, seen_ms=seen)


def stored(*files: FileVersion, state: str = "verified", proof_ms: int | None = None) -> FileStored:
    """Say that versions are stored."""
    kept = tuple(StoredFile(file=f, object=f.path, state=state, method="read back") for f in files)
    return FileStored(upload_id=ID, destination=THERE, files=kept, proof_ms=proof_ms)


def catalogued(*files: FileVersion, state: str = "verified") -> FileCatalogued:
    """Say that versions are datafiles."""
    known = tuple(CataloguedFile(file=f, state=state) for f in files)
    return FileCatalogued(upload_id=ID, dataset_id="d", files=known)


def failed(
    *files: FileVersion, final: bool = True, detail: str = "no room", reason: str = "storage-full"
) -> FileFailed:
    """Say that versions are not stored."""
    words = tuple(FailedFile(file=f, reason=reason, detail=detail, final=final) for f in files)
    return FileFailed(upload_id=ID, files=words)


def refused(*files: FileVersion, what: str = "datafile", detail: str = "ORA-12899: too long") -> DatasetPartlyRefused:
    """Say that the catalogue does not take versions, or their metadata; without a detail, that it does."""
    words = [{"file": one, "what": what, "harvester": "", "detail": detail} for one in files]
    return DatasetPartlyRefused(upload_id=ID, files=tuple(RefusedFile.model_validate(one) for one in words))


def read(
    *files: FileVersion, problem: str = "", harvester: str = "nexus", values: tuple[Parameter, ...] = ()
) -> MetadataExtracted:
    """Say what a harvester has read in versions, or why it could not."""
    items = tuple(ExtractedFile(file=one, parameters=values, problem=problem) for one in files)
    return MetadataExtracted(upload_id=ID, harvester=harvester, files=items)


@dataclass
class Memory:
    """The view in dictionaries: what the writer does in Redis."""

    registers: dict[str, Register] = field(default_factory=dict)
    files: dict[bytes, FileFacts] = field(default_factory=dict)
    failures: dict[bytes, FileFailure] = field(default_factory=dict)
    left_out: dict[bytes, LeftOut] = field(default_factory=dict)
    remarks: dict[bytes, Remarks] = field(default_factory=dict)
    harvests: dict[What, dict[bytes, Harvest]] = field(default_factory=lambda: {"values": {}, "pictures": {}})
    counts: Counter[str] = field(default_factory=Counter)
    timing: Counter[tuple[int, int]] = field(default_factory=Counter)

    def apply(self, event: Event[EventData]) -> bool:
        """Fold one event, looking up only what it wants."""
        return self.write(fold(self._read(wanted(event)), event))

    def wanted_by(self, events: list[Event[EventData]]) -> Before:
        """Look up what these events want."""
        return self._read(wanted_together([wanted(event) for event in events]))

    def apply_all(self, events: list[Event[EventData]]) -> None:
        """Fold events together."""
        columns = columns_of(events)
        before = self.wanted_by(events)
        rows = {path: facts.pack() for path, facts in before.files.items()}
        before.files = {}
        total, _ = fold_together(before, rows, events, columns)
        total.files |= {path: FileFacts.unpack(row) for path, row in total.rows.items()}
        self.write(total)

    def _read(self, want: FoldInput) -> Before:
        return Before(
            {k: self.registers[k] for k in want.registers if k in self.registers},
            {k: self.files[k] for k in want.files if k in self.files},
            {k: self.failures[k] for k in want.failures if k in self.failures},
            {k: self.left_out[k] for k in want.left_out if k in self.left_out},
            {k: self.remarks[k] for k in want.remarks if k in self.remarks},
            {
                w: FirstFiles(tuple(sorted(h)), {k: h[k] for k in want.harvests if k in h})
                for w, h in self.harvests.items()
            },
        )

    def write(self, changes: Changes) -> bool:
        """Keep what was folded, and return whether that is anything."""
        self.registers |= changes.registers
        self.files |= changes.files
        self.left_out |= changes.left_out
        self.remarks |= {path: Remarks.load(word.dump()) for path, word in changes.remarks.items()}
        for what, first in changes.harvests.items():
            kept = self.harvests[what] | {
                p: Harvest.load(h.dump()) for p, h in first.known.items() if p in first.changed
            }
            self.harvests[what] = {path: words for path, words in kept.items() if path in first.paths}
        for path, word in changes.failures.items():
            if word is None:
                self.failures.pop(path, None)
            else:
                self.failures[path] = word
        self.counts.update(changes.counts)
        self.timing.update(changes.timing)
        return bool(changes)

    def shown(self) -> tuple[object, ...]:
        """Return everything that people can see of it."""
        files = {
            path: (f.order, f.size, f.state, f.proof, f.released, self._told(path, f)) for path, f in self.files.items()
        }
        left = {path: (word.reason, word.detail) for path, word in self.left_out.items() if not word.returned}
        read = {
            what: {path: words.said for path, words in kept.items() if words.order == self.files[path].order}
            for what, kept in self.harvests.items()
        }
        return summarise(ID, self.registers, self.counts), files, left, +self.counts, +self.timing, read

    def upload(self) -> Upload:
        """Return the summary."""
        found = summarise(ID, self.registers, self.counts)
        assert found is not None
        return found

    def _told(self, path: bytes, facts: FileFacts) -> object:
        known = KnownFile(path, facts, self.failures.get(path), self.remarks.get(path))
        return self._failure(path, facts), describe(known).metadata_problem, describe(known).detail

    def _failure(self, path: bytes, facts: FileFacts) -> tuple[str, bool] | None:
        word = self.failures.get(path)
        if facts.state not in ("failed", "retrying") or word is None or word.order != facts.order:
            return None
        return word.detail, word.final


PATHS = ("a.tif", "b/c.nxs", "d.log")
VERSIONS = st.builds(version, st.sampled_from(PATHS), st.integers(0, 3), st.integers(0, 5), st.sampled_from("ab"))
SOME = st.lists(VERSIONS, min_size=1, max_size=4)
PROOFS = st.sampled_from(("verified", "unverified"))
LASTED = st.sampled_from((None, 0, 700, 9000))
LEFT = st.builds(
    lambda p, r: FileLeftOut(upload_id=ID, files=(LeftOutFile(path=p, reason="excluded", detail="", returned=r),)),
    st.sampled_from(PATHS),
    st.booleans(),
)
SAID = st.one_of(
    st.builds(lambda f, m: ready(*f, seen_ms=m), SOME, LASTED),
    st.builds(lambda f, s, m: stored(*f, state=s, proof_ms=m), SOME, PROOFS, LASTED),
    st.builds(lambda f, s: catalogued(*f, state=s), SOME, PROOFS),
    st.builds(lambda f, e, d: failed(*f, final=e, detail=d), SOME, st.booleans(), st.sampled_from(("one", "two"))),
    SOME.map(lambda f: FileReleased(upload_id=ID, files=tuple(f))),
    st.builds(
        lambda f, w, d: refused(*f, what=w, detail=d),
        SOME,
        st.sampled_from(("datafile", "metadata")),
        st.sampled_from(("", "one", "two")),
    ),
    st.builds(
        lambda f, p, h, v: read(*f, problem=p, harvester=h, values=v),
        SOME,
        st.sampled_from(("", "no HDF5")),
        st.sampled_from(("nexus", "spec")),
        st.sampled_from(
            ((), *((Parameter(name=n, value=v),) for n, v in (("title", "one"), ("title", 2), ("run", 3))))
        ),
    ),
    st.builds(lambda d: DatasetDelayed(upload_id=ID, detail=d, since=START), st.sampled_from(("", "away"))),
    LEFT,
    st.builds(
        lambda n, s: UploadScanned(upload_id=ID, files=n, bytes=n, settling=s, left_out=0),
        st.integers(0, 9),
        st.integers(0, 3),
    ),
    st.builds(
        lambda a: UploadControlled(upload_id=ID, action=a, requested_by=ANNA),
        st.sampled_from(("pause", "resume", "close", "retry", "cancel")),
    ),
    st.just(UploadOpened(upload_id=ID)),
    st.builds(lambda n: TransferProgressed(upload_id=ID, waiting=n, bytes_per_s=n), st.integers(0, 9)),
    st.just(UploadSealed(upload_id=ID, files=3, bytes=30, left_out=0, manifest_sha256="0" * 64)),
    st.just(DatasetEnsured(upload_id=ID, investigation_id="1", dataset_id="d", url="https://vuo/d")),
    st.just(DatasetRefused(upload_id=ID, reason="closed", detail="the investigation is closed")),
    st.just(DatasetCompleted(upload_id=ID, dataset_id="d", files=3, bytes=30, manifest_sha256="0" * 64)),
    st.just(UploadCancelled(upload_id=ID)),
)
NUMBERS = st.one_of(st.none(), st.integers(0, 6_000_000))
HISTORIES = st.lists(st.tuples(st.integers(0, 6), SAID, NUMBERS), max_size=12).map(
    lambda said: [at(0, requested()), *(at(seconds, data, number) for seconds, data, number in said)]
)


@pytest.mark.fault("F26")
@settings(max_examples=150)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_of_events_gives_the_same_view(
    history: list[Event[EventData]], chance: random.Random
) -> None:
    """Every event once in order, and every event up to three times shuffled, end in the same view."""
    once, often = Memory(), Memory()
    for event in history:
        once.apply(event)
    shuffled = [event for event in history for _ in range(chance.randint(1, 3))]
    chance.shuffle(shuffled)
    for event in shuffled:
        often.apply(event)
    assert once.shown() == often.shown()


@pytest.mark.fault("F26")
@settings(max_examples=150)
@given(HISTORIES, st.lists(st.integers(1, 6), min_size=1, max_size=13))
def test_events_that_are_folded_together_give_the_same_view_as_one_after_the_other(
    history: list[Event[EventData]], sizes: list[int]
) -> None:
    """In whatever portions they are taken from the queue."""
    alone, together = Memory(), Memory()
    for event in history:
        alone.apply(event)
    rest = list(history)
    while rest:
        size = sizes.pop() if sizes else len(rest)
        together.apply_all(rest[:size])
        rest = rest[size:]
    assert alone.shown() == together.shown()


def told_by(total: Changes, steps: list[Step]) -> tuple[object, ...]:
    """Return everything that is written of changes, whichever way they were folded."""
    rows = total.rows or {path: facts.pack() for path, facts in total.files.items()}
    shifts: dict[object, list[bytes]] = {}
    amounts: Counter[object] = Counter()
    for shift in total.shifts:
        key = (shift.then, shift.now, shift.retimed)
        shifts.setdefault(key, []).extend(shift.paths)
        amounts.update({(key, "then"): shift.bytes_then, (key, "now"): shift.bytes_now})
    each = [(event.id, changes.registers, changes.counts["catalogued.files"] > 0) for event, changes in steps]
    moved = {key: sorted(paths) for key, paths in shifts.items()}
    return rows, total.registers, +total.counts, -total.counts, total.timing, moved, amounts, each


ONE_EACH = st.lists(st.sampled_from([version(path, digest="0") for path in PATHS]), min_size=1, max_size=4)
USUAL = st.one_of(
    st.builds(lambda f, m: ready(*f, seen_ms=m), ONE_EACH, LASTED),
    st.builds(lambda f, s, m: stored(*f, state=s, proof_ms=m), ONE_EACH, PROOFS, LASTED),
    st.builds(lambda f, s: catalogued(*f, state=s), ONE_EACH, PROOFS),
    ONE_EACH.map(lambda f: FileReleased(upload_id=ID, files=tuple(f))),
    LEFT,
    SAID,
)
USUAL_HISTORIES = st.lists(st.builds(at, st.integers(0, 6), USUAL, NUMBERS), max_size=12)


@settings(max_examples=300)
@given(st.one_of(HISTORIES, USUAL_HISTORIES), st.lists(st.integers(1, 6), min_size=1, max_size=13))
def test_columns_say_what_folding_each_file_says(history: list[Event[EventData]], sizes: list[int]) -> None:
    """Whatever was known before, and however many events come together."""
    view, rest = Memory(), list(history)
    while rest:
        size = sizes.pop() if sizes else len(rest)
        events, rest = rest[:size], rest[size:]
        columns, before = columns_of(events), view.wanted_by(events)
        assert not columns or [one.wanted for one in columns] == [wanted(event) for event in events]
        rows = {path: facts.pack() for path, facts in before.files.items()}
        careful = fold_all(before, events)
        assert told_by(*fold_together(view.wanted_by(events), rows, events, columns)) == told_by(*careful)
        view.write(careful[0])


def test_what_is_usual_is_folded_as_columns() -> None:
    """Files that come one stage further, some of them in the same moment, are not looked at one by one."""
    files = [version(f"{number}.tif", size=number) for number in range(20)]
    rows: dict[bytes, bytes] = {}
    for said in (
        [at(1, ready(*files, seen_ms=7))],
        [at(2, UploadScanned(upload_id=ID, files=20, bytes=1, settling=0, left_out=0))],
        [at(3, stored(*files[:10], proof_ms=9)), at(4, catalogued(*files[:10])), at(5, stored(*files[5:]))],
        [at(6, catalogued(*files)), at(6, FileReleased(upload_id=ID, files=tuple(files)))],
    ):  # fmt: skip
        total, steps = fold_together(Before(), rows, said, columns_of(said))
        assert len(steps) == len(said)
        assert not total.files
        rows |= total.rows
    known = [FileFacts.unpack(rows[f"{number}.tif".encode()]) for number in range(20)]
    assert {(facts.state, facts.proof, facts.released) for facts in known} == {("catalogued", "verified", True)}
    assert [facts.size for facts in known] == list(range(20))


def test_what_is_left_out_is_so_although_it_is_announced_later_with_others() -> None:
    """Whoever says something usual of it is folded with care."""
    view = Memory()
    left = LeftOutFile(path="b", reason="excluded", detail="")
    for said in (FileLeftOut(upload_id=ID, files=(left,)), ready(version("a"), version("b"))):
        view.apply_all([at(1, said)])
    assert view.counts["ready.files"] == 1


@settings(max_examples=80)
@given(HISTORIES)
def test_counts_are_what_the_files_are(history: list[Event[EventData]]) -> None:
    """The running counts equal a count of all files made afterwards."""
    view = Memory()
    for event in history:
        view.apply(event)
    counted: Counter[str] = Counter()
    for facts in view.files.values():
        for word, size in facts.counts.items():
            counted[f"{word}.files"] += 1
            counted[f"{word}.bytes"] += size
    counted["left_out.files"] = sum(not word.returned for word in view.left_out.values())
    assert +view.counts == +counted
    assert +view.timing == Counter(step for facts in view.files.values() for step in timing.steps(facts.times))


def told(*said: EventData) -> Memory:
    """Fold a request and then these, a second apart."""
    view = Memory()
    for second, data in enumerate((requested(), *said)):
        view.apply(at(second, data))
    return view


AHEAD_S = 7200.0


@pytest.mark.fault("F54")
def test_what_was_said_by_a_clock_that_was_ahead_does_not_outlive_what_is_said_after_it_was_put_right() -> None:
    """Steering, counts, omissions, failures and troubles: the number of the one who says it decides, not its clock."""
    one, two = version("a"), version("b")

    def left(*, returned: bool) -> FileLeftOut:
        return FileLeftOut(upload_id=ID, files=(LeftOutFile(path="b", reason="gone", detail="", returned=returned),))

    pairs: list[tuple[EventData, EventData]] = [
        (UploadControlled(upload_id=ID, action="pause", requested_by=ANNA), control("resume")),
        (scanned(9), scanned(2)),
        (left(returned=False), left(returned=True)),
        (failed(one, final=True, detail="no room"), failed(one, final=False, detail="away")),
        (progressed(9), progressed(0)),
    ]
    view = Memory()
    for event in (at(0, requested()), at(0, UploadOpened(upload_id=ID)), at(0, ready(one, two))):
        view.apply(event)
    for number, (ahead, right) in enumerate(pairs):
        view.apply(at(AHEAD_S, ahead, 2 * number + 1))
        view.apply(at(number, right, 2 * number + 2))
    upload = view.upload()
    assert not upload.paused
    assert (upload.counts.found.files, upload.waiting, upload.counts.ready.files) == (2, 0, 2)
    assert (upload.counts.failed.files, upload.counts.retrying.files) == (0, 1)


@pytest.mark.fault("F54")
def test_what_an_older_release_kept_without_a_number_counts_by_its_time() -> None:
    """Its registers, failures and omissions are read back with the time in the number's place."""
    register = Register.load('["2026-03-01T00:00:01.000000Z", "id", "upload.opened", {}, "elettra.xrd1.ws01"]')
    assert register.order[0] == microseconds(START + timedelta(seconds=1))
    word = LeftOut.load('["2026-03-01T00:00:01.000000Z", "id", "gone", "", false]')
    assert word.stamp == (microseconds(START + timedelta(seconds=1)), "id")
    assert LeftOut.load(word.dump()) == word


def control(action: str) -> UploadControlled:
    """Steer the upload."""
    return UploadControlled.model_validate({"upload_id": ID, "action": action, "requested_by": ANNA})


def progressed(waiting: int) -> TransferProgressed:
    """Say how many wait."""
    return TransferProgressed(upload_id=ID, waiting=waiting, bytes_per_s=waiting)


def scanned(files: int) -> UploadScanned:
    """Count the folder."""
    return UploadScanned(upload_id=ID, files=files, bytes=files, settling=0, left_out=0)


def test_a_repeated_event_changes_nothing() -> None:
    """The second time there is nothing to write."""
    view, event = told(), at(5, ready(version("a")))
    assert view.apply(event)
    assert not view.apply(event)


def test_a_new_version_begins_again_and_the_old_one_no_longer_counts() -> None:
    """After a catalogued first version, a ready second one is only ready, with its own size."""
    one, two = version("a", 1, 10), version("a", 2, 25, "b")
    view = told(ready(one), stored(one), catalogued(one), ready(two))
    counts = view.upload().counts
    assert (counts.ready.files, counts.ready.bytes, counts.stored.files, counts.catalogued.files) == (1, 25, 0, 0)


def test_a_receipt_for_an_old_version_does_not_move_the_new_one() -> None:
    """`file.stored` of revision 1 after `file.ready` of revision 2 changes nothing."""
    one, two = version("a", 1), version("a", 2, digest="b")
    assert told(ready(one), ready(two), stored(one)).files[b"a"].state == "ready"


def test_a_file_that_failed_and_was_stored_later_is_stored() -> None:
    """Success outlives failure, whichever is heard first."""
    one = version("a")
    counts = told(ready(one), failed(one), stored(one)).upload().counts
    assert (counts.failed.files, counts.verified.files) == (0, 1)


def test_a_failure_that_is_tried_again_is_not_final() -> None:
    """The latest word on a failure counts."""
    one = version("a")
    counts = told(failed(one, final=True), failed(one, final=False, detail="storage away")).upload().counts
    assert (counts.failed.files, counts.retrying.files) == (0, 1)


def test_an_upload_goes_through_its_states() -> None:
    """requested, open, sealed, completed; and then it is over."""
    sealed = UploadSealed(upload_id=ID, files=1, bytes=10, left_out=0, manifest_sha256="0" * 64)
    completed = DatasetCompleted(upload_id=ID, dataset_id="d", files=1, bytes=10, manifest_sha256="0" * 64, url="u")
    steps = (UploadOpened(upload_id=ID), sealed, completed)
    states = [told(*steps[:n]).upload().state for n in range(4)]
    assert states == ["requested", "open", "sealed", "completed"]
    assert told(*steps).upload().over


def test_a_sealed_upload_with_failed_files_waits_for_a_person() -> None:
    """Nothing moves until somebody retries."""
    good, bad = version("a"), version("b")
    sealed = UploadSealed(upload_id=ID, files=2, bytes=20, left_out=0, manifest_sha256="0" * 64)
    view = told(UploadOpened(upload_id=ID), ready(good, bad), sealed, stored(good), failed(bad))
    assert view.upload().needs_person
    assert view.upload().troubles == ("1 file failed: no room",)


@pytest.mark.fault("F55")
def test_an_upload_without_any_file_waits_for_a_person_until_somebody_closes_it() -> None:
    """The question stands first among its troubles."""
    sentence = "There is no file in /data. Mount the drive, or close the upload."
    counted = UploadScanned(upload_id=ID, files=0, bytes=0, settling=0, left_out=0, question=sentence)
    story = (UploadOpened(upload_id=ID), counted)
    assert (told(*story).upload().needs_person, told(*story).upload().troubles) == (True, (sentence,))
    assert not told(*story, control("close")).upload().needs_person
    assert not told(*story, scanned(1)).upload().needs_person


def test_a_file_that_was_renamed_before_it_was_stored_calls_for_nobody() -> None:
    """The station looks where it went; meanwhile the upload goes on."""
    good, renamed = version("a"), version("b")
    sealed = UploadSealed(upload_id=ID, files=1, bytes=10, left_out=1, manifest_sha256="0" * 64)
    gone = failed(renamed, reason="source-gone")
    upload = told(UploadOpened(upload_id=ID), ready(good, renamed), sealed, stored(good), gone).upload()
    assert not upload.needs_person
    assert upload.counts.failed.files == 0


def test_a_file_that_was_announced_and_is_left_out_now_is_none_of_the_uploads_files() -> None:
    """It is on the list of what is left out, and counts again when it has come back."""
    one, gone = version("a"), version("b")
    left, back = (
        FileLeftOut(upload_id=ID, files=(LeftOutFile(path="b", reason="gone", detail="", returned=returned),))
        for returned in (False, True)
    )
    story = (UploadOpened(upload_id=ID), ready(one, gone), failed(gone, reason="source-gone"), left)
    assert told(*story).upload().counts.ready.files == 1
    assert told(*story).upload().troubles == ()
    assert told(*story, back, ready(version("b", 2))).upload().counts.ready.files == 2
    assert told(*story, stored(gone)).upload().counts.stored.files == 1


def test_a_refusal_is_taken_back_by_a_later_success() -> None:
    """The catalogue may come to another opinion; the latest counts."""
    refused = DatasetRefused(upload_id=ID, reason="closed", detail="the investigation is closed", hint="Open it.")
    ensured = DatasetEnsured(upload_id=ID, investigation_id="1", dataset_id="d", url="https://vuo/d")
    assert told(UploadOpened(upload_id=ID), refused).upload().troubles == ("the investigation is closed. Open it.",)
    upload = told(UploadOpened(upload_id=ID), refused, ensured).upload()
    assert (upload.state, upload.dataset_url) == ("open", "https://vuo/d")


def test_a_name_of_any_bytes_is_kept_byte_for_byte() -> None:
    """Two names that look alike as text are two files."""
    one = FileVersion.of(b"\xff.tif", size=1, mtime_ns=1, sha256="a" * 64, revision=1)
    two = FileVersion.of(b"\xfe.tif", size=1, mtime_ns=1, sha256="a" * 64, revision=1)
    assert set(told(ready(one, two)).files) == {b"\xff.tif", b"\xfe.tif"}


def test_a_file_keeps_its_whole_digest_and_how_it_was_verified() -> None:
    """A receipt tells both; packing loses nothing."""
    one = version("a")
    facts = told(ready(one), stored(one)).files[b"a"]
    assert FileFacts.unpack(facts.pack()) == facts
    assert (facts.sha256, facts.proof, facts.methods) == (one.sha256, "verified", ("read back",))


def test_what_an_older_release_kept_is_completed_and_not_counted_twice() -> None:
    """Four bytes of a digest were enough before; the same version, heard again, adds the rest."""
    one = version("a")
    view = told(ready(one), stored(one))
    view.files[b"a"] = FileFacts(one.revision, one.size, bytes.fromhex(one.sha256[:8]), VERIFIED)
    assert FileFacts.unpack(view.files[b"a"].pack()) == view.files[b"a"]
    assert view.files[b"a"].sha256 == ""
    view.apply(at(9, catalogued(one)))
    counts = view.upload().counts
    assert (view.files[b"a"].sha256, view.files[b"a"].state) == (one.sha256, "catalogued")
    assert (counts.ready.files, counts.verified.files, counts.catalogued.files) == (1, 1, 1)


SEALED = UploadSealed(upload_id=ID, files=2, bytes=20, left_out=0, manifest_sha256="0" * 64)


@pytest.mark.fault("F59")
def test_a_datafile_that_the_catalogue_refuses_has_failed_needs_a_person_and_is_stored_all_the_same() -> None:
    """With the catalogue's words; when it is taken in the end, nothing of that is left."""
    one, two = version("a"), version("b")
    view = told(ready(one, two), stored(one, two), catalogued(one), refused(two), SEALED)
    upload = view.upload()
    assert (upload.counts.failed.files, upload.counts.stored.files) == (1, 2)
    assert upload.needs_person
    assert "ORA-12899" in upload.troubles[0]
    assert view.files[b"b"].state == "failed"
    view.apply(at(9, catalogued(two)))
    view.apply(at(9, refused(two, detail="")))
    assert (view.upload().counts.failed.files, view.upload().troubles) == (0, ())


@pytest.mark.fault("F59")
def test_metadata_that_are_not_taken_are_counted_and_are_no_trouble() -> None:
    """What a harvester gave up and what the catalogue refused, each at its file; a newer version begins anew."""
    one, two, three = version("a"), version("b"), version("c")
    view = told(
        stored(one, two, three), read(one, problem="it is no HDF5"), refused(two, what="metadata"), read(three),
        DatasetPartlyRefused(upload_id=ID, metadata="Not taken: 'energy'"),
    )  # fmt: skip
    upload = view.upload()
    assert (upload.counts.metadata_lacks.files, upload.counts.metadata_unread.files) == (2, 1)
    assert upload.counts.harvested.files == 1
    assert upload.troubles == ()
    assert [note for note in upload.notes if "1 file not read" in note]
    assert [note for note in upload.notes if "1 file not accepted" in note]
    assert [note for note in upload.notes if "'energy'" in note]
    known = {path: describe(KnownFile(path, facts, None, view.remarks.get(path))) for path, facts in view.files.items()}
    assert known[b"a"].metadata_problem == "it is no HDF5"
    assert known[b"b"].metadata_problem == "ORA-12899: too long"
    assert known[b"c"].metadata_problem == ""
    view.apply(at(8, ready(version("a", 2, digest="b"))))
    view.apply(at(9, refused(two, what="metadata", detail="")))
    assert view.upload().counts.metadata_lacks.files == 0


@pytest.mark.fault("F59")
def test_an_upload_that_the_catalogue_does_not_take_says_since_when_why_and_when_it_is_tried_again() -> None:
    """A person is asked where nobody knows whether it passes; when it goes on, nothing is said any more."""
    away = DatasetDelayed(upload_id=ID, detail="VUO did not answer.", since=START, retry_s=60)
    upload = told(SEALED, away).upload()
    (trouble,) = upload.troubles
    assert trouble.startswith("The catalogue has not accepted this since 2026-03-01 00:00 UTC: VUO did not answer.")
    assert trouble.endswith("It is retried every minute.")
    assert (upload.delayed, upload.needs_person) == (True, False)
    assert told(SEALED, away.model_copy(update={"needs_person": True, "retry_s": 3600})).upload().needs_person
    well = told(SEALED, away, DatasetDelayed(upload_id=ID)).upload()
    assert (well.delayed, well.troubles) == (False, ())


def test_of_very_many_files_the_values_of_the_first_by_path_are_kept_whatever_the_order() -> None:
    """A view of a million files has room for some; which, must not depend on what was heard first."""
    files = [version(f"{number:04}.h5") for number in range(MOST_FILES["values"] + 20)]
    many = tuple(Parameter(name=f"n{number:03}", value=number) for number in range(MOST_IN_FILE["values"] + 50))
    chance = random.Random(1)
    for _ in range(3):
        chance.shuffle(files)
        view = Memory()
        view.apply(at(0, requested()))
        view.apply_all([at(number, read(one, values=many)) for number, one in enumerate(files[:60])])
        for number, one in enumerate(files[60:], 60):
            view.apply(at(number, read(one, values=many)))
        kept = view.harvests["values"]
        assert sorted(kept) == [f"{number:04}.h5".encode() for number in range(MOST_FILES["values"])]
        assert {len(words.said) for words in kept.values()} == {MOST_IN_FILE["values"] + 1}
    assert view.upload().counts.harvested.files == len(files)


@pytest.mark.fault("F59")
def test_a_file_that_one_harvester_reads_and_another_does_not_is_counted_until_that_one_reads_it() -> None:
    """Whichever comes first: who draws pictures of a file does not hide that nobody could read its metadata."""
    one = version("a")
    view = told(stored(one), read(one, harvester="thumbnails"), read(one, problem="it is no HDF5"))
    view.apply(at(8, read(one, harvester="thumbnails")))
    assert view.upload().counts.metadata_unread.files == 1
    facts = FileFacts.unpack(view.files[b"a"].pack())
    assert facts == view.files[b"a"]
    assert len(facts.pack()) <= 64
    assert describe(KnownFile(b"a", facts, None, view.remarks[b"a"])).metadata_problem == "it is no HDF5"
    view.apply(at(9, read(one)))
    counts = view.upload().counts
    assert (counts.metadata_unread.files, counts.metadata_lacks.files, counts.harvested.files) == (0, 0, 1)


@pytest.mark.fault("F59")
@pytest.mark.parametrize("what", ["datafile", "metadata"])
def test_a_refusal_that_was_taken_back_before_it_was_heard_is_none(what: str) -> None:
    """The later word counts, whichever comes first."""
    one = version("a")
    view = told(stored(one))
    for second, detail in ((9, ""), (8, "ORA-12899: too long")):
        view.apply(at(second, refused(one, what=what, detail=detail)))
    counts = view.upload().counts
    assert (counts.failed.files, counts.metadata_lacks.files) == (0, 0)
