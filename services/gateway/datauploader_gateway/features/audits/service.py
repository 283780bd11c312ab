"""Audits: have what lies on the storage compared with the manifest, and see what was found."""

import uuid
from datetime import UTC, datetime, timedelta

from datauploader.contracts import AuditRequested, Destination, Event, EventData, Station
from datauploader.contracts.rest.audits import Asked, Audit
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import NothingToCompare
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.projection.audited import audits_of
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.settings import SERVICE

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
