"""Everything that requests are answered with, made once when the gateway starts."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from redis.asyncio import Redis

from datauploader.config import Settings
from datauploader.messaging.ports import Bus
from datauploader_gateway.audit import Audit
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.guard import Guard
from datauploader_gateway.auth.oidc.attempts import Attempts
from datauploader_gateway.auth.oidc.provider import Provider
from datauploader_gateway.auth.rights import StationRights
from datauploader_gateway.auth.sessions import Sessions
from datauploader_gateway.auth.throttle import Throttle
from datauploader_gateway.choosing.drafts import Drafts
from datauploader_gateway.choosing.metadata import MetadataForm
from datauploader_gateway.desktop.doorway import DesktopDoor
from datauploader_gateway.intake import Intake
from datauploader_gateway.mail.post import Post
from datauploader_gateway.operations.board import Board
from datauploader_gateway.operations.health import Health
from datauploader_gateway.questions import Questions
from datauploader_gateway.receipts.desk import ReceiptDesk
from datauploader_gateway.settings import GatewaySettings
from datauploader_gateway.view.condition import Condition
from datauploader_gateway.view.live import Live
from datauploader_gateway.view.reader import ViewReader
from datauploader_gateway.view.writer import ViewWriter


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    settings: GatewaySettings
    common: Settings
    bus: Bus
    redis: Redis
    accounts: Accounts
    sessions: Sessions
    attempts: Attempts
    provider: Provider | None
    """The identity provider, where there is one."""
    throttle: Throttle
    audit: Audit
    intake: Intake
    questions: Questions
    rights: StationRights
    reader: ViewReader
    receipts: ReceiptDesk
    writer: ViewWriter
    view: Condition
    """Whether what is shown is of now."""
    live: Live
    guard: Guard[Any]
    """Of whoever watches (`auth.dependency.Caller`)."""
    post: Post
    health: Health
    board: Board
    own_origins: frozenset[str]
    metadata: MetadataForm
    drafts: Drafts
    desktop: DesktopDoor | None = None
    """There when `datauploader desktop` runs this gateway."""


async def parts_of(request: Request) -> Parts:
    """Find the parts of the application that answers this request.

    Not a plain function, nor is any other dependency: FastAPI would hand each request to a thread for it.
    """
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


UseParts = Annotated[Parts, Depends(parts_of)]
