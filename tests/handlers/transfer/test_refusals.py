"""A storage refuses one file every time, or all of them for a reason that somebody must mend."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datauploader.contracts import FileFailed, FileStored, StationReported, TransferProgressed
from datauploader.contracts.files import FailedFile
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.failures import NOT_TRIED

from .test_transfer_service import World

TROUBLES = {
    "400": "unchunked simple update failed: 400 Bad Request",
    "500": "unchunked simple update failed: 500 Internal Server Error",
    "403": "unchunked simple update failed: 403 Forbidden",
}
WHOLE = {
    "certificate": "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "clock": "StatusCode: 403, api error RequestTimeTooSkewed: The difference is too large",
    "credentials": "401 Unauthorized",
    "read-only": "mkdir /base/a: read-only file system",
    "permission": "open /base/a: permission denied",
    "bucket": "api error NoSuchBucket: The specified bucket does not exist",
}


def most_in_the_campaign(texts: dict[str, str], *always: str) -> list[object]:
    """Give the texts as parameters, of which a few are tried in every run."""
    marks = {name: () if name in always else (pytest.mark.campaign,) for name in texts}
    return [pytest.param(text, id=name, marks=marks[name]) for name, text in texts.items()]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Start a transfer service with settings."""
    made: list[World] = []

    def begin(**settings: object) -> World:
        made.append(World(tmp_path, **settings))
        return made[-1]

    yield begin
    for world in made:
        world.stop()
        world.outside.close()


def final(world: World) -> list[FailedFile]:
    """Return what was given up."""
    return [one for data in list(world.heard) if isinstance(data, FileFailed) for one in data.files if one.final]


def names(world: World) -> set[str]:
    """Return what is stored."""
    return {one.file.path for data in list(world.heard) if isinstance(data, FileStored) for one in data.files}


@pytest.mark.fault("F60")
@pytest.mark.parametrize("text", most_in_the_campaign(TROUBLES, "400"))
def test_a_file_that_is_refused_every_time_is_given_up_while_the_others_flow(start, text: str) -> None:
    """It is told, tried again, and then needs a person, with the storage's words; its storage never rests for it."""
    world = start(file_tries=2)
    world.storage.refuses["20260101/run1/bad"] = text
    world.announce(world.write("bad", b"x"))
    eventually(lambda: any(isinstance(data, FileFailed) for data in world.heard), what="it is told")
    assert not world.service._worker.breaker.problems()
    began = time.monotonic()
    world.announce(*(world.write(f"f{n}", b"x") for n in range(20)), upload_id="upload-0002")
    world.stored(20)
    assert time.monotonic() - began < 5
    (failed,) = eventually(lambda: final(world), within_s=30, what="it is given up")
    assert failed.file.path == "bad"
    assert text in failed.detail
    assert "Retry" in failed.hint
    world.storage.refuses.clear()
    world.control("retry")
    eventually(lambda: "bad" in names(world), what="a retry stores it")


@pytest.mark.fault("F60")
def test_a_storage_that_fails_for_everybody_gives_up_no_file(start) -> None:
    """However few tries a file has: the failures are the storage's, and it goes on by itself when that is well."""
    world = start(file_tries=1)
    world.storage.down = TROUBLES["500"]
    world.announce(*(world.write(f"f{n}", b"x") for n in range(5)))
    world.failed(5)
    eventually(lambda: world.service._worker.breaker._pauses["store"].attempts >= 2, what="it is tried again")
    assert not final(world)
    world.storage.down = ""
    world.stored(5)


@pytest.mark.fault("F60")
def test_what_was_not_tried_because_another_failed_counts_as_no_try(start) -> None:
    """Its turn comes again at once, and nothing is said of it."""
    world = start(file_tries=1)
    world.storage.refuses["20260101/run1/late"] = NOT_TRIED + TROUBLES["500"]
    world.announce(world.write("late", b"x"), world.write("other", b"x"))
    world.stored()
    assert not [data for data in world.heard if isinstance(data, FileFailed)]
    world.storage.refuses.clear()
    world.stored(2)
    assert not [data for data in world.heard if isinstance(data, FileFailed)]


@pytest.mark.fault("F60")
def test_a_file_that_finds_no_room_is_waited_with_and_keeps_nobody_waiting(start) -> None:
    """Smaller ones are stored meanwhile; it is never given up, for room is made without touching it."""
    world = start(file_tries=1)
    world.storage.room = 100
    world.announce(world.write("large", bytes(1000)))
    (failed,) = world.failed()
    assert (failed.reason, failed.final) == ("storage-full", False)
    world.announce(world.write("small", b"x"))
    world.stored()
    assert not final(world)


@pytest.mark.fault("F61")
def test_a_storage_that_is_mended_just_after_a_file_was_refused_gets_that_file_again(start, monkeypatch) -> None:
    """That it takes others now says nothing of the file, which would be given up at its first try."""
    world = start(file_tries=1, by_hand_pause_s=0.2)
    look, asked = world.mover.probe_remote, []

    def mend(remote: str):
        if threading.current_thread().name.startswith("mover."):  # not for a report
            asked.append(remote)
            world.storage.down = world.storage.down if len(asked) == 1 else ""
        return look(remote)

    monkeypatch.setattr(world.mover, "probe_remote", mend)
    world.storage.down = WHOLE["read-only"]
    world.announce(*(world.write(f"f{n}", b"x") for n in range(5)))
    world.stored(5)
    assert len(asked) > 1
    assert not final(world)


@pytest.mark.fault("F61")
@pytest.mark.parametrize("text", most_in_the_campaign(WHOLE, "certificate", "read-only"))
def test_a_trouble_of_the_whole_storage_is_told_once_and_ends_by_itself(start, text: str) -> None:
    """The station and the upload say what to do; no file is given up; when it is mended everything is stored."""
    world = start(file_tries=1, by_hand_pause_s=1.0, report_interval_s=0.2)
    world.storage.down = text
    world.announce(*(world.write(f"f{n}", b"x") for n in range(5)))
    failed = world.failed(5)
    assert {one.final for one in failed} == {False}

    def told(kind: type) -> list[str]:
        return [
            sentence
            for data in list(world.heard)
            if isinstance(data, kind)
            for sentence in (data.troubles if isinstance(data, StationReported) else [data.trouble])
            if sentence
        ]

    for kind in (StationReported, TransferProgressed):
        (first, *_) = eventually(lambda kind=kind: told(kind), what=f"{kind.__name__} says it")
        assert first.startswith("Storage store: ")
        assert text in first
        assert "continues automatically" in first
    world.storage.down = ""
    world.stored(5)
    assert not final(world)
    assert len(world.failed()) == 5, "told once"
