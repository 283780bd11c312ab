"""How commands read the broker's event log: from a time that a person names, to its end."""

from collections.abc import Iterator
from datetime import timedelta
from queue import Empty, SimpleQueue

from datauploader.errors import BadRequest
from datauploader.messaging import Bus, Delivery, Start
from datauploader.wording import safe

UNITS_S = {"m": 60, "h": 3600, "d": 86400}
LOOK_S = 3.0
"""How long nothing may come of the event log before it is asked whether it is in trouble."""


def span(text: str) -> timedelta:
    """Read how far back somebody wants to go, such as `7d`.

    Raises:
        BadRequest: it is no number with a unit.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS_S or not number.isdigit():
        raise BadRequest(f"--since {safe(text)} is not a time span", "Write a number and m, h or d, such as 7d.")
    return timedelta(seconds=int(number) * UNITS_S[unit])


def logged(bus: Bus, start: Start) -> Iterator[Delivery]:
    """Yield what the event log holds from there on, to its end.

    Raises:
        MessagingError: the log could not be read, or not to its end.
    """
    arrived: SimpleQueue[Delivery | None] = SimpleQueue()
    consumer = bus.replay(start, arrived.put, at_end=lambda: arrived.put(None))
    try:
        while True:
            try:
                delivery = arrived.get(timeout=LOOK_S)
            except Empty:
                if consumer.problem is not None:
                    raise consumer.problem from None
                continue
            if delivery is None:
                return
            yield delivery
    finally:
        consumer.stop(2)
