"""Who watches is looked at again and again; who may not watch any more, or of whom nobody can say it, is shown out."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisGone

from datauploader_gateway.auth import stream_monitor
from datauploader_gateway.auth.stream_monitor import AT_ONCE, StreamSessionMonitor
from datauploader_gateway.projection.live import Batch, StreamHandle

Stand = Callable[[Sequence[str]], Coroutine[Any, Any, Sequence[bool]]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a round take no time worth speaking of."""
    monkeypatch.setattr(stream_monitor, "ROUND_S", 0.01)


def guarded(
    stand: Stand, names: Sequence[str], until: Callable[[dict[str, StreamHandle]], bool]
) -> dict[str, StreamHandle]:
    """Have these people watch until something has become true of their leashes."""

    async def watch() -> dict[str, StreamHandle]:
        watching = StreamSessionMonitor[str]()
        leashes = {}
        done = asyncio.Event()

        async def counted(asked: Sequence[str]) -> Sequence[bool]:
            if until(leashes):
                done.set()
            return await stand(asked)

        entered = [watching.monitored(name) for name in names]
        for name, block in zip(names, entered, strict=True):
            leashes[name] = block.__enter__()
        watching.start(counted)
        async with asyncio.timeout(10):
            await done.wait()
        watching.close()
        for block in entered:
            block.__exit__(None, None, None)
        return leashes

    return asyncio.run(watch())


def test_only_those_who_may_stay_go_on() -> None:
    """Of a crowd that is asked about in several questions, one has lost their session."""
    asked: list[int] = []

    async def stand(names: Sequence[str]) -> list[bool]:
        asked.append(len(names))
        return [name != "person 60" for name in names]

    names = [f"person {number}" for number in range(AT_ONCE + 20)]
    leashes = guarded(stand, names, lambda found: found["person 60"].over and len(asked) >= 4)
    assert [name for name, handle in leashes.items() if handle.over] == ["person 60"]
    assert max(asked) == AT_ONCE


@pytest.mark.parametrize("problem", [RedisGone("away"), KeyError("a defect")])
def test_when_nobody_can_say_who_may_stay_everybody_goes(problem: Exception) -> None:
    """They come back when it can be said again; the guard itself goes on."""
    times = 0

    async def stand(names: Sequence[str]) -> list[bool]:
        nonlocal times
        times += 1
        if times == 1:
            raise problem
        return [True] * len(names)

    leashes = guarded(stand, ["anna", "bruno"], lambda _: times >= 3)
    assert all(handle.over for handle in leashes.values())


def test_a_silent_stream_shows_now_and_then_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for nothing gets an empty batch, once until it is read."""
    monkeypatch.setattr(stream_monitor, "TUG_S", 0.02)
    queue: asyncio.Queue[Batch | None] = asyncio.Queue()
    times = 0

    async def stand(names: Sequence[str]) -> list[bool]:
        nonlocal times
        times += 1
        return [True] * len(names)

    def tie(leashes: dict[str, StreamHandle]) -> bool:
        leashes["anna"].attach_queue(queue)
        return times >= 12

    guarded(stand, ["anna"], tie)
    assert queue.qsize() == 1
    batch = queue.get_nowait()
    assert batch is not None
    assert batch.messages == ()
