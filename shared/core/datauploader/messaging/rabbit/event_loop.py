"""The one thread that owns every connection of a bus; all others hand it calls, and never touch a connection."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import structlog

from datauploader.errors import BrokerUnreachable

log = structlog.get_logger()

T = TypeVar("T")


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose name look-ups never keep the process from ending, as those of its thread pool would."""

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """Look a host up in a daemon thread."""
        found: asyncio.Future[Any] = self.create_future()

        def settle(result: Any) -> None:
            if found.done():
                return
            if isinstance(result, BaseException):
                found.set_exception(result)
            else:
                found.set_result(result)

        def look_up() -> None:
            try:
                result: Any = socket.getaddrinfo(host, port, **hints)
            except OSError as error:
                result = error
            if not self.is_closed():
                self.call_soon_threadsafe(settle, result)

        threading.Thread(target=look_up, name="broker-address", daemon=True).start()
        return await found


class EventLoopThread:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._loop = _Loop()
        self._loop.set_exception_handler(self._unexpected)
        self._on_unexpected: list[Callable[[BaseException], bool]] = []
        self._thread = threading.Thread(target=self._run, name=f"broker {name}", daemon=True)
        self._thread.start()

    def call(self, step: Callable[..., object], *arguments: object) -> bool:
        """Have the thread call something soon; False when it has ended. The one way in from other threads."""
        try:
            self._loop.call_soon_threadsafe(step, *arguments)
        except RuntimeError:
            return False
        return True

    def wait(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Have the thread run a coroutine, and wait for its result.

        Raises:
            BrokerUnreachable: it was not done in time, or the thread has ended.
        """
        assert threading.current_thread() is not self._thread, "the owner cannot wait for itself"
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise BrokerUnreachable("the bus is closed") from None
        try:
            return future.result(timeout_s)
        except (TimeoutError, CancelledError):
            future.cancel()
            raise BrokerUnreachable(f"the broker did not answer within {timeout_s:g} s") from None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin a task; only the owner's thread may call this."""
        return self._loop.create_task(coroutine)

    def on_unexpected(self, drop: Callable[[BaseException], bool]) -> None:
        """Call `drop` when pika failed in the middle of its own work; it gives a connection up, if it has one."""
        self._on_unexpected.append(drop)

    def end(self, timeout_s: float = 2.0) -> None:
        """End the thread, and what still runs in it."""
        self.call(self._loop.stop)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        async def cancel_all() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # pika closes the sockets that were given up in the loop's next round

        self._loop.run_forever()
        self._loop.run_until_complete(cancel_all())
        self._loop.close()

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Give up the connections that are in use when a callback failed: pika does not know where it stands then.

        It also stumbles over connections that were given up already, which is of no interest.
        """
        error = context.get("exception") or RuntimeError(context.get("message", "unknown"))
        if "handle" not in context:
            log.error("broker_task_failed", exc_info=error)
            return
        dropped = [drop(error) for drop in self._on_unexpected]
        if any(dropped):
            log.error("broker_connection_failed", exc_info=error)
