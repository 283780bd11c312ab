"""Stale state: whether a state file is older than what the world has heard from it, as when put back from a copy.

A file that is lost is made up for; one that is old believes what is not true any more. So it counts as lost (ADR 29).
The gateway hears everything, and so it is asked how far it has heard this file before.
"""

from collections.abc import Callable

import structlog

from datauploader.contracts import Station
from datauploader.contracts.questions import Heard, LastHeard
from datauploader.errors import MessagingError
from datauploader.messaging.port import Bus
from datauploader.reliability import Outbox, Store
from datauploader.reliability.worker import PeriodicTask
from datauploader.runtime.service import Check

log = structlog.get_logger()

ANSWER_S = 3.0
"""How long a start waits; a station works without the gateway, which is asked again later."""


class StaleStateGuard(PeriodicTask):
    """A guard against stale state, before anything is said and afterwards: the gateway may be away, or behind."""

    def __init__(
        self, store: Store, bus: Bus, here: Station | None, service: str, *,
        end: Callable[[], None] = lambda: None, interval_s: float = 10.0,
        on_facility: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        """Guard a store.

        Args:
            store: the service's state.
            bus: how the gateway is asked.
            here: the station; None for a service of the facility.
            service: the service's name.
            end: has the process end in order, where the file turns out to be old while it is used.
            interval_s: how often it is asked.
            on_facility: called when another gateway, or another run of it, has answered; False: call it again later.
        """
        super().__init__("past")
        self._store, self._bus, self._here, self._service = store, bus, here, service
        self._end, self._interval_s, self._on_facility = end, interval_s, on_facility
        self._said, self._facility, self._is_old = 0, "", False

    def begin_anew_if_old(self) -> None:
        """Begin anew if the file is from the past; call it before anything of it is used or said."""
        if self.is_old():
            self._store.begin_anew()
            self._said = 0

    def is_old(self) -> bool:
        """Ask once, and note from where the file goes on; a new one is not asked about."""
        new = self._store.needs_recovery and not Outbox.said(self._store)
        heard = None if new else self._ask()
        self._said = Outbox.said(self._store)  # read last: who shares the file has kept what it said meanwhile
        return heard is not None and heard.number > self._said

    def health_check(self) -> Check:
        """Say whether the file is from the past."""
        sentence = (
            f"the state file {self._store.path} is older than what others have heard from it, as after putting back a "
            f"copy: {self._service} ends and begins anew at its next start; nothing is lost, files are looked at again"
        )
        return Check("past", not self._is_old, sentence if self._is_old else "")

    def take_turn(self) -> float | None:
        """Ask the gateway once more."""
        heard = self._ask()
        if heard is not None and heard.number > self._said:
            self._is_old = True
            log.error("stale_state_detected", problem=self.health_check().detail)
            self._store.condemn()  # what this run has built on the old file cannot be taken back now
            self._end()
            return None
        if heard is not None and heard.facility != self._facility:
            try:
                if self._on_facility():
                    self._facility = heard.facility
            except Exception:  # the boundary of one look: the thread must outlive it
                log.exception("facility_resync_failed")
        return self._interval_s

    def _ask(self) -> Heard | None:
        if self._store.path is None:
            return None
        question = LastHeard(service=self._service, state=self._store.identity, run=self._store.run)
        try:
            return self._bus.ask(question, Heard, station=self._here, timeout_s=ANSWER_S).result(2 * ANSWER_S)
        except (MessagingError, TimeoutError) as error:
            log.debug("gateway_query_failed", problem=str(error))
            return None
