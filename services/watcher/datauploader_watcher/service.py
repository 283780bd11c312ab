"""The watcher as a service: made of its station_context, started, asked, stopped."""

import time
from collections.abc import Sequence

from datauploader.contracts.model import Question, WireModel
from datauploader.contracts.questions import ListFolder, PreviewUpload, ReadValues
from datauploader.errors import QuestionRefused
from datauploader.messaging import Consumer, Dispatcher
from datauploader.messaging.claim import StationClaim
from datauploader.messaging.topology import watcher_queue
from datauploader.reliability import Outbox, Store
from datauploader.reliability.inbox import SCHEMA as INBOX
from datauploader.reliability.outbox import SCHEMA as OUTBOX
from datauploader.reliability.stale_state import StaleStateGuard
from datauploader.reliability.upkeep import StateUpkeep
from datauploader.runtime.config import load
from datauploader.runtime.service import Check, Context
from datauploader_watcher.adapters.disk import OpenDisk
from datauploader_watcher.adapters.drives import disk_of
from datauploader_watcher.background.facility_resync import FacilityResync
from datauploader_watcher.background.forgetting import forgetting
from datauploader_watcher.background.ledger_recovery import LedgerRecovery
from datauploader_watcher.background.local_cleanup import LocalCleanup
from datauploader_watcher.clock import Clock, SystemClock
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.handlers import Handlers
from datauploader_watcher.ledger import SCHEMA
from datauploader_watcher.ledger.places import RootPlaceTable
from datauploader_watcher.loop import Loop, LoopStatus
from datauploader_watcher.outgoing.heartbeat import StationHeartbeat
from datauploader_watcher.outgoing.publishing import SERVICE
from datauploader_watcher.queries.dry_run import DryRuns
from datauploader_watcher.queries.file_metadata import MetadataExtractor
from datauploader_watcher.queries.folders import FolderBrowser
from datauploader_watcher.rules.standing_rules import StandingRules
from datauploader_watcher.settings import WatcherSettings
from datauploader_watcher.uploads.admission import UploadAdmission


class WatcherQueries:
    """Routes the queries that are put to the watcher (request-reply) to those who answer them."""

    def __init__(self, context: WatcherContext) -> None:
        """Take what the station stands on."""
        self._claim = context.claim
        self._folders = FolderBrowser(context.admission)
        self._previews = DryRuns(context)
        self._values = MetadataExtractor(context, self._previews)

    def __call__(self, question: Question) -> WireModel:
        """Answer a question.

        Raises:
            QuestionRefused: it may not be answered, or is not for the watcher.
        """
        if self._claim.problem:
            raise QuestionRefused("two-computers", self._claim.problem)
        match question:
            case ListFolder():
                return self._folders(question)
            case PreviewUpload():
                return self._previews(question)
            case ReadValues():
                return self._values(question)
        raise QuestionRefused("unknown-question", f"the watcher does not answer {question.name}")


class Watcher:
    """Turns folders that something writes into into facts: this version of this file is finished."""

    name = SERVICE

    def __init__(
        self, context: Context, settings: WatcherSettings, *, clock: Clock | None = None, disks: OpenDisk = disk_of
    ) -> None:
        """Build the service; `clock` and `disks` are for tests.

        Raises:
            ConfigurationError: a standing rule cannot work; names it and says why.
        """
        path = context.settings.state_dir / "watcher.sqlite3"
        self._bus = context.bus
        self.store = Store(path, (INBOX, OUTBOX, SCHEMA))
        self._outbox = Outbox(self.store, self._bus.publish)
        admission = UploadAdmission(settings, context.settings.remotes, RootPlaceTable(self.store, settings.roots))
        self._here = context.settings.here
        self.claim = StationClaim(watcher_queue(self._here), self.store.identity)
        clock = clock or SystemClock()
        station_context = WatcherContext(
            self._here, self.store, self._outbox, settings, admission, clock, disks, self.claim
        )
        self._loop = Loop(station_context, StandingRules(station_context))
        self._cleanup = LocalCleanup(station_context, self._bus)
        self._reporter = StationHeartbeat(station_context, self._bus.publish, lambda: self.status)
        self._dispatcher = Dispatcher(self.store, self._outbox, SERVICE)
        resync = FacilityResync(station_context, self._bus, self._loop.inbox.reload)
        self._recovery = LedgerRecovery(station_context, self._bus, self._loop.inbox.reload, resync.catalog_lacks)
        self._guard = StaleStateGuard(
            self.store, self._bus, self._here, SERVICE, end=context.end, interval_s=settings.report_interval_s,
            on_facility=resync,
        )  # fmt: skip
        Handlers(self._loop, self._cleanup, settings).register(self._dispatcher)
        self._upkeep = StateUpkeep(self.store, forgetting(station_context))
        self._answers = WatcherQueries(station_context)
        self._consumers: list[Consumer] = []

    def start(self) -> None:
        """Begin to listen, to look and to speak."""
        self._guard.begin_anew_if_old()
        if self.store.needs_recovery:
            self._reporter.announce_recovery()
        self._outbox.start()
        self._loop.start()
        self._cleanup.start()
        self._recovery.start()
        self._reporter.start()
        self._guard.start()
        self._upkeep.start()
        self._consumers = [
            self._bus.consume(
                watcher_queue(self._here),
                self._dispatcher,
                together=self._dispatcher.handle_all,
                ownership=self.claim.ownership,
            ),
            self._bus.answer(SERVICE, self._answers, station=self._here, workers=4),
        ]

    def stop(self, deadline_s: float) -> None:
        """End within the deadline: what is unfinished is found again at the next start."""
        end = time.monotonic() + deadline_s

        def part(share: float) -> float:
            return max(0.1, (end - time.monotonic()) * share)

        for consumer in self._consumers:
            consumer.stop(part(0.25))
        self._guard.stop(part(0.1))
        self._upkeep.stop(part(0.1))
        self._recovery.stop(part(0.25))
        self._cleanup.stop(part(0.25))
        self._loop.stop(part(0.25))
        self._reporter.stop(part(0.25))
        self._outbox.stop(part(0.5))
        self.store.close()

    @property
    def status(self) -> LoopStatus:
        """What the watching is at."""
        return self._loop.status

    def checks(self) -> Sequence[Check]:
        """Say how everything is that the watching depends on."""
        return (*self._reporter.checks(), self._guard.health_check())


def create(context: Context) -> Watcher:
    """Build the watcher of this station; what `datauploader run watcher` calls."""
    return Watcher(context, load(WatcherSettings))
