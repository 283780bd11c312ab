"""The transfer service: its queues, its ledger, its movers and its reports put together."""

import os
from collections.abc import Sequence
from functools import partial

from datauploader.contracts import Station
from datauploader.contracts.files import MOST_FILES
from datauploader.contracts.model import Question, WireModel
from datauploader.contracts.moves import BeginMoves, EndMoves, RenewMoves, TakeMoves
from datauploader.contracts.names import escape, unescape
from datauploader.contracts.previews import DestinationContent, HeldObject
from datauploader.contracts.questions import HashStored, LookAtDestination, StoredHash
from datauploader.errors import ConfigurationError, QuestionRefused
from datauploader.messaging import Consumer, Dispatcher
from datauploader.messaging.claim import StationClaim
from datauploader.messaging.topology import transfer_queue
from datauploader.reliability import Outbox, Store, inbox, outbox
from datauploader.reliability.blocks import compaction
from datauploader.reliability.stale_state import StaleStateGuard
from datauploader.reliability.upkeep import StateUpkeep
from datauploader.runtime import metrics
from datauploader.runtime.config import Settings, load
from datauploader.runtime.service import Check, Context
from datauploader_transfer import handlers, schema
from datauploader_transfer.auditing import Auditor
from datauploader_transfer.compaction import compact_some
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.errors import TransferError
from datauploader_transfer.leases import MoverLeases
from datauploader_transfer.ledger import object_path
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import FolderContents, Mover
from datauploader_transfer.progress import ProgressReporter
from datauploader_transfer.provenance import ProvenanceCheck, recover_ownership
from datauploader_transfer.rclone.mover import RcloneMover, RcloneSettings
from datauploader_transfer.rclone.source_file import raise_limit
from datauploader_transfer.settings import TransferSettings
from datauploader_transfer.worker import TransferWorker

_LONGEST = 1000
"""Characters of a name that a person is shown."""
_FIRST = 5
"""Names that a person is shown."""
_ROOM = 20_000
"""Characters of the names in one answer, which is a message."""


