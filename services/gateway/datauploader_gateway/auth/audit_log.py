"""Who changed what, when and from where: a line in the log and an entry in Redis."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import structlog
from pydantic import BaseModel, Field
from redis.asyncio import Redis
from redis.exceptions import RedisError

from datauploader.contracts.names import same_look
from datauploader_gateway import redis_client
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.projection import keys
from datauploader_gateway.redis_client import Entries

log = structlog.get_logger()

REFUSED = "sign-in refused"
"""What somebody did whom nobody knows."""
KEPT = 10_000
"""Entries of each kind, of refused sign-ins and of all others."""
_CHUNK = 500
_POSITION = re.compile(r"\d{1,20}-\d{1,20}")


class AuditEntry(BaseModel):
    """One thing that somebody did."""

    id: str
    time: str
    what: str
    who: str = Field(description="The person's identifier; of a refused sign-in, the name that was tried.")
    address: str
    about: dict[str, str] = Field(description="What else is known, such as `upload_id` and `station`.")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Everything of which must hold; empty fields hold always."""

    text: str = ""
    """Words that all stand somewhere in the entry, whatever their case."""
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """Entries before this moment."""

    def wants(self, entry: AuditEntry) -> bool:
        """Tell whether an entry is looked for; the time was seen to before."""
        if self.who and entry.who != self.who:
            return False
        hay = same_look("\n".join((entry.what, entry.who, entry.address, *entry.about.values())))
        return all(word in hay for word in same_look(self.text).split())


Visible = Callable[[Sequence[AuditEntry]], Awaitable[Sequence[AuditEntry]]]
"""Leaves out what somebody may not see."""


class AuditLog:
    """The audit log: a record of what people did here."""

    def __init__(self, client: Redis) -> None:
        """Record through this client as well as in the log."""
        self._redis = client

    async def record(self, what: str, *, who: str, address: str, **about: str) -> None:
        """Write one entry; the log has it even while Redis is away."""
        log.info("audit", what=what, who=who, address=address, **about)
        try:
            entry = {"what": what, "who": who, "address": address, **about}
            stream = keys.REFUSED if what == REFUSED else keys.AUDIT
            await self._redis.xadd(stream, dict(entry.items()), maxlen=KEPT, approximate=False)
        except RedisError as error:
            log.warning("audit_only_in_log", problem=str(error))

    async def entries(
        self, wanted: AuditFilter, visible: Visible, after: str, limit: int
    ) -> tuple[list[AuditEntry], str | None]:
        """Return up to `limit` entries that are looked for, newest first, and where the next page begins.

        Raises:
            InvalidRequest: `after` is no position in the record.
        """
        if after and not _POSITION.fullmatch(after):
            raise InvalidRequest("after: this is not a cursor of this list; use `next` of the previous page")
        high, low = f"({after}" if after else _bound(wanted.until, "+", before=True), _bound(wanted.since, "-")
        found: list[AuditEntry] = []
        while read := await self._read(high, low):
            high = f"({read[-1].id}"
            found += await visible([entry for entry in read if wanted.wants(entry)])
            if len(found) > limit:
                while limit < len(found) and found[limit].id == found[limit - 1].id:
                    limit += 1
                return found[:limit], found[limit - 1].id if limit < len(found) else None
        return found, None

    async def _read(self, high: str, low: str) -> list[AuditEntry]:
        """Read the next entries of both streams, newest first; what has the same position in both is never parted."""
        read: list[AuditEntry] = []
        since = ""
        for stream in (keys.AUDIT, keys.REFUSED):
            some = cast("Entries", await self._redis.xrevrange(stream, high, low, count=_CHUNK))
            for position, fields in some:
                known = {name.decode(): said.decode(errors="replace") for name, said in fields.items()}
                seconds = int(position.partition(b"-")[0]) / 1000
                time = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                what, who, address = (known.pop(name, "") for name in ("what", "who", "address"))
                entry_id = redis_client.text(position)
                read.append(AuditEntry(id=entry_id, time=time, what=what, who=who, address=address, about=known))
            if len(some) == _CHUNK:
                since = max(since, redis_client.text(some[-1][0]), key=_place)
        return sorted((one for one in read if _place(one.id) >= _place(since)), key=lambda one: _place(one.id))[::-1]


def _place(position: str) -> tuple[int, ...]:
    """Return what the positions of a stream are ordered by."""
    return tuple(int(part) for part in position.split("-") if part)


def _bound(moment: datetime | None, default: str, *, before: bool = False) -> str:
    if moment is None:
        return default
    milliseconds = max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
    return f"({milliseconds}-0" if before else f"{milliseconds}-0"
