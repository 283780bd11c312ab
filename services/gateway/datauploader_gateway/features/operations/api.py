"""What operators and beamline staff see of the facility, and what operators do about parked messages."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from datauploader_gateway.auth.dependency import SignedIn
from datauploader_gateway.features.operations import overview
from datauploader_gateway.features.operations.dead_letters import Verb
from datauploader_gateway.features.operations.overview import Operations, Parked
from datauploader_gateway.http.parts import UseParts
from datauploader_gateway.http.problems import documented

router = APIRouter(prefix="/operations", tags=["operations"])

QueueName = Annotated[str, Path(pattern=r"^[a-z0-9_.-]{1,250}$")]
MessageId = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,200}$")]


class ParkedMessages(BaseModel):
    """Messages that nobody could handle, the oldest first."""

    items: list[Parked]


class Settled(BaseModel):
    """How many messages had this id, and were given back or removed."""

    messages: int


@router.get("", responses=documented(401, 403, 503), summary="How the facility is")
async def show_operations(who: SignedIn, parts: UseParts) -> Operations:
    """Say what is wrong, and how everything is; staff see the stations of their beamlines."""
    return await overview.overview(who, parts)


@router.get("/parked", responses=documented(401, 403, 503), summary="Parked messages")
async def list_parked(who: SignedIn, parts: UseParts) -> ParkedMessages:
    """List up to 500 messages with the reason and the beginning of each; for operators."""
    return ParkedMessages(items=await overview.parked_messages(who, parts))


@router.get(
    "/parked/{queue}/{message_id:path}", responses=documented(401, 403, 404, 422, 503), summary="One parked message"
)
async def show_parked(queue: QueueName, message_id: MessageId, who: SignedIn, parts: UseParts) -> Parked:
    """Show one message with its body; for operators."""
    return await overview.parked_message(who, parts, queue, message_id)


@router.post(
    "/parked/{queue}/{message_id:path}/{verb}",
    responses=documented(401, 403, 404, 422, 503),
    summary="Replay or drop a parked message",
)
async def settle_parked(queue: QueueName, message_id: MessageId, verb: Verb, who: SignedIn, parts: UseParts) -> Settled:
    """Give it back to its queue to be handled once more, or remove it for good; for operators, and audited."""
    return Settled(messages=await overview.settle(who, parts, verb, queue, message_id))
