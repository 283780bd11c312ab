"""A consumer as its author writes it: which function is called for which event, and what the function is given."""

import difflib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import structlog

from datauploader.contracts import Event, EventData
from datauploader.contracts.registry import EVENTS, topic
from datauploader.errors import ConfigurationError
from datauploader.runtime.config import SectionSettings, load
from datauploader.runtime.service import Context

if TYPE_CHECKING:
    from datauploader.plugins.consumer.service import ConsumerService

D = TypeVar("D", bound=EventData)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

_KINDS = {topic(kind): kind for kind in EVENTS}


@dataclass(frozen=True, slots=True)
class HandlerContext(Generic[S_co]):
    """What a function is given beside its event."""

    settings: S_co
    """The consumer's own settings."""
    key: str
    """An idempotency key: the same whenever this event is handled, for whatever outside can tell a repetition by it."""
    attempt: int = 1
    """1 for the first time."""
    log: Any = field(default_factory=structlog.get_logger)
    """A logger of structlog that knows the consumer and the event: `context.log.info("told", files=3)`."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the service is to stop: what takes long ends then, and raises `Retry`."""


EventHandler = Callable[[Event[D], HandlerContext[S]], None]
"""Returns: done. Raises Park: for a person. Raises Retry: again later. Anything else: again, five times at most."""


@dataclass(slots=True)
class ConsumerPlugIn(Generic[S]):
    """A consumer, and the factory of its service."""

    name: str
    settings_class: type[Any] | None = None
    """The class of its settings; None where it has none."""
    handlers: dict[type[EventData], EventHandler[Any, S]] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """Name its service."""
        return f"{self.name}-consumer"

    @property
    def topics(self) -> tuple[str, ...]:
        """The kinds of events that it wants, such as `dataset.completed.v1`."""
        return tuple(sorted(map(topic, self.handlers)))

    @overload
    def on(self, kind: type[D], /) -> Callable[[EventHandler[D, S]], EventHandler[D, S]]: ...
    @overload
    def on(self, *kinds: type[EventData] | str) -> Callable[[EventHandler[Any, S]], EventHandler[Any, S]]: ...
    def on(self, *kinds: type[EventData] | str) -> Callable[[EventHandler[Any, S]], EventHandler[Any, S]]:
        """Decorate the function that is called for events of these kinds, each a class or a name with its version.

        Raises:
            ConfigurationError: there is no such event, or another function is called for it.
        """
        wanted = [event_kind(kind) if isinstance(kind, str) else kind for kind in kinds]
        if not wanted:
            raise ConfigurationError(f"the consumer {self.name} has a function without an event; write @….on(EVENT)")

        def register(handler: EventHandler[Any, S]) -> EventHandler[Any, S]:
            for kind in wanted:
                if kind in self.handlers:
                    raise ConfigurationError(
                        f"the consumer {self.name} has two functions for {topic(kind)}; one calls the other, or each "
                        f"belongs to a consumer of its own"
                    )
                self.handlers[kind] = handler
            return handler

        return register

    def load_settings(self) -> S:
        """Read its own settings.

        Raises:
            ConfigurationError: says what is wrong with them.
        """
        if self.settings_class is None:
            return cast("S", None)
        return cast("S", load(self.settings_class))

    def __call__(self, context: Context) -> "ConsumerService":
        """Build the service, without starting anything."""
        from datauploader.plugins.consumer.service import ConsumerService, ConsumerSettings  # noqa: PLC0415 - its parts

        return ConsumerService(context, self, load(ConsumerSettings))


@overload
def consumer(name: str) -> ConsumerPlugIn[None]: ...
@overload
def consumer(name: str, settings: type[S]) -> ConsumerPlugIn[S]: ...
def consumer(name: str, settings: type[Any] | None = None) -> ConsumerPlugIn[Any]:
    """Make a consumer, without functions yet; what an entry point of the group `datauploader.services` names.

    Args:
        name: of the consumer; its queue and its account at the broker are `consumer.<name>`.
        settings: a class derived from `datauploader.runtime.config.SectionSettings`.

    Raises:
        ConfigurationError: the name cannot be, or the class is another one.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name):
        raise ConfigurationError(f"{name!r} cannot be the name of a consumer: write a-z, 0-9, - and _, a letter first")
    if settings is not None and not issubclass(settings, SectionSettings):
        raise ConfigurationError(f"the settings of the consumer {name} must be derived from SectionSettings")
    return ConsumerPlugIn(name, settings)


def event_kind(name: str) -> type[EventData]:
    """Find an event by its name with its version.

    Raises:
        ConfigurationError: there is none.
    """
    if name in _KINDS:
        return _KINDS[name]
    near = difflib.get_close_matches(name, _KINDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "docs/reference/messages.md lists all"
    raise ConfigurationError(f"there is no event {name!r}; {hint}")