class TransferService:
    """Brings finished files to the storage and proves what arrived."""

    name = "transfer"

    def __init__(self, context: Context, mover: Mover, settings: TransferSettings) -> None:
        """Open the state and prepare everything; nothing runs before `start`."""
        here = context.settings.here
        self._bus, self._mover = context.bus, mover
        self._stations = tuple(Station.parse(text) for text in settings.stations) or (here,)
        self._store = Store(
            context.settings.state_dir / "transfer.sqlite", [inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA]
        )
        self._outbox = Outbox(self._store, context.bus.publish)
        self._worker = TransferWorker(
            self._store, self._outbox, mover, settings, here, ProvenanceCheck(self._store, context.bus)
        )
        self._auditor = Auditor(self._store, self._outbox, mover, context.bus, self._worker.moving)
        self._leases = MoverLeases(settings.movers_elsewhere, settings.lease_s, self._worker.employ)
        self._claims = {
            station: StationClaim(transfer_queue(station), self._store.identity) for station in self._stations
        }
        self._reporter = ProgressReporter(
            self._store, self._worker, self._outbox, context.bus, here, settings.report_interval_s,
            tuple(self._claims.values()), tuple(context.settings.remotes), self._leases.described,
        )  # fmt: skip
        self._guard = StaleStateGuard(
            self._store, self._bus, here, self.name, end=context.end, interval_s=settings.report_interval_s
        )
        self._upkeep = StateUpkeep(self._store, compaction(self._store, settings.compact_days, compact_some))
        self._dispatcher = Dispatcher(self._store, self._outbox, self.name)
        handlers.register(self._dispatcher, self._worker.breaker)
        self._dispatcher.after_commit(self._worker.wake)
        self._dispatcher.after_commit(self._auditor.wake)
        self._consumers: list[Consumer] = []

    def start(self) -> None:
        """Take up what a former run left, then the queues and the questions."""
        self._guard.begin_anew_if_old()
        self._outbox.start()
        if self._store.needs_recovery:
            recover_ownership(self._store, self._bus, self._stations, self._worker.start)
        else:
            self._worker.start()
        self._reporter.start()
        self._guard.start()
        self._auditor.start()
        self._upkeep.start()
        for station, claim in self._claims.items():
            own = claim.ownership
            self._consumers += [
                self._bus.consume(transfer_queue(station), self._dispatcher, workers=1, prefetch=16, ownership=own),
                self._bus.answer(self.name, partial(self._answer, claim), station=station),
            ]

    def stop(self, deadline_s: float) -> None:
        """Cancel what moves; the destination tells at the next start how far it came."""
        for consumer in self._consumers:
            consumer.stop(deadline_s / 4)
        self._guard.stop(1.0)
        self._reporter.stop(1.0)
        self._auditor.stop(0.0)
        self._upkeep.stop(deadline_s / 8)
        self._worker.stop(deadline_s / 2)
        self._outbox.stop(deadline_s / 4)
        self._mover.close()
        self._auditor.stop(deadline_s / 4)
        self._store.checkpoint()

    def checks(self) -> Sequence[Check]:
        """Say whether the remotes take files and the broker what is published."""
        remotes = [
            Check(f"remote {remote}", ok=False, detail=sentence)
            for remote, sentence in self._worker.breaker.problems().items()
        ]
        movers = [Check("movers", ok=False, detail=sentence) for sentence in self._leases.problems()]
        names = [Check("name", ok=False, detail=one.problem) for one in self._claims.values() if one.problem]
        outbox_check = Check("outbox", not self._outbox.problem, self._outbox.problem)
        return (*names, *remotes, *movers, self._guard.health_check(), outbox_check)

    def _answer(self, claim: StationClaim, question: Question) -> WireModel:
        if claim.problem:
            raise QuestionRefused("two-computers", claim.problem)
        try:
            match question:
                case TakeMoves() | BeginMoves() | RenewMoves() | EndMoves():
                    return self._leases.answer(question)
                case HashStored():
                    target = os.fsdecode(unescape(question.object))
                    found = self._mover.hash_stored(question.remote, target, question.algorithms)
                    if found is None:
                        return StoredHash(found=False)
                    return StoredHash(found=True, digests={found.algorithm: found.digest}, size=found.size or 0)
                case LookAtDestination():
                    content = self._mover.count_contents(
                        question.remote, question.location, most=question.most, within_s=question.within_s
                    )  # fmt: skip
                    foreign, all_named = self._foreign(question, content)
                    return DestinationContent(
                        exists=content.exists, objects=content.objects, bytes=content.bytes, partial=content.partial,
                        first=tuple(name[:_LONGEST] for name, _ in content.held[:_FIRST]),
                        foreign=foreign, foreign_partial=content.partial or not all_named,
                    )  # fmt: skip
        except TransferError as error:
            raise QuestionRefused("unavailable", str(error)) from error
        raise QuestionRefused("unknown-question", f"transfer cannot answer {question.name}")

    def _foreign(self, question: LookAtDestination, found: FolderContents) -> tuple[tuple[HeldObject, ...], bool]:
        """Name the objects that may not be replaced, as many as an answer holds, and say whether these are all."""
        held = {escape(os.fsencode(name)): size for name, size in found.held}
        objects = {object_path(question.location, path): path for path in held}
        with self._store.reading() as db:
            owners = ObjectOwners(db)
            uploads = owners.with_continued(question.continues)
            digests = owners.replaceable_digests(question.remote, list(objects), uploads)
        ours = {path for name, path in objects.items() if digests[name][0]}
        named: list[HeldObject] = []
        room = _ROOM
        for path, size in held.items():
            if path in ours:
                continue
            room -= len(path)
            if room < 0 or len(named) == MOST_FILES:
                return tuple(named), False
            named.append(HeldObject(path=path, size=size))
        return tuple(named), len(found.held) == found.objects


def connect(common: Settings, settings: TransferSettings) -> Mover:
    """Start rclone with the configured remotes.

    Raises:
        TransferError: a remote's definition cannot be used, or rclone is missing or too old.
    """
    raise_limit()
    remotes = parse_remotes(common.remotes)
    rclone = RcloneSettings(
        binary=settings.rclone, copies=common.state_dir, bytes_per_s=settings.bandwidth_bytes_per_s
    )  # fmt: skip
    return RcloneMover(remotes, rclone)


def create(context: Context) -> TransferService:
    """Build the service from its settings; entry point `datauploader.services`.

    Raises:
        ConfigurationError: rclone is missing or too old, or a remote's definition cannot be used.
    """
    settings = load(TransferSettings)
    try:
        for remote in parse_remotes(context.settings.remotes).values():
            metrics.PROCESS.certificates.add(f"remote {remote.name}", remote.url, remote.ca_file)
        mover = connect(context.settings, settings)
    except TransferError as error:
        raise ConfigurationError(str(error)) from error
    return TransferService(context, mover, settings)
