"""The gateway as a service: built from a context, started, asked how it is, stopped within its time."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from datauploader.errors import ConfigurationError
from datauploader.messaging import Bus, Consumer, connect
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import Queue, consumer_queue, harvester_queue
from datauploader.reliability import Outbox, Store
from datauploader.reliability import outbox as outbox_state
from datauploader.reliability.heartbeat import Heartbeat
from datauploader.reliability.upkeep import StateUpkeep
from datauploader.runtime import metrics
from datauploader.runtime.config import load
from datauploader.runtime.registrations import Live, Registrations
from datauploader.runtime.service import Check, Context
from datauploader_gateway import application, redis_client
from datauploader_gateway.application import Running
from datauploader_gateway.auth import revocations
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Authentication, Caller
from datauploader_gateway.auth.direct import DirectAccess
from datauploader_gateway.auth.oidc.pending_logins import PendingLogins
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.auth.origin import own_origins
from datauploader_gateway.auth.rights import StationRights
from datauploader_gateway.auth.sessions import Sessions
from datauploader_gateway.auth.stream_monitor import StreamSessionMonitor
from datauploader_gateway.auth.throttle import Throttle
from datauploader_gateway.desktop.one_time_login import DesktopAccess, OneTimeLogin
from datauploader_gateway.events import heard_sequences, pending_requests, publisher
from datauploader_gateway.events.consumer import EventConsumer
from datauploader_gateway.events.queries import GatewayQueries
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.events.serving import ServingLease
from datauploader_gateway.events.signing import Signer
from datauploader_gateway.features.audit_trail.service import AuditTrail
from datauploader_gateway.features.audits.service import DatasetRecheck, StorageAudits
from datauploader_gateway.features.descriptions.service import DescriptionService
from datauploader_gateway.features.investigations.service import InvestigationService
from datauploader_gateway.features.mail import triggers
from datauploader_gateway.features.mail.addresses import Addresses
from datauploader_gateway.features.mail.mail_templates import MailTemplates
from datauploader_gateway.features.mail.sender import MailSender
from datauploader_gateway.features.mail.service import MailService
from datauploader_gateway.features.mail.smtp_queue import SmtpQueue
from datauploader_gateway.features.mail.triggers import MailTriggers
from datauploader_gateway.features.new_upload.drafting import Drafting
from datauploader_gateway.features.new_upload.drafts import Drafts
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.features.new_upload.previews import UploadPreviews
from datauploader_gateway.features.new_upload.requests import UploadRequests
from datauploader_gateway.features.operations.acknowledgements import Acknowledgements
from datauploader_gateway.features.operations.dead_letters import DeadLetterAdmin
from datauploader_gateway.features.operations.health import Health, PublicCertificate
from datauploader_gateway.features.operations.refusals import Refusals
from datauploader_gateway.features.operations.service import Links, OperationsService
from datauploader_gateway.features.receipts.service import ReceiptService
from datauploader_gateway.features.sign_in.oidc import OidcSignIn
from datauploader_gateway.features.sign_in.service import SignInService
from datauploader_gateway.features.uploads.service import UploadSteering, UploadWatching
from datauploader_gateway.http.dependencies import Site
from datauploader_gateway.http.server import WebServer
from datauploader_gateway.projection import projection_version
from datauploader_gateway.projection.harvest_reader import HarvestReader
from datauploader_gateway.projection.live import LiveStreams
from datauploader_gateway.projection.projection_status import ProjectionStatus
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.station_metrics import StationCollector
from datauploader_gateway.projection.stations import StationDirectory
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_gateway.settings import SERVICE, GatewaySettings

if TYPE_CHECKING:
    from datauploader.messaging.rabbit import SignInListener

log = structlog.get_logger()

_DAY_S = 24 * 3600.0
_SWITCH_S = 0.001
"""How long Python's other threads may keep those waiting that answer people: with the usual 5 ms the slowest answers,
which wait several times, took a tenth more while events were folded."""


SCHEMAS = (
    outbox_state.SCHEMA, publisher.SCHEMA, pending_requests.SCHEMA, triggers.SCHEMA, heard_sequences.SCHEMA,
    revocations.SCHEMA, projection_version.SCHEMA,
)  # fmt: skip
"""Of `gateway.sqlite`."""


@dataclass(frozen=True, slots=True)
class _Foundation:
    """What the use cases are made of."""

    client: Redis
    reader: ViewReader
    questions: QueryClient
    provider: Provider | None
    sessions: Sessions
    live: LiveStreams
    monitor: StreamSessionMonitor[Caller]
    mail: MailSender
    audit: AuditLog
    throttle: Throttle


class GatewayService:
    """The gateway service, the one door for people."""

    name = SERVICE

    def __init__(self, context: Context, settings: GatewaySettings) -> None:
        """Build everything without starting it.

        Raises:
            ConfigurationError: a setting is wrong, or the address is taken.
        """
        if not settings.is_loopback and not settings.public_url:
            raise ConfigurationError(
                f"gateway.host is {settings.host}, so others can reach the gateway: set gateway.public_url to the "
                "address that their browsers use, such as https://upload.facility.eu"
            )
        self._context, self._settings = context, settings
        common = context.settings
        self._stations = Live(lambda: common.all_stations)  # registrations change while the gateway runs
        self._station_keys = Live(lambda: [station.key for station in common.all_stations])
        self._plug_ins = Live(lambda: _plug_in_queues(settings, common.registered))
        self._removed = Live(lambda: common.registered.removed)
        redis_url = settings.redis.get_secret_value()
        self._redis = redis_client.connect(redis_url)
        self._accounts = Accounts(settings.accounts)
        self._store = Store(context.settings.state_dir / f"{SERVICE}.sqlite", SCHEMAS)
        self._outbox = Outbox(self._store, context.bus.publish)
        self._upkeep = StateUpkeep(self._store)
        self._pending_requests = pending_requests.PendingRequests(
            self._store, self._outbox, patience_s=settings.request_patience_s, kept_s=settings.kept_days * _DAY_S
        )
        self._signer = Signer(context.settings.broker.get_secret_value())
        self._sequences = heard_sequences.HeardSequences(self._store)
        counted, self._status = projection_version.ProjectionVersion(self._store), ProjectionStatus()
        self._revocations = revocations.Revocations(self._store, counted)
        self._writer = ViewWriter(self._redis, kept_s=settings.kept_days * _DAY_S, commits=counted)
        context.bus.keep_log(settings.kept_days * _DAY_S)
        self._templates = MailTemplates(settings.mail.templates)
        self._triggers = MailTriggers(self._store, settings.mail)
        self._post: MailSender | None = None
        self._heartbeat = Heartbeat(
            context.bus.publish, self._outbox, context.settings.here, SERVICE,
            distribution="ceric-datauploader-gateway", interval_s=settings.report_interval_s,
            troubles=lambda: (self._status.trouble,),
        )  # fmt: skip
        self._lease = ServingLease(self._redis, self._store)
        self._lease.on_change = self._answer_stations
        self._event_consumer = self._consumer_of_events(counted)
        self._station_metrics = StationCollector(self._redis, self._station_keys, self._removed)
        self._metadata = MetadataForm.load(settings.metadata_schema)
        self._operations = self._operations_bus()
        self._board = DeadLetterAdmin(context.bus, self._operations, self._stations, self._plug_ins)
        self._refusals = Refusals(lambda: self._board.topology, Speakers(common.broker_users))
        self._sign_ins: SignInListener | None = None
        app = application.build(settings, self._running)
        self._web = WebServer(app, settings.host, settings.port, trusted_proxies=settings.trusted_proxies)
        self._desks: list[Consumer] = []
        self._live: LiveStreams | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def _consumer_of_events(self, counted: projection_version.ProjectionVersion) -> EventConsumer:
        settings = self._settings
        every = None if settings.audit_every is None else timedelta(days=settings.audit_every)
        return EventConsumer(
            self._context.bus, self._redis, self._writer, self._store, self._pending_requests, self._sequences,
            self._lease, heartbeat=self._heartbeat, interval_s=settings.watch_interval_s, commits=counted,
            condition=self._status, on_event=self._triggers.record_event, on_old_redis=self._revocations.apply,
            when_whole=DatasetRecheck(self._redis, self._store, self._outbox, every).request_due,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The address that the gateway listens on."""
        return self._web.url

    def start(self) -> None:
        """Take events in, send what waits, listen."""
        sys.setswitchinterval(_SWITCH_S)
        REGISTRY.register(self._station_metrics)
        metrics.PROCESS.certificates.add("gateway", self._settings.public_url)
        self._event_consumer.start()
        self._outbox.start()
        self._upkeep.start()
        self._answer_stations()
        self._listen_to_sign_ins()
        self._web.start()
        log.info("gateway_listens", url=self.url)

    def stop(self, deadline_s: float) -> None:
        """End streams and requests, then the view, then the outbox; what was accepted is kept for the next start."""
        end = time.monotonic() + deadline_s
        with suppress(KeyError):  # it was never started
            REGISTRY.unregister(self._station_metrics)
        if self._live is not None and self._loop is not None and self._web.alive:
            self._loop.call_soon_threadsafe(self._live.close)
        self._web.stop(deadline_s * 0.6)
        self._event_consumer.stop(max(0.1, (end - time.monotonic()) / 2))
        for desk in self._desks:
            desk.stop(0.5)
        if self._sign_ins is not None:
            self._sign_ins.stop(0.5)
        self._upkeep.stop(max(0.1, (end - time.monotonic()) / 2))
        self._outbox.stop(max(0.1, end - time.monotonic()))
        self._store.close()
        self._redis.close()
        if self._operations is not None and self._operations is not self._context.bus:
            self._operations.close(max(0.1, end - time.monotonic()))

    def checks(self) -> Sequence[Check]:
        """Say how the web server, the view and the outbox are."""
        return (
            Check("web", self._web.alive, "" if self._web.alive else "the HTTP server has ended; see the log"),
            Check("view", not self._event_consumer.problem, self._event_consumer.problem),
            Check("outbox", not self._outbox.problem, self._outbox.problem),
            Check("mail", True, self._post.trouble if self._post else ""),  # mail that waits stops nothing else
        )

    def _answer_stations(self) -> None:
        """Answer stations while this gateway serves; one that stands by knows too little."""
        if self._lease.rival:
            for desk in self._desks:
                desk.stop(0.5)
            self._desks = []
        elif not self._desks:
            queries = GatewayQueries(
                self._store, self._outbox, self._redis, self._sequences, self._pending_requests, self._signer
            )
            self._desks = [
                self._context.bus.answer_stations(SERVICE, queries),
                self._context.bus.answer(SERVICE, queries.of_facility),
            ]

    def _operations_bus(self) -> Bus | None:
        """Sign in at the broker as somebody who may settle parked messages; in one process everybody may."""
        common = self._context.settings
        url = self._settings.operations_broker.get_secret_value()
        if url:
            return connect(url, name=f"operations {common.here}", declare=False, users=common.broker_users)
        return self._context.bus if common.broker.get_secret_value().startswith("memory:") else None

    def _listen_to_sign_ins(self) -> None:
        """Hear whom the broker refuses, with the same account."""
        url = self._settings.operations_broker.get_secret_value()
        if url.startswith("amqp"):
            from datauploader.messaging.rabbit import SignInListener  # noqa: PLC0415 - memory:// runs without pika

            name = f"sign-ins {self._context.settings.here}"
            self._sign_ins = SignInListener(url, self._refusals.note, name=name)

    def _running(self) -> Running:
        """Make what belongs to the event loop; called in it."""
        settings, context = self._settings, self._context
        client = redis_client.connect_async(settings.redis.get_secret_value())
        reader = ViewReader(client)
        questions = QueryClient(context.bus, settings.ask_timeout_s)
        provider = Provider(settings.oidc, settings.public_url or self.url) if settings.oidc.on else None
        sessions = Sessions(
            client, idle_s=settings.session_idle_s, longest_s=settings.session_longest_s,
            revocations=self._revocations,
        )  # fmt: skip
        monitor: StreamSessionMonitor[Caller] = StreamSessionMonitor()
        self._loop = asyncio.get_running_loop()
        self._live = LiveStreams(client, reader, self._station_keys)
        self._post = MailSender(
            self._triggers,
            SmtpQueue(self._store, settings.mail, self._redis, kept_s=settings.kept_days * _DAY_S),
            self._templates,
            Addresses(client, self._accounts, settings.mail, kept_s=settings.kept_days * _DAY_S),
            reader,
            settings.mail,
            stations=self._station_keys,
            link=settings.public_url or self.url,
            removed=self._removed,
            serves=lambda: not self._lease.rival,
        )
        authentication = Authentication(sessions, self._accounts, provider, settings)
        foundation = _Foundation(
            client, reader, questions, provider, sessions, self._live, monitor, self._post, AuditLog(client),
            Throttle(client, settings),
        )  # fmt: skip
        provided = self._use_cases(foundation)
        if secret := settings.desktop.get_secret_value():  # the way in where `datauploader desktop` runs this gateway
            access = DesktopAccess(OneTimeLogin(secret), context.end, context.settings.state_dir.parent)
            provided = (*provided, access)
        return Running(self._live, monitor, authentication, self._post, provider, client, provided)

    def _use_cases(self, on: "_Foundation") -> tuple[object, ...]:
        """Make what routes depend on."""
        settings, context = self._settings, self._context
        addresses = on.mail.addresses
        commands = publisher.CommandPublisher(
            self._store, self._outbox, self._pending_requests, self._signer, self._writer
        )
        stations = StationDirectory(on.reader, self._stations, self._removed)
        rights = StationRights(on.questions, settings)
        requests = UploadRequests(
            stations, rights, on.questions, on.reader, commands, on.audit, self._metadata, settings,
            context.settings.remotes,
        )  # fmt: skip
        previews = UploadPreviews(requests, on.questions, on.reader)
        drafting = Drafting(
            stations, requests, previews, on.reader, on.questions, commands, self._metadata, settings,
            context.settings.timezone,
        )  # fmt: skip
        descriptions = DescriptionService(on.reader, commands, self._metadata, on.audit)
        sign_in = SignInService(self._accounts, on.questions, on.throttle, on.sessions, on.audit, settings)
        oidc = OidcSignIn(
            on.provider, PendingLogins(on.client), on.throttle, self._accounts, on.sessions, addresses, on.audit,
            sign_in, settings,
        )  # fmt: skip
        health = Health(
            context.bus, on.client, on.reader, self._status, on.questions, commands, on.provider,
            PublicCertificate(settings.public_url),
        )  # fmt: skip
        links = Links(broker=settings.broker_page, grafana=settings.grafana_page)
        return (
            Site(own_origins(settings, self._web.port), settings.secure),
            on.questions,
            on.reader, self._status, on.audit, self._metadata, Drafts(on.client), stations, rights, requests, previews,
            drafting, descriptions, sign_in, oidc, health,
            ReceiptService(on.reader), HarvestReader(on.client),
            AuditTrail(on.audit, on.reader),
            StorageAudits(on.reader, commands, on.audit),
            MailService(addresses, on.audit, on=settings.mail.on),
            UploadSteering(on.reader, commands, on.audit),
            UploadWatching(on.live, on.monitor, settings.streams_per_person),
            InvestigationService(on.questions, on.reader, descriptions, on.audit, context.settings),
            OperationsService(
                stations, health, self._board, Acknowledgements(on.client), self._refusals, on.audit, links
            ),
            DirectAccess(self._accounts, settings), self._lease,
        )  # fmt: skip


def create(context: Context) -> GatewayService:
    """Read the settings and build the service; the entry point `gateway` of `datauploader.services`."""
    return GatewayService(context, load(GatewaySettings))


def _plug_in_queues(settings: GatewaySettings, registered: Registrations) -> tuple[Queue, ...]:
    """Name the queues of the harvesters and consumers that are configured or registered."""
    consumers = (*settings.consumers, *(one.name for one in registered.consumers))
    return (
        *(harvester_queue(name, ()) for name in dict.fromkeys((*settings.harvesters, *registered.harvesters))),
        *(consumer_queue(name) for name in dict.fromkeys(consumers)),
    )
