"""Sign-ins that the broker has refused: which part of the facility they are of, how many, and from where."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from datauploader.messaging import SignIn
from datauploader.messaging.rights import BrokerUser, Speakers
from datauploader.messaging.topology import Queue, catalog_queue, gateway_queue, watcher_queue
from datauploader_gateway.features.operations.diagnosis import Kind, Refused, owner

FORGOTTEN_S = 300.0
"""A name of which nothing is heard for so long is forgotten; our services try again within 45 s."""
OFTEN = 3
"""So often the broker must have refused names that are nobody's until that is told."""
MOST = 5
"""Names of strangers, and addresses, that are kept."""

Part = tuple[Kind, str]
_STRANGERS: Part = ("broker", "broker")


@dataclass(slots=True)
class _Series:
    """Refusals one after the other."""

    began: float
    last: float
    times: int = 0
    names: dict[str, None] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)


class Refusals:
    """Counts refusals until the same name is let in, in memory that the facility's own parts bound, not who tries."""

    def __init__(
        self, queues: Callable[[], Iterable[Queue]], speakers: Speakers, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Know the consumers by their queues, which change while the gateway runs."""
        self._queues, self._speakers, self._clock = queues, speakers, clock
        self._lock = threading.Lock()
        self._found: dict[Part, _Series] = {}

    def note(self, sign_in: SignIn) -> None:
        """Take in what the broker told; called from the thread that hears it."""
        part, now = self._part(sign_in.user), self._clock()
        with self._lock:
            if not sign_in.refused:
                if part != _STRANGERS:
                    self._found.pop(part, None)
                return
            self._forget(now)
            series = self._found.setdefault(part, _Series(now, now))
            series.last, series.times = now, series.times + 1
            for words, word in ((series.names, sign_in.user), (series.hosts, sign_in.host)):
                if word and len(words) < MOST:
                    words[word] = None

    def current(self) -> list[Refused]:
        """Return what is refused now."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            return [
                Refused(kind, part, tuple(one.names), one.times, now - one.began, tuple(one.hosts))
                for (kind, part), one in self._found.items()
                if (kind, part) != _STRANGERS or one.times >= OFTEN
            ]

    def _forget(self, now: float) -> None:
        self._found = {part: one for part, one in self._found.items() if now - one.last < FORGOTTEN_S}

    def _part(self, user: str) -> Part:
        """Say whose name this is; most names are nobody's, because anybody may try any."""
        queue = _queue(self._speakers.who(user))
        return owner(queue.name) if queue and queue.name in {one.name for one in self._queues()} else _STRANGERS


def _queue(user: BrokerUser) -> Queue | None:
    """Return a queue that this user consumes."""
    if user.role == "catalog":
        return catalog_queue()
    if user.role == "gateway":
        return gateway_queue()
    if user.role == "station" and user.station is not None:
        return watcher_queue(user.station)
    return user.queue if user.role in ("harvester", "consumer") else None
