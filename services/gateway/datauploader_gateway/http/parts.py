"""Everything that requests are answered with, made once when the gateway starts."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from redis.asyncio import Redis

from datauploader.messaging.port import Bus
from datauploader.runtime.config import Settings
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.oidc.pending_logins import PendingLogins
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.auth.rights import StationRights
from datauploader_gateway.auth.sessions import Sessions
from datauploader_gateway.auth.stream_monitor import StreamSessionMonitor
from datauploader_gateway.auth.throttle import Throttle
from datauploader_gateway.desktop.one_time_login import DesktopAccess
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.mail.sender import MailSender
from datauploader_gateway.features.new_upload.drafts import Drafts
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.features.operations.dead_letters import DeadLetterAdmin
from datauploader_gateway.features.operations.health import Health
from datauploader_gateway.features.receipts.service import ReceiptService
from datauploader_gateway.projection.live import LiveStreams
from datauploader_gateway.projection.projection_status import ProjectionStatus
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    settings: GatewaySettings
    common: Settings
    bus: Bus
    redis: Redis
    accounts: Accounts
    sessions: Sessions
    attempts: PendingLogins
    provider: Provider | None
    """The identity provider, where there is one."""
    throttle: Throttle
    audit: AuditLog
    intake: CommandPublisher
    questions: QueryClient
    rights: StationRights
    reader: ViewReader
    receipts: ReceiptService
    writer: ViewWriter
    view: ProjectionStatus
    """Whether what is shown is of now."""
    live: LiveStreams
    guard: StreamSessionMonitor[Any]
    """Of whoever watches (`auth.dependency.Caller`)."""
    post: MailSender
    health: Health
    board: DeadLetterAdmin
    own_origins: frozenset[str]
    metadata: MetadataForm
    drafts: Drafts
    desktop: DesktopAccess | None = None
    """There when `datauploader desktop` runs this gateway."""


async def parts_of(request: Request) -> Parts:
    """Find the parts of the application that answers this request.

    Not a plain function, nor is any other dependency: FastAPI would hand each request to a thread for it.
    """
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


UseParts = Annotated[Parts, Depends(parts_of)]
