"""Whose a failure is, how often a file is tried, and how a storage is tried that has failed."""

import time

import pytest

from datauploader.contracts import FileVersion
from datauploader.reliability import Store
from datauploader_testing.builders import event, file_ready
from datauploader_transfer import schema
from datauploader_transfer.domain.outcomes import failed
from datauploader_transfer.failure_policy import MOST_MISMATCHES, FailurePolicy
from datauploader_transfer.ledger import Job, JobTable
from datauploader_transfer.memory_mover import MemoryMover, MemoryStorage
from datauploader_transfer.ports import Outcome, State, Whose
from datauploader_transfer.rclone.stall_detector import StallDetector
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker
from datauploader_transfer.settings import TransferSettings

from .test_domain import item

NOW = 1000.0


def policy(storage: MemoryStorage | None = None, **settings: object) -> tuple[FailurePolicy, RemoteCircuitBreaker]:
    """Give a judge over a storage, and the pauses that it decides on."""
    breaker = RemoteCircuitBreaker()
    mover = MemoryMover({"store": storage or MemoryStorage()})
    return FailurePolicy(breaker, mover, TransferSettings.model_validate(settings)), breaker


def outcome(whose: Whose, state: State = State.FAILED, **more: object) -> Outcome:
    """Give a failure that may be tried again."""
    return Outcome("k", state, "It says no.", retryable=True, whose=whose, **more)  # type: ignore[arg-type]


def job(refused: int = 0, attempts: int = 0) -> Job:
    """Give a file that has failed before."""
    return Job(FileVersion.of(b"a", size=1, mtime_ns=1, sha256="0" * 64, revision=1), attempts, "", refused)


@pytest.mark.fault("F60")
def test_only_a_doubtful_failure_is_looked_into() -> None:
    """What was stored meanwhile answers, then what failed as a whole, and at last a small file of ours."""
    down = MemoryStorage(down="500")
    one, breaker = policy(down)
    doubt, stored, away = outcome(Whose.EITHER), Outcome("k", State.VERIFIED, ""), outcome(Whose.REMOTE)
    began = time.monotonic()
    assert not one.takes_others("store", [outcome(Whose.FILE)], began)
    assert not one.takes_others("store", [doubt], began)
    assert one.takes_others("store", [doubt, stored], began)
    assert not one.takes_others("store", [doubt, stored, away], began)
    breaker.note_success("store")
    assert one.takes_others("store", [doubt], began)
    assert not one.takes_others("store", [doubt], time.monotonic())
    down.down = ""
    assert one.takes_others("store", [doubt], time.monotonic())


@pytest.mark.fault("F60")
def test_an_outage_uses_up_no_try_of_a_file() -> None:
    """A hundred attempts at a storage that was away, and the file is still tried as often as any other."""
    one, _ = policy(file_tries=3)
    verdict = one.decide("store", job(attempts=100), outcome(Whose.EITHER), NOW, takes_others=True)
    assert (verdict.due, verdict.own) == (NOW + 1, True)
    damaged = outcome(Whose.FILE, State.MISMATCH)
    assert one.decide("store", job(attempts=100), damaged, NOW, takes_others=False).due == NOW + 1
    assert one.decide("store", job(refused=MOST_MISMATCHES - 1), damaged, NOW, takes_others=False).due is None
    assert one.decide("store", job(refused=2), outcome(Whose.EITHER), NOW, takes_others=True).due is None


@pytest.mark.fault("F60")
def test_the_tries_of_a_file_end_after_about_ten_minutes() -> None:
    """Long enough for a storage that is busy, short enough to be told the same shift."""
    one, _ = policy()
    pauses = []
    while (due := one.decide("store", job(len(pauses)), outcome(Whose.EITHER), NOW, takes_others=True).due) is not None:
        pauses.append(due - NOW)
    assert len(pauses) + 1 == TransferSettings().file_tries
    assert 300 < sum(pauses) < 900


@pytest.mark.fault("F61")
def test_what_somebody_must_mend_is_tried_rarely_and_never_given_up() -> None:
    """Every few minutes, whatever a file has been through."""
    one, breaker = policy(file_tries=1)
    mend = outcome(Whose.REMOTE, State.REFUSED, by_hand=True)
    assert one.decide("store", job(refused=50), mend, NOW, takes_others=False).due == NOW + 180
    assert breaker.problem("store").startswith("Storage store: It says no.")


@pytest.mark.fault("F61")
def test_after_its_pause_a_storage_is_tried_with_one_file_first() -> None:
    """Hundreds of wrong passwords a minute may lock the account; a large file is not waited for longer than a while."""
    breaker = RemoteCircuitBreaker()
    assert breaker.admits("store", NOW, 500) == 500
    breaker.note_failure("store", "401", NOW)
    assert breaker.admits("store", NOW, 500) == 0
    assert breaker.admits("store", NOW + 2, 500) == 1
    assert breaker.begin_trial("store")
    assert breaker.admits("store", NOW + 2, 500) == 0
    breaker.end_trial("store")
    assert breaker.admits("store", NOW + 2, 500) == 1
    breaker.note_success("store")
    assert breaker.admits("store", NOW + 2, 500) == 500
    assert not breaker.begin_trial("store")


@pytest.mark.fault("F60")
def test_who_was_refused_travels_with_his_like_and_the_smallest_goes_ahead_alone() -> None:
    """Nobody waits for the repetitions of a file that will fail again; a large file is a slow scout."""
    store = Store(None, [schema.SCHEMA])
    files = [
        FileVersion.of(name.encode(), size=size, mtime_ns=1, sha256="0" * 64, revision=1)
        for name, size in (("bad", 2), ("large", 9), ("worse", 2), ("small", 1))
    ]
    with store.transaction() as db:
        JobTable(db).add_ready(event(file_ready(*files, upload_id="upload-0001")))
        for file in files[::2]:
            JobTable(db).mark_failed("upload-0001", file, reason="failed", due=5.0, own=True)

    def taken(most: int) -> list[str]:
        with store.transaction() as db:
            jobs = JobTable(db).take_jobs("upload-0001", 10.0, most_files=most, most_bytes=100, busy=())
            return sorted(job.file.path for job in jobs)

    assert [taken(1), taken(9), taken(9), taken(9)] == [["small"], ["large"], ["bad", "worse"], []]


@pytest.mark.fault("F60")
def test_the_turn_of_others_is_told_from_their_own_failure() -> None:
    """A storage that failed for one file and says nothing more is left alone; what comes after it was not tried."""
    detector = StallDetector(stall_s=60)
    detector.begin_call()
    detector._moved_at -= 10
    detector.note_error("500 Internal Server Error")
    assert detector.must_end()
    assert failed(item("late"), detector.reason).untried
    assert not failed(item("bad"), "500 Internal Server Error").untried
