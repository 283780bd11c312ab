"""Movers elsewhere: processes that are lent batches by a transfer, and what becomes of files when one of them fails."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from datauploader.contracts import FileFailed, FileStored, StationReported
from datauploader.contracts.model import Question
from datauploader.contracts.moves import BeginMoves, EndMoves, Lent, Move, MoveOutcome, Moves, RenewMoves, TakeMoves
from datauploader.contracts.stations import MoverElsewhere
from datauploader.errors import QuestionRefused
from datauploader.messaging import connect
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.outcomes import source_gone
from datauploader_transfer.lent_batch import LentBatch
from datauploader_transfer.memory_mover import MemoryMover, MemoryStorage
from datauploader_transfer.mover_service import MoverService
from datauploader_transfer.ports import Outcome
from datauploader_transfer.roots import SourceRoots
from datauploader_transfer.settings import TransferSettings

from .test_transfer_service import HERE, UPLOAD, World

LEASE_S = 1.5


class Held(MemoryMover):
    """A mover that waits before each call until it is let go, and counts what it was given."""

    def __init__(self, storages: Any) -> None:
        super().__init__(storages)
        self.free = threading.Event()
        self.free.set()
        self.given: list[str] = []
        self.ended = threading.Event()

    def move(self, remote: str, items: Any, **more: Any) -> list[Outcome]:
        """Wait, then move."""
        self.given += [item.target for item in items]
        if not self.free.wait(30):
            raise TimeoutError
        try:
            return super().move(remote, items, **more)
        finally:
            self.ended.set()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A transfer that lends batches, with one mover of its own."""
    made = World(tmp_path, movers=1, movers_elsewhere=4, lease_s=LEASE_S, batch_files=5)
    yield made
    made.stop()
    made.outside.close()


@pytest.fixture
def helper(world: World, tmp_path: Path) -> Iterator[Callable[..., MoverService]]:
    """Starts mover services; each has its own bus."""
    started: list[tuple[MoverService, Any]] = []

    def start(mover: MemoryMover, **settings: object) -> MoverService:
        bus = connect(world.url, name="mover")
        common = Settings(facility="elettra", beamline="xrd1", station="ws01", state_dir=tmp_path / "mover")
        service = MoverService(
            Context(common, bus), mover, TransferSettings.model_validate({"movers": 1, **settings})
        )  # fmt: skip
        service.start()
        started.append((service, bus))
        eventually(lambda: not service.checks()[0].detail, what="the mover is given work")
        return service

    yield start
    for service, bus in started:
        service.stop(5.0)
        bus.close()


def ask(world: World, question: Question) -> Any:
    """Ask as a mover does."""
    return world.outside.ask(question, Moves if isinstance(question, TakeMoves) else Lent, station=HERE).result(60)


def take(world: World, name: str = "m1") -> Moves:
    """Ask for work until there is some."""
    return eventually(
        lambda: moves if (moves := ask(world, TakeMoves(mover=name, host="pc2"))).batch else None,
        what="a batch is lent",
    )


def test_an_upload_is_shared_and_nothing_is_moved_twice(world: World, helper: Any) -> None:
    """Two movers elsewhere and the one here store every file once, each some of them."""
    movers = [Held({"store": world.storage}) for _ in range(2)]
    for mover in movers:
        helper(mover)
    files = [world.write(f"f{number:03}", b"%d" % number) for number in range(200)]
    for first in range(0, 200, 20):
        world.announce(*files[first : first + 20])
    stored = world.stored(200)
    assert sorted(one.file.path for one in stored) == [file.path for file in files]
    assert all(one.state == "verified" for one in stored)
    given = [target for mover in movers for target in mover.given]
    assert len(given) == len(set(given))
    assert all(mover.given for mover in movers)


def test_what_a_dead_mover_had_is_moved_by_others_after_its_lease(world: World) -> None:
    """A mover that takes a batch, says that it begins, and is never heard of again delays its files alone."""
    ask(world, TakeMoves(mover="m1"))
    files = [world.write(f"f{number}", b"data") for number in range(15)]
    world.announce(*files)
    batch = take(world)
    keys = tuple(one.file.key for one in batch.items)
    assert ask(world, BeginMoves(batch=batch.batch, keys=keys, new=keys)).held
    assert len(world.stored(15)) == 15
    assert not ask(world, RenewMoves(batch=batch.batch)).held
    assert not ask(world, BeginMoves(batch=batch.batch, keys=keys)).held
    assert not ask(world, EndMoves(batch=batch.batch)).held
    assert set(world.storage.objects.values()) == {b"data"}


