"""What operators and staff see of the facility, what operators do about parked messages, and probes for machines."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from datauploader.contracts.rest.health import Ready
from datauploader_gateway.errors import NotAllowed, NotSignedIn
from datauploader_gateway.events.serving import ServingLease
from datauploader_gateway.features.operations.dead_letters import Verb
from datauploader_gateway.features.operations.health import Health
from datauploader_gateway.features.operations.service import Groups, Job, Operations, OperationsService, Parked
from datauploader_gateway.http.dependencies import (
    SignedIn,
    UseAuthentication,
    UseSite,
    address_of,
    optional_caller,
    use,
)
from datauploader_gateway.http.problems import documented

router = APIRouter(prefix="/operations", tags=["operations"])
probes = APIRouter(tags=["health"])
"""For machines: they stand at the top, not below the API."""

UseOperations = Annotated[OperationsService, use(OperationsService)]
QueueName = Annotated[str, Path(pattern=r"^[a-z0-9_.-]{1,250}$")]
CauseKey = Annotated[str, Path(max_length=500)]
MessageId = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,200}$")]


class ParkedMessages(BaseModel):
    """Messages that nobody could handle, the oldest first."""

    items: list[Parked]


class Settled(BaseModel):
    """How many messages had this id, and were given back or removed."""

    messages: int


@router.get("", responses=documented(401, 403, 503), summary="How the facility is")
async def show_operations(who: SignedIn, operations: UseOperations) -> Operations:
    """Say what is wrong, and how everything is; staff see the stations of their beamlines."""
    return await operations.overview(who)


class Acknowledgement(BaseModel):
    """What an operator says of a cause that is known."""

    cause: str = Field(max_length=500, description="The `key` of the cause.")
    sentence: str = Field(min_length=1, max_length=500, description="Who does what about it.")
    hours: float = Field(gt=0, le=30 * 24, description="For how long it need not be told of again.")


@router.post("/acknowledgements", status_code=204, responses=documented(401, 403, 404, 422, 503), summary="Acknowledge")
async def acknowledge(said: Acknowledgement, who: SignedIn, operations: UseOperations) -> None:
    """Say that a cause is known, and what is done about it; for operators, and audited."""
    await operations.acknowledge(who, said.cause, said.sentence, said.hours)


@router.delete(
    "/acknowledgements/{cause}", status_code=204, responses=documented(401, 403, 404, 422, 503),
    summary="Withdraw an acknowledgement",
)  # fmt: skip
async def withdraw(cause: CauseKey, who: SignedIn, operations: UseOperations) -> None:
    """Have a cause told of again; for operators, and audited."""
    await operations.withdraw(who, cause)


@router.get("/parked", responses=documented(401, 403, 503), summary="Parked messages")
async def list_parked(who: SignedIn, operations: UseOperations) -> ParkedMessages:
    """List up to 500 messages with the reason and the beginning of each; for operators."""
    return ParkedMessages(items=await operations.parked_messages(who))


class GroupNamed(BaseModel):
    """Names a group, as the list of groups does."""

    queue: str = Field(pattern=r"^[a-z0-9_.-]{1,250}$")
    reason: str = Field(max_length=2000, description="The reason of any message of the group.")


@router.get("/parked-groups", responses=documented(401, 403, 503), summary="Parked messages by reason")
async def list_groups(who: SignedIn, operations: UseOperations) -> Groups:
    """List what is parked by queue and reason, with examples, and how far the last replay of a group is."""
    return await operations.parked_groups(who)


@router.post(
    "/parked-groups/{verb}", status_code=202, responses=documented(401, 403, 404, 409, 422, 503),
    summary="Replay or drop a group",
)  # fmt: skip
async def settle_group(verb: Verb, named: GroupNamed, who: SignedIn, operations: UseOperations) -> Job:
    """Begin to give back, or to remove for good, every message of a group; for operators, and audited."""
    return await operations.settle_group(who, verb, named.queue, named.reason)


@router.get(
    "/parked/{queue}/{message_id:path}", responses=documented(401, 403, 404, 422, 503), summary="One parked message"
)
async def show_parked(queue: QueueName, message_id: MessageId, who: SignedIn, operations: UseOperations) -> Parked:
    """Show one message with its body; for operators."""
    return await operations.parked_message(who, queue, message_id)


@router.post(
    "/parked/{queue}/{message_id:path}/{verb}",
    responses=documented(401, 403, 404, 422, 503),
    summary="Replay or drop a parked message",
)
async def settle_parked(
    queue: QueueName, message_id: MessageId, verb: Verb, who: SignedIn, operations: UseOperations
) -> Settled:
    """Give it back to its queue to be handled once more, or remove it for good; for operators, and audited."""
    return Settled(messages=await operations.settle(who, verb, queue, message_id))


class Live(BaseModel):
    """The gateway answers."""

    ok: bool = True


@probes.get("/health/live", summary="Alive")
async def live() -> Live:
    """Answer."""
    return Live()


@probes.get("/health/ready", responses={503: {"model": Ready, "description": "A check fails"}}, summary="Ready")
async def ready(response: Response, health: Annotated[Health, use(Health)]) -> Ready:
    """Check the broker, Redis, the view, the catalogue and the outbox."""
    checks = await health.ready()
    ok = all(check.ok for check in checks)
    response.status_code = 200 if ok else 503
    return Ready(ok=ok, checks=checks)


class Serving(BaseModel):
    """Whether this gateway is the one that serves."""

    serving: bool = True
    detail: str = ""


@probes.get("/health/serving", responses={503: {"model": Serving, "description": "It stands by"}}, summary="Serving")
async def serving(response: Response, lease: Annotated[ServingLease, use(ServingLease)]) -> Serving:
    """Say whether this gateway serves, or stands by for another one: a proxy sends people to the one that does."""
    response.status_code = 503 if lease.rival else 200
    return Serving(serving=not lease.rival, detail=lease.rival)


@probes.get(
    "/metrics", response_class=Response, responses=documented(401, 403), summary="Counters in Prometheus' text format"
)
async def metrics(request: Request, site: UseSite, authentication: UseAuthentication) -> Response:
    """Answer operators, and callers on this machine that no proxy stands in front of."""
    forwarded = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip"))
    if forwarded or address_of(request) not in ("127.0.0.1", "::1"):
        who = await optional_caller(request, site, authentication)
        if who is None:
            raise NotSignedIn("counters are for operators and for callers on the gateway's own machine")
        if who.user.role != "operator":
            raise NotAllowed("counters are for operators", hint="Ask an operator.")
    return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)
