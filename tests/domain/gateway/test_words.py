"""What pages claim of an upload: every state has its sentence, and none says more than was heard."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from datauploader.contracts import (
    AuditReported,
    DatasetCompleted,
    DatasetEnsured,
    DatasetRefused,
    EventData,
    TransferProgressed,
    UploadOpened,
    UploadScanned,
)
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.http import labels
from datauploader_gateway.projection.fold import Before, fold
from datauploader_gateway.projection.summary import as_of, summarise
from datauploader_testing import builders

UP = builders.UPLOAD
FILE = builders.file_version()
SILENT = "2026-11-29T14:02:00+00:00"
SAFE = "It is safe to switch off this computer"
STORED = builders.file_stored(FILE)
FAILED = builders.file_failed(FILE, final=True)
OPEN = (UploadOpened(upload_id=UP), DatasetEnsured(upload_id=UP, investigation_id="7", dataset_id="42"))
REFUSED = DatasetRefused(upload_id=UP, reason="not-allowed", detail="the catalogue says no")
SEALED = builders.upload_sealed([FILE])
WELL = AuditReported(
    upload_id=UP,
    audit="audit-0001",
    looked=datetime.now(UTC),
    files=1,
    objects=1,
    manifest_sha256=SEALED.manifest_sha256,
)  # fmt: skip


def scanned(files: int, **more: object) -> UploadScanned:
    """Return a count of the station."""
    return UploadScanned(upload_id=UP, files=files, bytes=files * FILE.size, settling=0, left_out=0, **more)


def upload(*facts: EventData, mode: str = "sync", silent: bool = False) -> Upload:
    """Return how an upload is of which this was said, one after the other."""
    registers, counts, files = {}, {}, {}
    for fact in (builders.upload_requested(mode=mode), *facts):
        changes = fold(Before(registers, files), builders.event(fact))
        registers |= changes.registers
        files |= changes.files
        for name, number in changes.counts.items():
            counts[name] = counts.get(name, 0) + number
    found = summarise(UP, registers, counts)
    assert found is not None
    return as_of(found, datetime.now(UTC), SILENT if silent else None)


CLAIMS = [
    ((), "has not checked all files yet", "warn"),
    (OPEN, "has not checked all files yet", "warn"),
    ((*OPEN, scanned(0, looking=True)), "has not checked all files yet", "warn"),
    ((*OPEN, scanned(1, looking=True), STORED), "has not checked all files yet", "warn"),
    ((*OPEN, scanned(0)), "Everything written so far is stored", ""),
    ((*OPEN, scanned(1)), "not everything is stored yet", "warn"),
    ((*OPEN, scanned(1), STORED), "Everything written so far is stored", ""),
    ((*OPEN, scanned(1), STORED, builders.upload_controlled("close")), "not everything is stored yet", "warn"),
    ((*OPEN, scanned(1), STORED, SEALED), "the storage is being compared with the manifest", "warn"),
    (
        (*OPEN, scanned(1), STORED, SEALED, WELL),
        f"{SAFE}: every file is stored. The catalogue is being updated.",
        "good",
    ),
    ((*OPEN, scanned(1), SEALED), "not everything is stored yet", "warn"),
    ((*OPEN, scanned(1), REFUSED), "not everything is stored yet", "warn"),
    ((*OPEN, scanned(1), STORED, REFUSED), "but the catalogue refuses the dataset", "warn"),
    ((*OPEN, scanned(1), STORED, SEALED, REFUSED), "not complete, because the catalogue refuses it", "warn"),
]


@pytest.mark.fault("F57")
@pytest.mark.parametrize(("facts", "sentence", "mood"), CLAIMS)
def test_each_state_has_its_sentence(facts: tuple[EventData, ...], sentence: str, mood: str) -> None:
    """While the station reports."""
    said = labels.safety(upload(*facts))
    assert said is not None
    assert sentence in said.text
    assert said.mood == mood


@pytest.mark.fault("F57")
@pytest.mark.parametrize("facts", [facts for facts, _, _ in CLAIMS])
def test_of_a_station_that_is_silent_nothing_is_claimed_about_now(facts: tuple[EventData, ...]) -> None:
    """Before the seal: since when, and that nobody here knows. A seal, and what is stored of it, stays true."""
    found = upload(*facts, silent=True)
    said = labels.safety(found)
    assert said is not None
    if found.sealed:
        assert said == labels.safety(upload(*facts))
        return
    assert said.text == "The station has not reported since {since}. Files written after that are not known here."
    assert (said.since, said.mood) == (SILENT, "warn")
    assert labels.state(found).text == ("needs attention" if found.needs_person else "station not responding")


@pytest.mark.fault("F57")
def test_nothing_is_called_safe_before_it_is_sealed_or_while_anything_is_missing() -> None:
    """Over every mixture of what can be said of an upload."""
    pieces = ((scanned(1),), (STORED,), (REFUSED,), (SEALED,), (builders.upload_controlled("close"),))
    for mode, silent, *chosen in product(("sync", "batch"), (False, True), *((False, True),) * len(pieces)):
        facts = [fact for piece, yes in zip(pieces, chosen, strict=True) if yes for fact in piece]
        found = upload(*OPEN, *facts, mode=mode, silent=silent)
        said = labels.safety(found)
        assert said is not None
        if SAFE in said.text:
            assert SEALED in facts, found
            assert STORED in facts, found
        if "Everything" in said.text:
            assert not silent
            assert STORED in facts
            assert scanned(1) in facts
        if REFUSED in facts:
            assert "being updated" not in said.text


def test_an_upload_that_is_over_needs_no_computer() -> None:
    """Complete: safe; cancelled or rejected: nothing depends on it."""
    done = DatasetCompleted(upload_id=UP, dataset_id="42", files=1, bytes=1, manifest_sha256="0" * 64)
    said = labels.safety(upload(*OPEN, STORED, SEALED, done))
    assert said is not None
    assert said.text.startswith(SAFE)


@pytest.mark.fault("F57")
def test_a_speed_of_a_while_ago_is_none() -> None:
    """Nor is what follows from it: how long it will take, and which files move."""
    moving = TransferProgressed(upload_id=UP, waiting=1, bytes_per_s=277e6)
    found = upload(*OPEN, scanned(1), moving)
    assert found.speed == 277e6
    assert found.seconds_left is not None
    later = as_of(found, datetime.now(UTC) + timedelta(seconds=11), None)
    assert (later.speed, later.seconds_left) == (0, None)
    assert as_of(found, datetime.now(UTC), SILENT).speed == 0


def test_the_same_trouble_is_told_once() -> None:
    """Whoever says it."""
    again = scanned(1, troubles=("The drive is away.",))
    found = upload(
        *OPEN, again, TransferProgressed(upload_id=UP, waiting=1, bytes_per_s=0, trouble="The drive is away.")
    )
    assert found.troubles == ("The drive is away.",)


def pressed(found: Upload) -> list[str]:
    """Return what the button is called that tries an upload again, if there is one."""
    return [button.label for button in labels.actions(found) if button.action == "retry"]


def test_the_button_is_called_as_hints_call_it_where_more_than_files_has_failed() -> None:
    """A refused dataset says "press Retry"; its button says so too, also beside files that have failed."""
    assert pressed(upload(*OPEN, FAILED)) == ["Retry failed files"]
    assert pressed(upload(*OPEN, REFUSED)) == ["Retry"]
    assert pressed(upload(*OPEN, FAILED, REFUSED)) == ["Retry"]
    assert pressed(upload(*OPEN)) == []
