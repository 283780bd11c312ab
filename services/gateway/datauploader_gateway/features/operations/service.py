"""What operators see of the whole facility, gathered for one person, and what they do about parked messages."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import BaseModel

from datauploader.contracts.address import Station
from datauploader.contracts.rest.health import CheckBody
from datauploader.contracts.rest.stations import StationStatus
from datauploader.messaging import ParkedMessage
from datauploader.wording import size
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import BrokerAway, NotAllowed, NotFound
from datauploader_gateway.features.operations.acknowledgements import Acknowledgements
from datauploader_gateway.features.operations.causes import (
    Acknowledged,
    Cause,
    Part,
    acknowledge,
    causes,
    identity,
    parts,
    summary,
)
from datauploader_gateway.features.operations.dead_letters import DeadLetterAdmin, GroupJob, Verb
from datauploader_gateway.features.operations.diagnosis import (
    Kind,
    QueueBody,
    Seen,
    Trouble,
    mover_name,
    owner,
    troubles,
)
from datauploader_gateway.features.operations.health import Health
from datauploader_gateway.features.operations.refusals import Refusals
from datauploader_gateway.projection.projection_status import ago
from datauploader_gateway.projection.reader import FACILITY_SERVICES
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
    seen: datetime
    """When this was looked at."""
    causes: list[Cause]
    """What is wrong by itself, each with what follows from it."""
    parts: list[Part]
    """Everything that the facility consists of, what is wrong first."""
    troubles: list[Trouble]
    """The same as in `causes`, one by one."""
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


class Group(BaseModel):
    """Parked messages of one queue with the same reason but for numbers, names and paths."""

    queue: str
    reason: str
    """That of the oldest one."""
    messages: int
    replayable: int
    oldest: datetime
    examples: list[Parked]
    """The oldest ones."""


class Job(BaseModel):
    """A group that is replayed or dropped, and how far that is."""

    verb: Verb
    queue: str
    reason: str
    messages: int
    done: int
    over: bool
    problem: str
    """Why it could not be done to the end; what is left stays parked."""


class Groups(BaseModel):
    """What is parked, the largest group first."""

    items: list[Group]
    unread: int
    """Messages that lie behind those that can be read at once: they are shown when these are settled."""
    job: Job | None


class OperationsService:
    """Looks at the whole facility, and settles parked messages."""

    def __init__(
        self, stations: StationDirectory, health: Health, board: DeadLetterAdmin, known: Acknowledgements,
        refusals: Refusals, audit: AuditLog, links: Links,
    ) -> None:  # fmt: skip
        """Look at these; `links` are shown to operators."""
        self._known_causes, self._refusals = known, refusals
        self._stations, self._health, self._board, self._audit, self._links = stations, health, board, audit, links
        self._since: dict[str, datetime] = {}
        """Since when each cause has been seen."""
        self._known: dict[tuple[Kind, str], datetime] = {}
        """When something was known last of each part."""

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
            return await self._facility(stations, await self._known_causes.known())
        stations = [each for each in stations if each.station.rpartition(".")[0] in user.beamlines]
        return self._judged(Seen(stations=stations), Links(), {}, in_reach=False)

    async def acknowledge(self, who: Caller, key: str, sentence: str, hours: float) -> None:
        """Say of a cause that it is known, and what is done; it is told of again when it changes or the time is over.

        Raises:
            NotAllowed: they are no operator.
            NotFound: there is no such cause now.
        """
        await self._require_operator(who, "acknowledge a problem", cause=key)
        cause = next((each for each in (await self.overview(who)).causes if each.key == key), None)
        if cause is None:
            raise NotFound("this problem is over, or has changed", hint="Look at /operations again.")
        about = {"cause": key, "sentence": sentence, "hours": f"{hours:g}"}
        await self._audit.record("problem acknowledged", who=who.user.id, address=who.address, **about)
        now = datetime.now(UTC)
        said = Acknowledged(
            by=who.user.name or who.user.id, sentence=sentence, at=now, until=now + timedelta(hours=hours),
            what=identity(cause),
        )  # fmt: skip
        await self._known_causes.keep(key, said)

    async def withdraw(self, who: Caller, key: str) -> None:
        """Take back what was said of a cause: it is told of again.

        Raises:
            NotAllowed: they are no operator.
            NotFound: nobody has acknowledged it.
        """
        await self._require_operator(who, "withdraw an acknowledgement", cause=key)
        if not await self._known_causes.forget(key):
            raise NotFound("nobody has acknowledged this problem", hint="Look at /operations again.")
        about = {"cause": key}
        await self._audit.record("acknowledgement withdrawn", who=who.user.id, address=who.address, **about)

    async def redis_answers(self) -> bool:
        """Tell whether sessions can be looked up."""
        return await self._health.redis_answers()

    async def without_redis(self) -> Operations:
        """Look at everything that can be seen while Redis does not answer; whoever asks must have been let in."""
        return await self._facility([], {})

    async def _facility(self, stations: Sequence[StationStatus], known: Mapping[str, Acknowledged]) -> Operations:
        seen, (queues, problem) = await asyncio.gather(self._health.look(), self._queues())
        checks = [*seen.checks, *([CheckBody(name="queues", ok=False, detail=problem)] if problem else [])]
        seen = replace(seen, checks=checks, stations=stations, queues=queues, refused=self._refusals.current())
        return self._judged(seen, self._links, known, in_reach=self._board.reaches_parked)

    def _judged(self, seen: Seen, links: Links, known: Mapping[str, Acknowledged], *, in_reach: bool) -> Operations:
        now = datetime.now(UTC)
        wrong = troubles(seen, now)
        found = causes(wrong)
        if in_reach or seen.checks:  # staff see a part of it, which says nothing about the rest
            self._since = {cause.key: self._since.get(cause.key, now) for cause in found}
        for cause in found:
            cause.since = self._since.get(cause.key)
        acknowledge(found, known, now)
        consumers = [owner(queue.name) for queue in self._board.topology]
        movers, unheard = _movers(seen)
        rows = parts([*_known(seen, consumers), *movers], found, unheard)
        for row in rows:
            if row.health != "unknown" and row.kind != "mover":  # what its row says has the time, and its name ends
                self._known[row.kind, row.name] = now
            row.since = self._known.get((row.kind, row.name)) if row.health == "unknown" else None
        return Operations(
            well=all(cause.acknowledged for cause in found), summary=summary(found), seen=now, causes=found, parts=rows,
            troubles=wrong, stations=list(seen.stations), checks=list(seen.checks), queues=list(seen.queues),
            parked_in_reach=in_reach, links=links,
        )  # fmt: skip

    async def parked_messages(self, who: Caller) -> list[Parked]:
        """List what is parked.

        Raises:
            NotAllowed: they are no operator.
        """
        await self._require_operator(who, "read parked messages")
        return [Parked.of(queue.name, message, EXCERPT) for queue, message in await self._board.parked()]

    async def parked_groups(self, who: Caller) -> Groups:
        """List what is parked by queue and reason.

        Raises:
            NotAllowed: they are no operator.
        """
        await self._require_operator(who, "read parked messages")
        found, unread = await self._board.groups()
        items = [
            Group(
                queue=one.queue, reason=one.reason[:2000], messages=len(one.ids), replayable=one.replayable,
                oldest=one.examples[0].time, examples=[Parked.of(one.queue, each, EXCERPT) for each in one.examples],
            )
            for one in found
        ]  # fmt: skip
        return Groups(items=items, unread=unread, job=_job(self._board.job) if self._board.job else None)

    async def settle_group(self, who: Caller, verb: Verb, queue: str, reason: str) -> Job:
        """Begin to replay or drop a whole group; who did so is recorded before it is done, and when they may not.

        Raises:
            NotAllowed: they are no operator.
            NotFound: there is no such group.
            GroupBusy: another group is being settled.
        """
        about = {"queue": queue, "reason": reason[:500]}
        await self._require_operator(who, f"{verb} a group of parked messages", **about)
        await self._audit.record(f"group of parked messages: {verb}", who=who.user.id, address=who.address, **about)
        return _job(await self._board.settle_group(verb, queue, reason, who.user.id))

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


def _job(job: GroupJob) -> Job:
    return Job(
        verb=job.verb, queue=job.queue, reason=job.reason[:2000], messages=job.messages, done=job.done, over=job.over,
        problem=job.problem,
    )  # fmt: skip


_OF_CHECKS: dict[str, tuple[Kind, str, str]] = {
    "broker": ("broker", "broker", "connected"),
    "redis": ("redis", "redis", "answers"),
    "catalogue": ("catalogue", "catalogue", "answers"),
    "identity provider": ("identity provider", "identity provider", "answers"),
    "outbox": ("service", "gateway", "works"),
    "catalog service": ("service", "catalog", "answers"),
}


def _movers(seen: Seen) -> tuple[list[tuple[Kind, str, str]], dict[tuple[Kind, str], str]]:
    """List the movers that transfers know with what they do, and what is to be said of those that are not heard."""
    found: list[tuple[Kind, str, str]] = []
    unheard: dict[tuple[Kind, str], str] = {}
    for status in seen.stations:
        for service in status.services:
            for mover in service.movers:
                name, heard = mover_name(mover), ago(service.age_s + mover.heard_s)
                files = f"{mover.files} file{'s' if mover.files != 1 else ''}, {size(mover.bytes)}"
                does = f"moves {files} for" if mover.files else "waits for files of"
                found.append(("mover", name, f"{does} {status.station}; heard {heard} ago"))
                if service.silent:
                    unheard["mover", name] = f"the transfer of {status.station}, which knows it, does not report"
                elif mover.gone:
                    unheard["mover", name] = (
                        f"not heard for {heard} by the transfer of {status.station}: ended, or cut off; "
                        "others move what it had"
                    )
    return found, unheard


def _known(seen: Seen, consumers: Sequence[tuple[Kind, str]]) -> list[tuple[Kind, str, str]]:
    """List the parts that there are, each with what is to be said of it when nothing is wrong."""
    found: dict[tuple[Kind, str], str] = {}
    for check in seen.checks:
        if check.name in _OF_CHECKS:
            kind, name, well = _OF_CHECKS[check.name]
            found[kind, name] = well
    for status in seen.stations:
        station = Station.parse(status.station)
        own = [service for service in status.services if service.service not in FACILITY_SERVICES]
        if own or status.silent:
            heard = f"last report {ago(min(service.age_s for service in own))} ago" if own else ""
            one: tuple[Kind, str] = ("harvester", station.station) if station.is_plug_in else ("station", station.key)
            found[one] = heard
        for service in own:
            for storage in service.storages:
                found.setdefault(("storage", storage.remote), "accepts files, as far as its stations know")
    if seen.checks:
        for kind, name in consumers:
            if kind in ("station", "harvester"):
                found.setdefault((kind, name), "connected")
    return [(kind, name, well) for (kind, name), well in found.items()]
