"""The catalog service: its queue, its ledger, its workers and its answers put together."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from datauploader import days
from datauploader.contracts.batching import bounded
from datauploader.contracts.questions import CatalogCondition
from datauploader.errors import Park
from datauploader.messaging import Consumer, Delivery, Dispatcher, Ownership, Start
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.topology import catalog_queue
from datauploader.plugins.catalogue.port import Catalogue
from datauploader.reliability import Inbox, Outbox, Store, inbox, outbox
from datauploader.reliability.blocks import compaction
from datauploader.reliability.heartbeat import Heartbeat
from datauploader.reliability.stale_state import StaleStateGuard
from datauploader.reliability.upkeep import StateUpkeep
from datauploader.runtime.config import load
from datauploader.runtime.crash_points import crash_point
from datauploader.runtime.service import Check, Context
from datauploader_catalog import claims, description_queue, handlers, proposals, schema
from datauploader_catalog.adapters import connect
from datauploader_catalog.claims import DatasetClaims
from datauploader_catalog.compaction import compact_some
from datauploader_catalog.delays import CatalogueDelays
from datauploader_catalog.description_sync import DescriptionSync
from datauploader_catalog.membership import UserOfficeMembership
from datauploader_catalog.objections import GracePeriod
from datauploader_catalog.persons import RequesterCheck
from datauploader_catalog.probe import CatalogueProbe
from datauploader_catalog.queries import CatalogQueries, StationQueries
from datauploader_catalog.settings import CatalogSettings
from datauploader_catalog.useroffice import UserOfficeListener
from datauploader_catalog.worker import CatalogWorker

log = structlog.get_logger()


MARGIN = timedelta(minutes=5)
"""How much of the log before the file's last event is looked at again at a start: clocks differ a little."""


