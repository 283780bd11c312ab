"""The service of a consumer: reads its queue while a function can be called, and says how it is."""

import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import structlog
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from datauploader.contracts import Station
from datauploader.errors import ConfigurationError
from datauploader.messaging import Consumer
from datauploader.messaging.rights import BrokerUser
from datauploader.plugins.consumer.plug_in import ConsumerPlugIn
from datauploader.plugins.consumer.runner import KEPT_S, HandlerRunner
from datauploader.reliability import Outbox, Store, inbox, outbox
from datauploader.reliability.heartbeat import Heartbeat
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime.config import SectionSettings
from datauploader.runtime.service import Check, Context

__all__ = ["KEPT_S", "ConsumerService", "ConsumerSettings"]

log = structlog.get_logger()

_LOOK_S = 5.0
_PAUSE_S = 5.0
"""What deliveries that are being settled may take when the consumer pauses."""


class ConsumerSettings(SectionSettings):
    """How consumers work that are no harvesters: table `[consumers]`."""

    section: ClassVar[str] = "consumers"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_CONSUMERS_")

    seconds: float = Field(default=300.0, gt=0, le=600)
    """How long a message waits for its function; then it is delivered again later, while the function goes on. The
    broker closes a channel on which a message waits for half an hour."""
    at_once: int = Field(default=1, ge=1, le=64)
    """How many events are handled at once; 1 keeps their order."""
    events: str = ""
    """Which events the administrator has given to the queue, separated by commas, as `admin add-consumer` writes them;
    the service does not start if it wants others. Empty: not compared."""
    report_interval_s: float = Field(default=30.0, gt=0)
    """How often a consumer says that it is alive, and what keeps it from its work."""


class ConsumerService:
    """Calls a consumer's functions for what its queue brings."""

    def __init__(self, context: Context, plug_in: ConsumerPlugIn[Any], settings: ConsumerSettings) -> None:
        """Open the state; nothing runs before `start`.

        Raises:
            ConfigurationError: its settings are wrong, or its queue does not hear what it wants.
        """
        self.name = plug_in.service
        _compare(plug_in, settings.events.split(",") if settings.events else ())
        self._bus, self._at_once = context.bus, settings.at_once
        self._queue = BrokerUser.of_consumer(plug_in.name, plug_in.topics).queue
        path = context.settings.state_dir / f"consumer-{plug_in.name}.sqlite"
        store = Store(path, [inbox.SCHEMA, outbox.SCHEMA])
        self._change = threading.Condition()
        self._runner = HandlerRunner(
            plug_in, plug_in.load_settings(), store, seconds=settings.seconds, at_once=settings.at_once,
            changed=self._wake,
        )  # fmt: skip
        self._thread = WorkerThread(self._consume, name=self.name)
        self._consumer: Consumer | None = None
        self._heartbeat = Heartbeat(
            context.bus.publish, Outbox(store, context.bus.publish),
            Station.of_consumer(context.settings.facility, plug_in.name), self.name,
            distribution="ceric-datauploader-core", interval_s=settings.report_interval_s,
            troubles=lambda: (check.detail for check in self.checks() if not check.ok),
        )  # fmt: skip

    def start(self) -> None:
        """Begin to consume."""
        self._thread.start()
        self._heartbeat.start()

    def stop(self, deadline_s: float) -> None:
        """End; an event whose function has not returned is handled again at the next start."""
        end = time.monotonic() + deadline_s
        self._heartbeat.stop(deadline_s / 6)
        self._runner.stopping.set()
        self._wake()
        if self._consumer is not None:
            self._consumer.stop(max(0.0, end - time.monotonic()) / 2)
        self._thread.join(max(0.0, end - time.monotonic()))

    def checks(self) -> Sequence[Check]:
        """Say whether functions return."""
        trouble = self._thread.problem or self._runner.problem
        return (Check("functions", not trouble, trouble),)

    def _wake(self) -> None:
        with self._change:
            self._change.notify()

    def _consume(self) -> None:
        """Consume, but not while nothing can be handled: messages stay in the queue and are no attempts then."""
        while not self._runner.stopping.is_set():
            if self._runner.full and self._consumer is not None:
                log.info("consuming_paused", reason=self._runner.problem)
                self._consumer.stop(_PAUSE_S)
                self._consumer = None
            elif not self._runner.full and self._consumer is None:
                # what is fetched ahead waits for at most two functions: less than the broker allows
                self._consumer = self._bus.consume(
                    self._queue, self._runner, workers=self._at_once, prefetch=2 * self._at_once
                )
            with self._change:
                self._change.wait_for(self._is_due, _LOOK_S)

    def _is_due(self) -> bool:
        return self._runner.stopping.is_set() or self._runner.full == (self._consumer is not None)


def _compare(plug_in: ConsumerPlugIn[Any], given: Sequence[str]) -> None:
    if not plug_in.handlers:
        raise ConfigurationError(f"the consumer {plug_in.name} has no function: decorate one with @….on(EVENT)")
    if given and (missing := set(plug_in.topics) - set(given)):
        wanted = ",".join(sorted({*given, *plug_in.topics}))
        raise ConfigurationError(
            f"the queue of the consumer {plug_in.name} does not get {', '.join(sorted(missing))}; on the server run: "
            f"./admin add-consumer {plug_in.name} --events {wanted}"
        )
