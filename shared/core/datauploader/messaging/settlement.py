"""The settlement of a delivery whose handler has ended: one rule for every engine."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from datauploader.contracts.envelope import decode
from datauploader.errors import ContractError, Misdirected, Park, Retry
from datauploader.messaging.port import Delivery, Handler, Skips, Together, skip_nothing
from datauploader.messaging.provenance import Check, unchecked
from datauploader.messaging.topology import DELIVERY_LIMIT, MOST_RETRIES, RETRY_DELAYS_S, delay_for_attempt

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settlement:
    """The settlement of one delivery: done; or again after a delay; or parked for a person with a reason."""

    what: Literal["done", "again", "park"]
    delay_s: float = 0
    reason: str = ""
    failures: int = 0
    """Unexpected errors so far, which count towards the delivery limit."""
    forged: bool = False
    """Parked because its sender had no right to say it: nobody may replay it."""


DONE = Settlement("done")
_LONGEST_WAIT_S = 10.0
"""Seconds between two attempts at one entry of the log, at most."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came to a consumer."""

    body: bytes
    attempt: int
    failures: int
    check: Check = unchecked
    sender: str = ""

    def read(self) -> Delivery:
        """Decode and check it."""
        event = decode(self.body)
        self.check(event)
        return Delivery(event, self.attempt, sender=self.sender)


def handle_all(
    arrivals: Sequence[Arrival], handler: Handler, together: Together | None, *,
    delays: tuple[float, ...] = RETRY_DELAYS_S, skips: Skips = skip_nothing,
) -> list[Settlement]:  # fmt: skip
    """Give what came together to `together`; where anything keeps it from that, each to the handler alone."""
    if together is not None and len(arrivals) > 1:
        try:
            if needed := [arrival.read() for arrival in arrivals if not skips(arrival.body)]:
                together(needed)
        except Exception as error:  # noqa: BLE001 - the dispatch boundary: who it was, and why, shows one by one
            log.debug("messages_handled_one_by_one", messages=len(arrivals), reason=f"{type(error).__name__}: {error}")
        else:
            return [DONE] * len(arrivals)
    return [
        handle(
            one.body, handler, attempt=one.attempt, failures=one.failures, delays=delays, check=one.check,
            sender=one.sender, skips=skips,
        )
        for one in arrivals
    ]  # fmt: skip


def handle(
    body: bytes,
    handler: Handler,
    *,
    attempt: int,
    failures: int,
    delays: tuple[float, ...] = RETRY_DELAYS_S,
    check: Check = unchecked,
    sender: str = "",
    skips: Skips = skip_nothing,
) -> Settlement:
    """Decode a body, give it to the handler, and judge how that ended.

    Args:
        body: the encoded event.
        handler: what the service does with it.
        attempt: 1 for the first delivery, counting re-deliveries and retries.
        failures: unexpected errors that this message has met before.
        delays: those that the engine offers, in seconds.
        check: refuses an event that came in a way that is not its own.
        sender: the broker's user who said it.
        skips: tells which bodies the handler has no use for.
    """
    try:
        if not skips(body):
            event = decode(body)
            check(event)
            handler(Delivery(event, attempt, sender=sender))
    except ContractError as error:
        return Settlement("park", reason=str(error), failures=failures, forged=isinstance(error, Misdirected))
    except Park as error:
        return Settlement("park", reason=str(error), failures=failures)
    except Retry as error:
        if attempt > MOST_RETRIES:
            return Settlement("park", reason=f"tried {attempt} times: {error}", failures=failures)
        return Settlement(
            "again", delay_for_attempt(attempt, error.after.total_seconds(), delays), str(error), failures
        )
    except Exception as error:  # noqa: BLE001 - the dispatch boundary: whatever a handler raises becomes a verdict
        return _unexpected(error, failures + 1, delays)
    return DONE


def _unexpected(error: Exception, failures: int, delays: tuple[float, ...]) -> Settlement:
    reason = f"{type(error).__name__}: {error}"
    if failures >= DELIVERY_LIMIT:
        log.error("handler_failed_and_message_parked", failures=failures, exc_info=error)
        return Settlement("park", reason=f"failed {failures} times, at last with {reason}", failures=failures)
    log.warning("handler_failed", failures=failures, exc_info=error)
    return Settlement("again", delay_for_attempt(failures, 0, delays), reason, failures)


def read_entry(
    body: bytes, handler: Handler, *, offset: int, ended: Callable[[float], bool], check: Check = unchecked,
    sender: str = "",
) -> bool:  # fmt: skip
    """Give one entry of the event log to its handler, again for as long as that asks for it; then go on.

    Args:
        body: the encoded event.
        handler: what the reader does with it.
        offset: the entry's place in the log.
        ended: waits so many seconds, and tells whether the reader is to end.
        check: refuses an event that came in a way that is not its own.
        sender: the broker's user who said it.

    Returns:
        Whether the entry is dealt with; False when the reader was ended before.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            event = decode(body)
            check(event)
            handler(Delivery(event, attempt, offset, sender))
        except Retry as error:
            if ended(min(error.after.total_seconds(), _LONGEST_WAIT_S)):
                return False
            continue
        except (ContractError, Park) as error:
            log.warning("log_entry_skipped", offset=offset, reason=str(error))
        except Exception:  # the dispatch boundary: whatever a handler raises, the reader goes on
            log.exception("log_entry_failed", offset=offset)
        return True


def identify(body: bytes) -> tuple[str, str]:
    """Read an event's id and trace from its body; of what is no event, a digest and no trace."""
    try:
        event = decode(body)
    except ContractError:
        return hashlib.sha256(body).hexdigest()[:32], ""
    return event.id, event.trace_id
