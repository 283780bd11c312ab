"""What operators see of the facility, gathered for one person, and what they do about parked messages."""

import asyncio
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from datauploader.contracts.rest.health import CheckBody
from datauploader.contracts.rest.stations import StationStatus
from datauploader.messaging import ParkedMessage
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import BrokerAway, NotAllowed
from datauploader_gateway.features.operations.dead_letters import DeadLetterAdmin, Verb
from datauploader_gateway.features.operations.diagnosis import QueueBody, Trouble, summary, troubles
from datauploader_gateway.features.operations.health import Health
from datauploader_gateway.projection.stations import StationDirectory

EXCERPT = 400
"""Characters of a parked message's body in a list."""
LONGEST = 200_000
"""Characters of a parked message's body where it is shown alone."""


class Links(BaseModel):
    """Where operators go on looking; "" where nothing is configured."""

    broker: str = ""
    grafana: str = ""


class Operations(BaseModel):
    """How the facility is; for staff only the stations of their beamlines."""

    well: bool
    summary: str
    """One sentence: how many things are wrong, and what."""
    troubles: list[Trouble]
    stations: list[StationStatus]
    checks: list[CheckBody]
    queues: list[QueueBody]
    parked_in_reach: bool
    """Parked messages can be read and settled here, not only counted."""
    links: Links


class Parked(BaseModel):
    """A message that nobody could handle."""

    id: str
    queue: str
    reason: str
    time: datetime
    attempts: int
    replayable: bool
    trace_id: str
    body: str
    """As much of it as fits here; bytes that are no UTF-8 as `\\xNN`."""
    body_bytes: int

    @classmethod
    def of(cls, queue: str, message: ParkedMessage, most: int) -> Self:
        """Describe a message with so many characters of its body."""
        text = message.body[:most].decode("utf-8", "backslashreplace")[:most]
        return cls(
            id=message.id, queue=queue, reason=message.reason[:2000], time=message.time, attempts=message.attempts,
            replayable=message.replayable, trace_id=message.trace_id, body=text, body_bytes=len(message.body),
        )  # fmt: skip


class OperationsService:
    """Looks at the whole facility, and settles parked messages."""

    def __init__(
        self, stations: StationDirectory, health: Health, board: DeadLetterAdmin, audit: AuditLog, links: Links
    ) -> None:
        """Look at these; `links` are shown to operators."""
        self._stations, self._health, self._board, self._audit, self._links = stations, health, board, audit, links

    async def overview(self, who: Caller) -> Operations:
        """Look at everything that this person may see.

        Raises:
            NotAllowed: they are neither operator nor staff.
        """
        user = who.user
        if user.role == "user":
            raise NotAllowed("operations are for operators and beamline staff", hint="Ask an operator.")
        stations = await self._stations.all_status()
        if user.role == "operator":
            checks, queues = await asyncio.gather(self._health.checks(), self._queues())
            found, (states, problem) = [*checks], queues
            if problem:
                found.append(CheckBody(name="queues", ok=False, detail=problem))
            links = self._links
        else:
            stations = [each for each in stations if each.station.rpartition(".")[0] in user.beamlines]
            found, states, links = [], [], Links()
        wrong = troubles(found, stations, states)
        return Operations(
            well=not wrong, summary=summary(wrong), troubles=wrong, stations=stations, checks=found, queues=states,
            parked_in_reach=user.role == "operator" and self._board.reaches_parked, links=links,
        )  # fmt: skip

    async def parked_messages(self, who: Caller) -> list[Parked]:
        """List what is parked.

        Raises:
            NotAllowed: they are no operator.
        """
        await self._require_operator(who, "read parked messages")
        return [Parked.of(queue.name, message, EXCERPT) for queue, message in await self._board.parked()]

    async def parked_message(self, who: Caller, queue: str, message_id: str) -> Parked:
        """Show one parked message with its body.

        Raises:
            NotAllowed: they are no operator.
            NotFound: there is none.
        """
        await self._require_operator(who, "read a parked message", queue=queue, message=message_id)
        return Parked.of(queue, await self._board.read_message(queue, message_id), LONGEST)

    async def settle(self, who: Caller, verb: Verb, queue: str, message_id: str) -> int:
        """Replay or drop a parked message; who did so is recorded before it is done, and when they may not.

        Raises:
            NotAllowed: they are no operator.
            NotFound: there is none that this could be done with.
        """
        about = {"queue": queue, "message": message_id}
        await self._require_operator(who, f"{verb} a parked message", **about)
        await self._audit.record(f"parked message: {verb}", who=who.user.id, address=who.address, **about)
        return await self._board.settle_message(verb, queue, message_id)

    async def _require_operator(self, who: Caller, what: str, **about: str) -> None:
        if who.user.role != "operator":
            await self._audit.record(f"refused: {what}", who=who.user.id, address=who.address, **about)
            raise NotAllowed("parked messages are for operators", hint="Ask an operator.")

    async def _queues(self) -> tuple[list[QueueBody], str]:
        try:
            return await self._board.queue_states(), ""
        except BrokerAway as error:
            return [], error.detail
