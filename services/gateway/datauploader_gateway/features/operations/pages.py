"""The operators' page: what is wrong first, then how everything is, then the parked messages."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader_gateway.errors import BrokerAway
from datauploader_gateway.features.operations import overview
from datauploader_gateway.features.operations.dead_letters import Verb
from datauploader_gateway.features.operations.overview import Operations, Parked
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import Visitor

router = APIRouter(prefix="/operations", include_in_schema=False)

FEW_QUEUES = 12
"""So many are all shown."""
QueueName = Annotated[str, Path(pattern=r"^[a-z0-9_.-]{1,250}$")]
MessageId = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,200}$")]


AllQueues = Annotated[bool, Query(alias="all", description="queues that are OK and empty as well")]


@router.get("")
async def show(request: Request, who: Visitor, parts: UseParts, *, all_queues: AllQueues = False) -> Response:
    """Show everything that the visitor may see."""
    found = await overview.overview(who, parts)
    messages, seen = await _parked(who, parts, found), _parked_count(found)
    context = _sorted(found, all_queues=all_queues)
    return page(request, parts, "operations.html", who=who, parked=messages, seen=seen, **context)


@router.get("/now")
async def now(
    request: Request,
    who: Visitor,
    parts: UseParts,
    seen: Annotated[int, Query(ge=0)] = 0,
    *,
    all_queues: AllQueues = False,
) -> Response:
    """Show the polled part again; tell the page when the list of parked messages is not what is there any more."""
    found = await overview.overview(who, parts)
    headers = {"HX-Trigger": "parked"} if found.parked_in_reach and _parked_count(found) != seen else None
    return part(request, "parts/operations.html", headers=headers, **_sorted(found, all_queues=all_queues))


@router.get("/parked")
async def parked(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Show the list of parked messages again."""
    return await _list(request, who, parts)


@router.get("/parked/{queue}/{message_id:path}")
async def one(request: Request, queue: QueueName, message_id: MessageId, who: Visitor, parts: UseParts) -> Response:
    """Show one parked message with its body."""
    message = await overview.parked_message(who, parts, queue, message_id)
    return page(request, parts, "parked.html", who=who, message=message)


@router.post("/parked/{queue}/{message_id:path}/{verb}")
async def settle(
    request: Request, queue: QueueName, message_id: MessageId, verb: Verb, who: Visitor, parts: UseParts
) -> Response:
    """Replay or drop a message, and show what is parked then."""
    await overview.settle(who, parts, verb, queue, message_id)
    if asks_for_part(request):
        return await _list(request, who, parts)
    return RedirectResponse("/operations#parked", 303)


async def _list(request: Request, who: Visitor, parts: Parts) -> Response:
    if not asks_for_part(request):
        return RedirectResponse("/operations#parked", 303)
    items = await overview.parked_messages(who, parts)
    found = await overview.overview(who, parts)
    return part(request, "parts/parked.html", parked=items, seen=_parked_count(found))


async def _parked(who: Visitor, parts: Parts, found: Operations) -> list[Parked]:
    if not found.parked_in_reach or not _parked_count(found):
        return []
    try:
        return await overview.parked_messages(who, parts)
    except BrokerAway:
        return []  # the top of the page says so


def _parked_count(found: Operations) -> int:
    return sum(queue.parked for queue in found.queues)


def _sorted(found: Operations, *, all_queues: bool) -> dict[str, Any]:
    """Put what is wrong before what is well."""
    red = {(trouble.about, trouble.name) for trouble in found.troubles}
    stations = sorted(found.stations, key=lambda each: ("station", each.station) not in red)
    queues = sorted(found.queues, key=lambda each: not {("queue", each.name), ("parked", each.name)} & red)
    if not all_queues and len(queues) > FEW_QUEUES:
        queues = [each for each in queues if each.waiting or {("queue", each.name), ("parked", each.name)} & red]
    return {"found": found, "stations": stations, "queues": queues, "red": red, "all": all_queues}
