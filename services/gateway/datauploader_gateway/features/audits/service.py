"""Audits: have what lies on the storage compared with the manifest, when a person asks, or when it is time again."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import redis
import structlog

from datauploader.contracts import AuditRequested, Destination, Event, EventData, Person, Station
from datauploader.contracts.rest.audits import Asked, Audit
from datauploader.contracts.rest.uploads import Upload
from datauploader.reliability import Outbox, Store
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import NothingToCompare
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.audited import audits_of
from datauploader_gateway.projection.fold import Register
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.summary import summarise
from datauploader_gateway.redis_client import raw, text
from datauploader_gateway.settings import SERVICE

log = structlog.get_logger()

BY = Person(id="rule:audit_every")
TURN_S = 60.0
"""How often it is looked whose turn it is."""
LOOKED_AT, ASKED = 200, 5
"""Uploads that are looked at, and audits that are asked for, in one turn."""
_UNANSWERED = timedelta(days=1)
"""After so long without an answer an audit is asked for anew."""
_SAME = timedelta(minutes=1)
"""Within so long an audit that has no answer yet is not asked for once more."""


class StorageAudits:
    """Asks for audits of uploads, and knows the latest ones."""

    def __init__(self, reader: ViewReader, publisher: CommandPublisher, audit_log: AuditLog) -> None:
        """Ask through `publisher`."""
        self._reader, self._publisher, self._audit_log = reader, publisher, audit_log

    async def latest(self, upload: Upload) -> tuple[list[Audit], Asked | None]:
        """Return the latest audits of an upload, the newest first, and the one that is being done."""
        registers = await self._reader.registers(upload.id)
        said = registers["audits"].data if "audits" in registers else {}
        asked = registers["audit"] if "audit" in registers and upload.auditing else None
        return audits_of(said), Asked.model_validate({**asked.data, "asked": asked.time}) if asked else None

    async def request(self, upload: Upload, who: Caller, trace: str, *, read: bool, accept: bool) -> Asked:
        """Pass a person's wish on to the station's transfer service; one that is under way already serves as well.

        Raises:
            NothingToCompare: nothing of the upload can be on the storage.
        """
        if upload.state in ("requested", "rejected"):
            raise NothingToCompare(f"the upload is {upload.state}: there is nothing on the storage to compare yet")
        _, under_way = await self.latest(upload)
        if under_way and (under_way.read, under_way.accept) == (read, accept):
            age = datetime.now(UTC) - datetime.fromisoformat(under_way.asked)
            if age < _SAME:
                return under_way
        data = AuditRequested(
            upload_id=upload.id, audit=uuid.uuid4().hex, read=read, accept=accept, requested_by=who.user.person,
            destination=Destination(remote=upload.remote, location=upload.location),
            manifest_sha256=upload.manifest_sha256 or None, files=upload.counts.found.files if upload.sealed else 0,
            bytes=upload.counts.found.bytes if upload.sealed else None,
        )  # fmt: skip
        event: Event[EventData] = Event(
            data=data, station=Station.parse(upload.station), service=SERVICE, traceparent=trace
        )
        self._publisher.publish_event(event)
        await self._publisher.show_event(event)
        await self._audit_log.record(
            "storage compared", who=who.user.id, address=who.address, upload_id=upload.id,
            accept="yes" if accept else "no",
        )  # fmt: skip
        return Asked(audit=data.audit, asked=event.time.isoformat(), read=read, accept=accept)


class DatasetRecheck:
    """Rechecks datasets: goes round all uploads that the view knows, again and again."""

    def __init__(self, client: redis.Redis, store: Store, outbox: Outbox, every: timedelta | None) -> None:
        """Have each complete dataset compared when the last look is older than `every`; None: never."""
        self._redis, self._store, self._outbox, self._every = client, store, outbox, every
        self._due, self._at = 0.0, 0

    def request_due(self) -> None:
        """Ask for the audits of a few uploads, if it is time."""
        if self._every is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + TURN_S
        ids = [text(one) for one in self._redis.zrange(keys.UPLOADS, self._at, self._at + LOOKED_AT - 1)]
        asked, now = 0, datetime.now(UTC)
        for upload_id in ids:
            if asked == ASKED:
                break
            self._at += 1
            head = {raw(name): raw(said) for name, said in self._redis.hgetall(keys.upload(upload_id)).items()}
            registers = {name[2:].decode(): Register.load(said) for name, said in head.items() if name[:2] == b"r:"}
            numbers = {name[2:].decode(): int(number) for name, number in head.items() if name[:2] == b"n:"}
            upload = summarise(upload_id, registers, numbers)
            if upload is not None and self._is_due(upload, registers, now):
                data = AuditRequested(
                    upload_id=upload.id, audit=uuid.uuid4().hex, requested_by=BY,
                    manifest_sha256=upload.manifest_sha256 or None, files=upload.counts.found.files,
                    bytes=upload.counts.found.bytes,
                    destination=Destination(remote=upload.remote, location=upload.location),
                )  # fmt: skip
                with self._store.transaction() as db:
                    Outbox.put(db, Event(data=data, station=Station.parse(upload.station), service=SERVICE))
                asked += 1
        else:
            self._at = self._at if len(ids) == LOOKED_AT else 0
        if asked:
            self._outbox.wake()
            log.info("dataset_rechecks_requested", asked=asked)

    def _is_due(self, upload: Upload, registers: dict[str, Register], now: datetime) -> bool:
        assert self._every is not None
        if upload.state != "completed" or upload.ended is None:
            return False
        asked = registers.get("audit")
        if upload.auditing and asked is not None and now - _moment(asked.time) < _UNANSWERED:
            return False
        looked = upload.audited.looked if upload.audited is not None else upload.ended
        return now - _moment(looked) > self._every


def _moment(said: str) -> datetime:
    return datetime.fromisoformat(said)
