"""One process and the services in it: built, started, watched by signals, stopped within their time."""

import gc
import signal
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from types import FrameType

import structlog

from datauploader.errors import ConfigurationError, MessagingError, StateError
from datauploader.files import win32
from datauploader.messaging import connect
from datauploader.messaging.port import Bus
from datauploader.reliability import FolderLock, worker
from datauploader.runtime import logging, metrics, tracing
from datauploader.runtime.config import Settings
from datauploader.runtime.health import HealthServer
from datauploader.runtime.installed import find
from datauploader.runtime.service import Check, Context, Service

log = structlog.get_logger()

COLLECT_AT = (5_000, 20, 200)
"""When Python looks for garbage in rings: each look at everything stopped a gateway with 500 streams for 0.9 s."""
WITHOUT_STATE = ("mover",)
"""Services that keep nothing, so that any number of them may run in one place."""
STOP_S = 9.0
"""Seconds that all services of a process have together to stop; an init system waits ten."""


class Runtime:
    """Services that live together in this process, each with a connection of its own to the broker."""

    def __init__(self, names: Sequence[str], settings: Settings, *, end: Callable[[], None] = lambda: None) -> None:
        """Build the services without starting them; they call `end` to have the process end.

        Raises:
            ConfigurationError: a service is not installed here or its settings are wrong.
            StateUnavailable: another process runs a service of the same name on the same state folder.
        """
        self._settings, self._began_at = settings, time.monotonic()
        self._buses: list[Bus] = []
        self.services: list[Service] = []
        self._health: HealthServer | None = None
        self._locks: list[FolderLock] = []
        found = [find(name) for name in names]
        try:
            if settings.alone:
                self._locks += (FolderLock(settings.state_dir, name) for name, _ in found if name not in WITHOUT_STATE)
            for name, factory in found:
                bus = connect(
                    settings.broker.get_secret_value(),
                    name=bus_name(name, settings),
                    declare=settings.declare,
                    users=settings.broker_users,
                )
                self._buses.append(bus)
                self.services.append(factory(Context(settings=settings, bus=bus, end=end)))
        except BaseException:
            self._unlock()
            raise

    def start(self) -> None:
        """Start every service; if one cannot, stop the others and say why."""
        tracing.start(",".join(service.name for service in self.services))
        metrics.PROCESS.watch_checks(self._told)
        metrics.PROCESS.certificates.add("broker", self._settings.broker.get_secret_value())
        if self._settings.health_port is not None:
            self._health = HealthServer(self._settings.health_host, self._settings.health_port, self.checks)
            self._health.start()
        started: list[Service] = []
        try:
            for service in self.services:
                service.start()
                started.append(service)
                log.info("service_started", started=service.name, version=version("ceric-datauploader-core"))
        except BaseException:
            self.services = started
            self.stop()
            raise

    def checks(self) -> list[Check]:
        """Collect the checks of the broker's connections and of all services."""
        found = []
        for service, bus in zip(self.services, self._buses, strict=False):
            health = bus.health()
            found.append(Check(f"{service.name}.broker", health.ok and not health.blocked, health.detail))
            found += [Check(f"{service.name}.{c.name}", c.ok, c.detail) for c in service.checks()]
        said = "; ".join(worker.problems(since=self._began_at))
        return [*found, Check("threads", not said, said)]

    def _told(self) -> list[tuple[str, str, bool]]:
        """Tell each check by its service and its name; those of the process as a whole have no service."""
        parts = (
            (check.name.rpartition(".") if "." not in check.name else check.name.partition("."), check)
            for check in self.checks()
        )
        return [(service, name, check.ok) for (service, _, name), check in parts]

    def stop(self, within_s: float = STOP_S) -> None:
        """Stop all services at once, then their connections; never longer than `within_s`."""
        end = time.monotonic() + within_s

        def stop_service(service: Service) -> None:
            try:
                service.stop(within_s * 0.7)
            except Exception:  # the shutdown path: the others must stop as well
                log.exception("service_did_not_stop", stopping=service.name)

        stoppers = [threading.Thread(target=stop_service, args=(service,), daemon=True) for service in self.services]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join(max(0.0, end - time.monotonic() - within_s * 0.25))
        for bus in self._buses:
            bus.close(max(0.1, (end - time.monotonic()) / 2))
        if self._health is not None:
            self._health.stop()
        metrics.PROCESS.forget_checks(self._told)
        tracing.stop()
        self._unlock()
        log.info("service_stopped")

    def _unlock(self) -> None:
        for lock in self._locks:
            lock.release()


def bus_name(service: str, settings: Settings) -> str:
    """Name a connection so that a person finds it in the broker's management page; the engine adds host and pid."""
    return f"{service} {settings.here}"


def run(
    names: Sequence[str],
    settings: Settings,
    *,
    ending: threading.Event | None = None,
    on_started: Callable[[], None] = lambda: None,
    on_failed: Callable[[str], None] = lambda _: None,
) -> int:
    """Run services until SIGTERM or SIGINT, or until `ending` is set.

    Args:
        names: of the services.
        settings: what they need to know.
        ending: set by somebody else to have them stop.
        on_started: called when all have started.
        on_failed: called with the reason when one cannot start.

    Returns:
        The exit code: 0 after a clean stop, 2 when a setting or a state file is wrong, 5 when the broker refused.
    """
    try:
        who = ",".join(find(name).name if name.endswith(".toml") else name for name in names)
        logging.configure(who, level=settings.log_level, as_json=settings.log_json, file=settings.log_file)
    except OSError as error:
        raise ConfigurationError(f"log_file {settings.log_file} cannot be written: {error.strerror or error}") from None
    ending = ending or threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    for number in win32.STOP_SIGNALS:
        signal.signal(number, end)
    try:
        runtime = Runtime(names, settings, end=ending.set)
        runtime.start()
    except (ConfigurationError, StateError, MessagingError) as error:
        log.error("service_start_failed", problem=str(error))  # noqa: TRY400 - a sentence, not a traceback
        on_failed(str(error))
        return 5 if isinstance(error, MessagingError) else 2
    on_started()
    gc.collect()
    gc.freeze()  # what was built at the start stays; nobody need look through it again
    gc.set_threshold(*COLLECT_AT)
    while not ending.wait(1.0):  # a wait without end would keep Windows from seeing Ctrl-C
        pass
    runtime.stop()
    return 0