def test_a_batch_is_kept_for_as_long_as_its_mover_speaks(world: World) -> None:
    """Renewals keep a batch lent, far beyond one lease; what is stored then counts."""
    ask(world, TakeMoves(mover="m1"))
    version = world.write("slow", b"data")
    world.announce(version, *(world.write(f"f{number}", b"data") for number in range(14)))
    batch = take(world)
    renewed = threading.Event()

    def renew() -> None:
        while not renewed.wait(LEASE_S / 5):
            assert ask(world, RenewMoves(batch=batch.batch, moved=1)).held

    thread = threading.Thread(target=renew)
    thread.start()
    others = 15 - len(batch.items)
    world.stored(others)
    assert not renewed.wait(2 * LEASE_S)
    assert len(world.stored(others)) == others
    renewed.set()
    thread.join()
    for one in batch.items:
        world.storage.objects[one.object] = b"data"
    outcomes = tuple(
        MoveOutcome(key=one.file.key, state="verified", method="backend md5", proof_ms=70_000 + number)
        for number, one in enumerate(batch.items)
    )
    assert ask(world, EndMoves(batch=batch.batch, outcomes=outcomes)).held
    assert len(world.stored(15)) == 15
    proofs = {data.proof_ms for data in world.heard if isinstance(data, FileStored)}
    assert 70_000 + len(batch.items) - 1 in proofs


def test_an_answer_that_was_lost_gives_the_same_batch_again(tmp_path: Path) -> None:
    """A mover that asks again gets what it was given, not another batch."""
    world = World(tmp_path, movers=1, movers_elsewhere=1, lease_s=60, batch_files=5)
    try:
        ask(world, TakeMoves(mover="m1"))
        world.announce(*(world.write(f"f{number}", b"data") for number in range(15)))
        assert take(world).batch == take(world).batch
    finally:
        world.stop()
        world.outside.close()


def test_what_a_mover_could_not_store_is_judged_here(world: World, helper: Any) -> None:
    """A storage that one computer cannot reach is not away: its files are stored from here, and no failure is told."""
    gate, move = threading.Event(), world.mover.move

    def late(*args: Any, **more: Any) -> list[Outcome]:  # it is busy for as long as the broken one is given work
        gate.wait(30)
        return move(*args, **more)

    world.mover.move = late  # type: ignore[method-assign]
    world.announce(*(world.write(f"f{number:02}", b"data") for number in range(15)))
    eventually(lambda: world.service._worker.moving().get(UPLOAD), what="the mover here has begun")
    broken = Held({"store": MemoryStorage(down="dial tcp 10.0.0.1:443: connect: network is unreachable")})
    helper(broken)
    eventually(lambda: len(broken.given) == 10, what="it was given the rest")
    world.announce(*(world.write(f"g{number}", b"data") for number in range(5)))
    eventually(lambda: len(broken.given) >= 15, what="it was given something new")
    assert len(set(broken.given)) == 15, "nothing is given to it twice"
    gate.set()
    assert len(world.stored(20)) == 20
    assert not [data for data in world.heard if isinstance(data, FileFailed)]


def test_a_file_that_is_missing_only_where_the_mover_runs_is_not_called_gone(world: World, helper: Any) -> None:
    """A mover that sees another folder under the same name proves nothing about the file."""

    class Blind(MemoryMover):
        def move(self, remote: str, items: Any, **more: Any) -> list[Outcome]:
            return [source_gone(item) for item in items]

    helper(Blind({"store": world.storage}))
    world.announce(*(world.write(f"f{number}", b"data") for number in range(40)))
    assert len(world.stored(40)) == 40
    assert not [data for data in world.heard if isinstance(data, FileFailed)]


def test_a_mover_without_the_folder_declines_and_transfer_says_so(world: World, helper: Any, tmp_path: Path) -> None:
    """Its reason stands in transfer's health, and the files are stored from here."""
    maps = [{"station": HERE.key, "from": str(world.source), "to": str(tmp_path / "not-mounted")}]
    helper(MemoryMover({"store": world.storage}), root_maps=maps)
    world.announce(*(world.write(f"f{number}", b"data") for number in range(40)))
    assert len(world.stored(40)) == 40
    said = eventually(
        lambda: [check.detail for check in world.service.checks() if check.name == "movers"], what="it is said"
    )
    assert "not-mounted is not there" in said[0]


def reported(world: World) -> dict[str, MoverElsewhere]:
    """Return what transfer has said last of its movers, by their computers."""
    said = [data for data in world.heard if isinstance(data, StationReported)]
    return {one.host: one for one in said[-1].movers} if said else {}


