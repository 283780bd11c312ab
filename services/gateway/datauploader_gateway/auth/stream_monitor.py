"""Monitors the sessions behind live streams, and ends the streams of those who may not watch any more."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import structlog
from redis.exceptions import RedisError

from datauploader_gateway.projection.live import StreamHandle

log = structlog.get_logger()

T = TypeVar("T")

ROUND_S = 2.0
"""Seconds for one look at everybody: a revoked session must be quiet within five."""
AT_ONCE = 50
"""Watchers that are asked about in one question; the questions are spread over the round."""
TUG_S = 15.0
"""How often a stream shows that it lives, so that nothing on the way takes it for dead (WHATWG HTML, 9.2.7)."""


class StreamSessionMonitor(Generic[T]):
    """Monitors the sessions of those who watch a stream; lives in the gateway's event loop."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._watching: dict[StreamHandle, T] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, stand: Callable[[Sequence[T]], Awaitable[Sequence[bool]]]) -> None:
        """Begin to look; `stand` tells of each whether they may go on."""
        self._task = asyncio.create_task(self._run(stand))

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    def count(self, matches: Callable[[T], bool]) -> int:
        """Count those who watch now and of whom something is true."""
        return sum(1 for who in self._watching.values() if matches(who))

    @contextmanager
    def monitored(self, who: T) -> Iterator[StreamHandle]:
        """Keep an eye on somebody for the time of a `with` block; the handle ends what they read."""
        handle = StreamHandle()
        self._watching[handle] = who
        try:
            yield handle
        finally:
            del self._watching[handle]

    async def _run(self, stand: Callable[[Sequence[T]], Awaitable[Sequence[bool]]]) -> None:
        clock = asyncio.get_running_loop()
        tug_at = clock.time() + TUG_S
        while True:
            everybody = list(self._watching.items())
            tugs = clock.time() >= tug_at
            if tugs:
                tug_at = clock.time() + TUG_S
            for start in range(0, max(1, len(everybody)), AT_ONCE):
                some = everybody[start : start + AT_ONCE]
                await self._look(some, stand)
                if tugs:
                    for handle, _ in some:
                        handle.send_keepalive()
                await asyncio.sleep(ROUND_S * AT_ONCE / max(AT_ONCE, len(everybody)))

    async def _look(
        self, some: Sequence[tuple[StreamHandle, T]], stand: Callable[[Sequence[T]], Awaitable[Sequence[bool]]]
    ) -> None:
        try:
            answers = await stand([who for _, who in some]) if some else ()
        except RedisError as error:  # nobody can say that their sessions are not over
            log.warning("streams_ended", streams=len(some), problem=str(error))
            answers = [False] * len(some)
        except Exception:  # the boundary of one look: whatever it is, nobody stays who may have to go
            log.exception("stream_monitor_failed")
            answers = [False] * len(some)
        for (handle, _), stands in zip(some, answers, strict=True):
            if not stands:
                handle.end_stream()
