"""Changes of a folder as Windows tells them: what its buffer did not hold is known to be lost."""

import os
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from watchdog.observers import winapi

from datauploader_testing.waiting import eventually
from datauploader_watcher.adapters.events import Events, Notice

LONG = "x" * 150


@pytest.mark.fault("F2")
def test_more_changes_than_the_buffer_holds_are_told_as_lost_and_later_ones_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ReadDirectoryChangesW` answers with 0 bytes then, or with an error; Wine ends the watch, which is begun anew."""
    monkeypatch.setattr(winapi, "BUFFER_SIZE", 400)  # room for one change
    heard: SimpleQueue[Notice] = SimpleQueue()
    lost: SimpleQueue[bool] = SimpleQueue()
    watched: SimpleQueue[str] = SimpleQueue()
    events = Events(heard.put, lambda: lost.put(True), lambda _folder, why: watched.put(why))
    events.start()
    try:
        events.watch(os.fsencode(tmp_path))
        assert watched.get(timeout=10) == ""
        numbers = iter(range(100_000))

        def is_lost() -> bool:
            for _ in range(20):
                if lost.empty():  # what comes after a loss could be one loss more, and two of them end the watch
                    (tmp_path / f"{LONG}{next(numbers)}").touch()
            return not lost.empty()

        eventually(is_lost, within_s=30, what="a loss is told")
        later = os.fsencode(tmp_path / "later.dat")

        def is_heard() -> bool:
            (tmp_path / "later.dat").write_bytes(b"x")
            return any(notice.path == later for notice in drained(heard))

        eventually(is_heard, within_s=30, every_s=0.5, what="what comes later is heard")
    finally:
        events.stop(10)


def drained(queue: "SimpleQueue[Notice]") -> list[Notice]:
    """Take all that is there."""
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


def test_an_instrument_that_never_pauses_is_heard_while_it_writes(tmp_path: Path) -> None:
    """Watchdog's own reader waits for a pause of a second."""
    heard: SimpleQueue[Notice] = SimpleQueue()
    watched: SimpleQueue[str] = SimpleQueue()
    events = Events(heard.put, lambda: None, lambda _folder, why: watched.put(why))
    events.start()
    events.watch(os.fsencode(tmp_path))
    assert watched.get(timeout=10) == ""

    def is_heard() -> bool:
        (tmp_path / "log.txt").write_bytes(b"x")
        return not heard.empty()

    eventually(is_heard, within_s=15, every_s=0.2, what="it is heard")
    events.stop(5)


def test_a_folder_that_cannot_be_watched_is_told_with_the_reason(tmp_path: Path) -> None:
    """It is polled then; watchdog would only let a thread end."""
    watched: SimpleQueue[str] = SimpleQueue()
    events = Events(lambda _: None, lambda: None, lambda _folder, why: watched.put(why))
    events.start()
    events.watch(os.fsencode(tmp_path / "missing"))
    assert watched.get(timeout=10)
    events.stop(5)
