"""A state file that is older than what the world has heard from it counts as lost, and no other does."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from datauploader.contracts import UploadOpened
from datauploader.contracts.envelope import Mark, decode
from datauploader.contracts.questions import Heard, LastHeard
from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.reliability import Outbox, Schema, Store, outbox
from datauploader.reliability.stale_state import StaleStateGuard
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

NOTES = Schema("notes", ("CREATE TABLE note (text TEXT NOT NULL);",))


class World:
    """One state file, and a gateway that remembers how far it has come."""

    def __init__(self, folder: Path) -> None:
        """Begin with neither."""
        self.path, self.copy = folder / "x.sqlite", folder / "copy.sqlite"
        self.broker = MemoryBroker()
        self.bus = self.broker.bus("test")
        self.marks: list[Mark] = []
        self.facility = "one"
        self.ended = 0
        self.store = self.open()

    def open(self) -> Store:
        """Open the file."""
        self.store = Store(self.path, [outbox.SCHEMA, NOTES])
        return self.store

    def say(self, count: int = 1) -> None:
        """Say something, as the outbox does."""
        with self.store.transaction() as db:
            for _ in range(count):
                Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))
            db.execute("INSERT INTO note VALUES ('x')")

        def publish(event) -> "Future[None]":
            sent = decode(event.body).mark
            assert sent is not None
            self.marks.append(sent)
            done: Future[None] = Future()
            done.set_result(None)
            return done

        box = Outbox(self.store, publish)
        box.start()
        eventually(lambda: box.waiting() == 0)
        box.stop()

    def back(self) -> None:
        """Put the copy back."""
        self.store.close()
        shutil.copyfile(self.copy, self.path)
        self.open()

    def answers(self) -> None:
        """Let the gateway answer."""

        def answer(question, station):
            assert isinstance(question, LastHeard)
            assert station == builders.HERE
            others = [m.number for m in self.marks if m.state == question.state and m.run != question.run]
            return Heard(number=max(others, default=0), facility=self.facility)

        self.bus.answer_stations("gateway", answer)

    def guard(self, on_facility=lambda: True) -> StaleStateGuard:
        """Guard the file."""

        def end() -> None:
            self.ended += 1

        return StaleStateGuard(
            self.store, self.bus, builders.HERE, "watcher", end=end, interval_s=0.05, on_facility=on_facility
        )

    def notes(self) -> int:
        """Count what the file holds."""
        with self.store.reading() as db:
            return int(db.execute("SELECT count(*) FROM note").fetchone()[0])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a file that has said three things, was copied, and has said two more."""
    made = World(tmp_path)
    made.store.mark_recovered()
    made.say(3)
    made.store.close()
    shutil.copyfile(made.path, made.copy)
    made.open()
    made.say(2)
    yield made
    made.store.close()
    made.bus.close()


@pytest.mark.fault("F53")
def test_every_event_says_from_which_file_it_comes_and_as_which_of_all(world: World) -> None:
    """The numbers go on across runs; the runs differ."""
    assert [mark.number for mark in world.marks] == [1, 2, 3, 4, 5]
    assert {mark.state for mark in world.marks} == {world.store.identity}
    assert len({mark.run for mark in world.marks}) == 2


@pytest.mark.fault("F53")
def test_a_file_from_a_copy_is_set_aside_and_a_new_one_begun_before_anything_is_said(world: World) -> None:
    """It counts as lost, with a number of its own; a person can still read the old one."""
    world.answers()
    world.back()
    old = world.store.identity
    world.guard().begin_anew_if_old()
    assert world.store.needs_recovery
    assert (world.notes(), Outbox.said(world.store)) == (0, 0)
    assert world.store.identity != old
    (aside,) = world.path.parent.glob("x.sqlite.past-*")
    assert aside.stat().st_size > 0
    world.say()
    assert world.ended == 0


@pytest.mark.fault("F53")
def test_a_file_that_is_as_old_as_what_was_heard_stays(world: World) -> None:
    """A usual start, with and without a gateway; what this run says is not held against it."""
    world.guard().begin_anew_if_old()
    world.answers()
    world.store.close()
    world.open()
    guard = world.guard()
    guard.begin_anew_if_old()
    world.say(5)
    guard.start()
    guard.stop(1)
    assert (world.notes(), world.store.needs_recovery, world.ended) == (3, False, 0)
    assert guard.health_check().ok


@pytest.mark.fault("F53")
def test_a_gateway_that_comes_late_still_tells_and_the_next_start_begins_anew(world: World) -> None:
    """What was said meanwhile went on with the old numbers, and does not hide it."""
    world.back()
    guard = world.guard()
    guard.begin_anew_if_old()
    world.say(9)
    world.answers()
    guard.start()
    eventually(lambda: world.ended == 1, what="the process is asked to end")
    assert not guard.health_check().ok
    assert "older than what others have heard" in guard.health_check().detail
    guard.stop(1)
    world.store.mark_recovered()
    world.store.close()
    world.open()
    assert (world.notes(), world.store.needs_recovery) == (0, True)


@pytest.mark.fault("F53")
def test_each_run_of_the_gateway_is_told_once_what_is_open(world: World) -> None:
    """One that cannot take it yet is told again."""
    told: list[str] = []

    def tell() -> bool:
        told.append(world.facility)
        return len(told) > 1

    world.answers()
    guard = world.guard(tell)
    guard.begin_anew_if_old()
    guard.start()
    eventually(lambda: told == ["one", "one"])
    world.facility = "two"
    eventually(lambda: told == ["one", "one", "two"])
    guard.stop(1)


@pytest.mark.fault("F53")
def test_what_others_hear_is_on_the_disk_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut would make a file from the past of ours."""
    order: list[str] = []
    sync = world.store.sync
    monkeypatch.setattr(world.store, "sync", lambda: (order.append("kept"), sync()))
    with world.store.transaction() as db:
        Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))

    def publish(_event) -> "Future[None]":
        order.append("said")
        done: Future[None] = Future()
        done.set_result(None)
        return done

    box = Outbox(world.store, publish)
    box.start()
    eventually(lambda: box.waiting() == 0)
    box.stop()
    assert order == ["kept", "said"]