def test_transfers_report_names_its_movers_and_what_they_hold(tmp_path: Path) -> None:
    """One row for each process, and how long it was silent; who gets nothing because there are enough is among them."""
    world = World(tmp_path, movers=1, movers_elsewhere=2, lease_s=60, batch_files=5, report_interval_s=0.1)
    gate, move = threading.Event(), world.mover.move
    try:
        for name in ("aa-0", "aa-1"):
            ask(world, TakeMoves(mover=name, host="pc2"))
        with pytest.raises(QuestionRefused, match="movers_elsewhere"):
            ask(world, TakeMoves(mover="bb-0", host="pc3"))
        world.mover.move = lambda *args, **more: gate.wait(30) and move(*args, **more)  # type: ignore[method-assign]
        world.announce(*(world.write(f"f{number}", b"data") for number in range(15)))
        batch = take(world, "aa-0")
        held = eventually(
            lambda: one if (one := reported(world).get("pc2")) and one.files else None, what="it holds files"
        )
        assert (held.name, held.files, held.bytes) == ("aa", len(batch.items), 4 * len(batch.items))
        assert (held.gone, held.trouble) == (False, "")
        other = reported(world)["pc3"]
        assert (other.name, other.files, other.gone) == ("bb", 0, False)
        assert "lends batches to 2 movers: see movers_elsewhere" in other.trouble
    finally:
        gate.set()
        world.stop()
        world.outside.close()


def test_a_lost_lease_is_told_of_in_plain_words(tmp_path: Path) -> None:
    """What happened, that nothing is lost, and what to do; a mover that is silent is called gone and holds nothing."""
    world = World(tmp_path, movers=1, movers_elsewhere=4, lease_s=LEASE_S, batch_files=5, report_interval_s=0.1)
    try:
        ask(world, TakeMoves(mover="m1-0", host="pc2"))
        world.announce(*(world.write(f"f{number}", b"data") for number in range(15)))
        take(world, "m1-0")
        assert len(world.stored(15)) == 15
        gone = eventually(
            lambda: one if (one := reported(world).get("pc2")) and one.gone else None, what="it is called gone"
        )
        assert (gone.files, gone.bytes) == (0, 0)
        assert gone.heard_s > LEASE_S
        assert "Nothing was heard of it for 1.5 s while it moved" in gone.trouble
        assert "nothing is lost" in gone.trouble
        ask(world, TakeMoves(mover="m1-0", host="pc2"))
        eventually(lambda: not reported(world)["pc2"].gone, what="it is heard again")
    finally:
        world.stop()
        world.outside.close()


def test_a_mover_that_gets_no_answer_stops_before_its_lease_is_over(world: World, helper: Any) -> None:
    """Without transfer a mover writes nothing more, although it could."""
    mover = Held({"store": world.storage})
    mover.free.clear()
    helper(mover)
    world.announce(*(world.write(f"f{number}", b"data") for number in range(15)))
    eventually(lambda: mover.given, what="a batch is lent")
    lent = list(mover.given)
    world.stop()
    mover.free.set()
    assert mover.ended.wait(10)
    assert not set(lent) & set(world.storage.objects)
    world.start()
    assert len(world.stored(15)) == 15


def test_what_was_lent_before_a_crash_is_left_alone_until_every_lease_is_over(world: World) -> None:
    """A transfer that was killed does not write what a mover may still be writing; everything else goes on at once."""
    world.storage.down = "dial tcp 127.0.0.1:1: connect: connection refused"
    world.announce(*(world.write(f"f{number}", b"data") for number in range(5)))
    world.failed(5)
    world.stop()
    world.storage.down = ""
    with closing(sqlite3.connect(world.state / "transfer.sqlite")) as db, db:
        db.execute("UPDATE jobs SET state = 'moving', due = 0")
    world.start()
    world.announce(*(world.write(f"g{number}", b"data") for number in range(5)))
    assert {one.file.path[0] for one in world.stored(5)} == {"g"}
    assert len(world.storage.objects) == 5
    assert len(world.stored(10)) == 10


def test_without_the_setting_nobody_is_lent_anything(tmp_path: Path) -> None:
    """A mover hears which setting it takes."""
    made = World(tmp_path)
    try:
        with pytest.raises(QuestionRefused, match="movers_elsewhere"):
            ask(made, TakeMoves(mover="m1"))
    finally:
        made.stop()
        made.outside.close()


def test_nothing_is_written_of_a_batch_that_is_not_lent_any_more(world: World) -> None:
    """Before the first byte the mover asks; where the answer is no, it leaves the batch as it is."""
    version = world.write("a", b"data")
    items = (Move(file=version, object="20260101/run1/a"),)
    moves = Moves(batch="b1", lease_s=60, remote="store", root=str(world.source), station=HERE.key, items=items)
    asked: list[Question] = []

    def answer(question: BeginMoves | RenewMoves | EndMoves) -> Lent:
        asked.append(question)
        return Lent(held=False)

    batch = LentBatch(moves, time.monotonic(), answer, threading.Event())
    said = batch.work(MemoryMover({"store": world.storage}), SourceRoots(HERE, ()))
    assert "gave the files of a batch to others" in said
    assert [type(question) for question in asked] == [BeginMoves]
    assert not world.storage.objects