class CatalogService:
    """Makes the catalogue know what was stored, exactly once."""

    name = "catalog"

    def __init__(self, context: Context, catalogue: Catalogue, settings: CatalogSettings) -> None:
        """Open the state and prepare everything; nothing runs before `start`."""
        path = context.settings.state_dir / "catalog.sqlite"
        self._bus = context.bus
        self._store = Store(path, [
            inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA, description_queue.SCHEMA, claims.SCHEMA, proposals.SCHEMA,
        ])  # fmt: skip
        self._office: UserOfficeListener | None = None
        if settings.useroffice is not None:
            self._office = UserOfficeListener(self._store, settings.useroffice)
            catalogue = UserOfficeMembership(catalogue, self._store, settings.useroffice)
        self._catalogue = catalogue
        with self._store.transaction() as db:
            DatasetClaims(db).claim_existing()
        self._outbox = Outbox(self._store, context.bus.publish)
        self._grace = GracePeriod(settings.patience_s)
        self._descriptions = DescriptionSync(self._store, self._outbox, catalogue, self._grace)
        self._requesters = RequesterCheck((*settings.gateway_users, self._bus.user), settings.rule_owners)
        self._worker = CatalogWorker(
            self._store, self._outbox, catalogue, self._requesters, settings.threads, audit=settings.audit,
            grace=self._grace,
        )  # fmt: skip
        self._probe = CatalogueProbe(catalogue)
        self._answers = CatalogQueries(
            catalogue, settings.storage_prefix, may_create=settings.create_investigations, store=self._store,
            condition=self._condition, today=partial(days.today, context.settings.timezone),
        )  # fmt: skip
        self._upkeep = StateUpkeep(self._store, compaction(self._store, settings.compact_days, compact_some))
        self._dispatcher = Dispatcher(self._store, self._outbox, self.name)
        handlers.register(self._dispatcher)
        self._dispatcher.after_commit(self._worker.wake)
        self._dispatcher.after_commit(self._descriptions.wake)
        self._heartbeat = Heartbeat(
            context.bus.publish, self._outbox, context.settings.here, self.name,
            distribution="ceric-datauploader-catalog", interval_s=settings.report_interval_s, troubles=self._troubles,
        )  # fmt: skip
        self._consumers: list[Consumer] = []
        self._answering: list[Consumer] = []
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="catalog.turns")
        self._working = self._recalling = False
        self._stuck = ""
        """Why the queue could not be taken up."""
        self._guard = StaleStateGuard(self._store, self._bus, None, self.name)

    def start(self) -> None:
        """Take up what a former run left, then the queue and the questions.

        A catalog that has forgotten something, or was begun beside another one with a state of its own, works only
        when the queue is its own: else both would do everything.
        """
        if not self._store.needs_recovery and self._guard.is_old():
            log.error("stale_state_detected", hint="it was put back from a copy: the event log is read again")
            self._store.require_recovery()
            if self._office is not None:
                self._office.note_gap("the catalog's state file was put back from a copy")
        if not self._store.needs_recovery:
            self._work()
            with self._store.reading() as db:
                latest = Inbox.latest(db)
            if latest is not None:  # a file that was put back has missed what the log has since its last event
                since = min(latest, datetime.now(UTC)) - MARGIN  # its clock may have been ahead, and put right
                self._read(Start(time=since), lambda: None, again=False)
        self._outbox.start()
        self._upkeep.start()
        self._heartbeat.start()
        self._probe.start()
        ownership = Ownership(
            self._store.identity,
            held=lambda: self._in_turn(self._take_over),
            lost=lambda _host: self._in_turn(self._miss),
        )
        self._consumers.append(
            self._bus.consume(
                catalog_queue(), self._hear, together=self._hear_all, workers=2, prefetch=64, ownership=ownership
            )
        )

    def stop(self, deadline_s: float) -> None:
        """Let running calls end; what is not told yet stays in the ledger."""
        self._heartbeat.stop(deadline_s / 8)
        self._turns.shutdown(wait=True)
        for consumer in (*self._consumers, *self._answering):
            consumer.stop(deadline_s / 4)
        if self._office is not None:
            self._office.stop(deadline_s / 4)
        self._worker.stop(deadline_s / 4)
        self._descriptions.stop(deadline_s / 4)
        self._upkeep.stop(deadline_s / 8)
        self._probe.stop(deadline_s / 8)
        self._outbox.stop(deadline_s / 4)
        self._catalogue.close()
        self._store.checkpoint()

    def checks(self) -> Sequence[Check]:
        """Say whether the catalogue answers and takes what it is told, and the broker what is published."""
        troubles = dict.fromkeys(
            filter(None, (*self._worker.problems, *self._descriptions.problems, self._probe.problem))
        )
        work = "; ".join(self._hindrances())
        office = "; ".join(self._office.problems) if self._office is not None else ""
        return (
            *((Check("user office", not office, office),) if self._office is not None else ()),
            Check("catalogue", not troubles, "; ".join(troubles)),
            Check("work", not work, work),
            Check("outbox", not self._outbox.problem, self._outbox.problem),
        )

    def _hindrances(self) -> list[str]:
        """Say what keeps the service itself from working."""
        said = (self._worker.stumbling, self._descriptions.stumbling, self._stuck)
        return [sentence for sentence in dict.fromkeys(said) if sentence]

    def _troubles(self) -> list[str]:
        office = self._office.problems if self._office is not None else ()
        return [*self._hindrances(), *office, *((self._outbox.problem,) if self._outbox.problem else ())]

    def _condition(self) -> CatalogCondition:
        try:
            with self._store.reading() as db:
                waiting = [*CatalogueDelays(db).lasting_delays(), *self._descriptions.lasting]
        except sqlite3.DatabaseError as error:
            return CatalogCondition(troubles=(f"the catalog cannot read its state file: {error}"[:2000],))
        untrusted = () if self._probe.is_trusted else (self._probe.problem,)
        return CatalogCondition(
            troubles=bounded([*self._troubles(), *untrusted]), waiting=bounded(dict.fromkeys(waiting))
        )

    def _hear(self, delivery: Delivery) -> None:
        self._hear_all([delivery])

    def _hear_all(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._requesters.check_requester(delivery)
        self._dispatcher.handle_all(deliveries)

    def _in_turn(self, step: Callable[[], None]) -> None:
        def turn() -> None:
            try:
                step()
            except Exception as error:  # the boundary of the thread: nobody would hear of it
                log.exception("catalog_takeover_failed")
                name = type(error).__name__
                self._stuck = (
                    f"an unexpected error ({name}) when the catalog took up its queue: restart it, see its log"
                )
            else:
                self._stuck = ""

        with suppress(RuntimeError):  # the service stops
            self._turns.submit(turn)

    def _work(self) -> None:
        if not self._working:
            self._working = True
            self._worker.start()
            self._descriptions.start()

    def _take_over(self) -> None:
        """Begin with the queue; what was heard by others before is in the log, which is heard once to its end."""

        def ended() -> None:
            self._store.mark_recovered()
            self._recalling = False
            self._worker.settle_claims()

        if self._store.needs_recovery and not self._recalling:
            self._recalling = True
            self._read(Start(first=True), ended)  # the inbox drops doubles
        self._work()
        if self._office is not None:
            self._office.start()
        if not self._answering:
            self._answering = [
                self._bus.answer(self.name, self._answers),
                self._bus.answer_stations(self.name, StationQueries(self._store)),
            ]

    def _miss(self) -> None:
        """Another catalog with a state of its own hears what this one does not, so that is to be found in the log.

        That one answers questions as well: this one does not know whose a dataset is.
        """
        for consumer in self._answering:
            consumer.stop()
        self._answering = []
        if self._office is not None:
            self._office.stop()
            self._office.note_gap("another catalog with a state of its own was at work")
        if not self._store.needs_recovery:
            log.error("queue_owned_by_another_state", hint="stop one of the two catalogs, or let them share a folder")
            self._store.require_recovery()

    def _read(self, start: Start, ended: Callable[[], None], *, again: bool = True) -> None:
        """Hear the log from somewhere on up to now; with `again` also what was heard before and is answered again."""

        def end(reading: CatchUp) -> None:
            ended()
            threading.Thread(target=reading.stop, daemon=True).start()

        def hear(delivery: Delivery) -> None:
            if not again:
                with self._store.reading() as db:
                    if Inbox.knows(db, delivery.event.id):
                        return
            try:
                self._hear(delivery)
            except handlers.RequestMissing as error:  # the log is in order, so its request would have come before it
                raise Park(str(error)) from error
            crash_point("catalog.recalling")

        self._consumers.append(CatchUp(self._bus, hear, start, then=end))


def create(context: Context) -> CatalogService:
    """Build the service from its settings; entry point `datauploader.services`."""
    settings = load(CatalogSettings)
    return CatalogService(context, connect(settings), settings)
