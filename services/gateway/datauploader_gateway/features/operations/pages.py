"""The operators' page: what is wrong first, then how everything is, then the parked messages."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader_gateway.auth.direct import CHALLENGE, DirectAccess
from datauploader_gateway.errors import BrokerAway
from datauploader_gateway.features.operations.dead_letters import Verb
from datauploader_gateway.features.operations.service import Operations, OperationsService
from datauploader_gateway.http.dependencies import address_of, use
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import Visitor

router = APIRouter(prefix="/operations", include_in_schema=False)

FEW_QUEUES = 12
"""So many are all shown."""
QueueName = Annotated[str, Path(pattern=r"^[a-z0-9_.-]{1,250}$")]
CauseKey = Annotated[str, Query(max_length=500)]
MessageId = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,200}$")]


UseOperations = Annotated[OperationsService, use(OperationsService)]
AllQueues = Annotated[bool, Query(alias="all", description="queues that are OK and empty as well")]


@router.get("")
async def show(request: Request, who: Visitor, operations: UseOperations, *, all_queues: AllQueues = False) -> Response:
    """Show everything that the visitor may see."""
    found = await operations.overview(who)
    seen = _parked_count(found)
    groups = None
    if found.parked_in_reach and seen:
        with suppress(BrokerAway):  # the top of the page says so
            groups = await operations.parked_groups(who)
    context = _sorted(found, all_queues=all_queues)
    return page(request, "operations.html", who=who, groups=groups, seen=seen, **context)


@router.get("/now")
async def now(
    request: Request,
    who: Visitor,
    operations: UseOperations,
    seen: Annotated[int, Query(ge=0)] = 0,
    *,
    all_queues: AllQueues = False,
) -> Response:
    """Show the polled part again; tell the page when the list of parked messages is not what is there any more."""
    found = await operations.overview(who)
    headers = {"HX-Trigger": "parked"} if found.parked_in_reach and _parked_count(found) != seen else None
    context = _sorted(found, all_queues=all_queues)
    return part(request, "parts/operations.html", headers=headers, who=who.user, **context)


@router.get("/direct")
async def direct(
    request: Request, operations: UseOperations, access: Annotated[DirectAccess, use(DirectAccess)]
) -> Response:
    """Show operators with a local account what can be seen while Redis, and so every session, is away; nothing else.

    While Redis answers there is nothing here: whoever comes is sent to the page itself, which asks for a session.
    """
    if await operations.redis_answers():
        return RedirectResponse("/operations", 303)
    if await access.admit(request.headers.get("authorization", ""), address_of(request)) is None:
        return page(request, "direct-refused.html", status=401, headers=CHALLENGE)
    return page(request, "direct.html", who=None, **_sorted(await operations.without_redis(), all_queues=False))


@router.get("/acknowledge")
async def acknowledge_form(request: Request, who: Visitor, operations: UseOperations, cause: CauseKey) -> Response:
    """Ask what is done about a cause, and until when."""
    found = next((each for each in (await operations.overview(who)).causes if each.key == cause), None)
    if found is None:
        return RedirectResponse("/operations", 303)
    return page(request, "acknowledge.html", who=who, cause=found)


@router.post("/acknowledge")
async def acknowledge(
    who: Visitor, operations: UseOperations, cause: Annotated[str, Form(max_length=500)],
    sentence: Annotated[str, Form(min_length=1, max_length=500)], hours: Annotated[float, Form(gt=0, le=720)],
) -> Response:  # fmt: skip
    """Keep that, and show the page."""
    await operations.acknowledge(who, cause, sentence, hours)
    return RedirectResponse("/operations", 303)


@router.post("/acknowledge/withdraw")
async def withdraw(who: Visitor, operations: UseOperations, cause: Annotated[str, Form(max_length=500)]) -> Response:
    """Have a cause told of again."""
    await operations.withdraw(who, cause)
    return RedirectResponse("/operations", 303)


@router.get("/parked")
async def parked(request: Request, who: Visitor, operations: UseOperations) -> Response:
    """Show the list of parked messages again."""
    return await _list(request, who, operations)


@router.post("/parked-groups/{verb}")
async def settle_group(
    request: Request, verb: Verb, who: Visitor, operations: UseOperations,
    queue: Annotated[str, Form(pattern=r"^[a-z0-9_.-]{1,250}$")], reason: Annotated[str, Form(max_length=2000)],
) -> Response:  # fmt: skip
    """Begin to replay or drop a whole group, and show what is parked then."""
    await operations.settle_group(who, verb, queue, reason)
    return await _list(request, who, operations)


@router.get("/parked/{queue}/{message_id:path}")
async def one(
    request: Request, queue: QueueName, message_id: MessageId, who: Visitor, operations: UseOperations
) -> Response:
    """Show one parked message with its body."""
    message = await operations.parked_message(who, queue, message_id)
    return page(request, "parked.html", who=who, message=message)


@router.post("/parked/{queue}/{message_id:path}/{verb}")
async def settle(
    request: Request, queue: QueueName, message_id: MessageId, verb: Verb, who: Visitor, operations: UseOperations
) -> Response:
    """Replay or drop a message, and show what is parked then."""
    await operations.settle(who, verb, queue, message_id)
    if asks_for_part(request):
        return await _list(request, who, operations)
    return RedirectResponse("/operations#parked", 303)


async def _list(request: Request, who: Visitor, operations: OperationsService) -> Response:
    if not asks_for_part(request):
        return RedirectResponse("/operations#parked", 303)
    groups = await operations.parked_groups(who)
    found = await operations.overview(who)
    return part(request, "parts/parked.html", groups=groups, seen=_parked_count(found))


def _parked_count(found: Operations) -> int:
    return sum(queue.parked for queue in found.queues)


def _sorted(found: Operations, *, all_queues: bool) -> dict[str, Any]:
    """Put what is wrong before what is well."""
    # the catalog reports under its server's name, and is no station
    own = [one for one in found.troubles if one.about != "station" or one.kind != "service"]
    red = {(trouble.about, trouble.name) for trouble in own}
    stations = sorted(found.stations, key=lambda each: ("station", each.station) not in red)
    queues = sorted(found.queues, key=lambda each: not {("queue", each.name), ("parked", each.name)} & red)
    if not all_queues and len(queues) > FEW_QUEUES:
        queues = [each for each in queues if each.waiting or {("queue", each.name), ("parked", each.name)} & red]
    return {"found": found, "stations": stations, "queues": queues, "red": red, "all": all_queues}
