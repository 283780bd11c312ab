"""The record of who changed what, as far as somebody may see it."""

from collections.abc import Sequence

from datauploader_gateway.auth.audit_log import AuditEntry, AuditFilter, AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.projection.reader import ViewReader


class AuditTrail:
    """Shows the audit log: everything to operators, what concerns uploads of their beamlines to staff."""

    def __init__(self, log: AuditLog, reader: ViewReader) -> None:
        """Show this log."""
        self._log, self._reader = log, reader

    async def entries(
        self, who: Caller, wanted: AuditFilter, after: str, limit: int
    ) -> tuple[list[AuditEntry], str | None]:
        """Return up to `limit` entries that are looked for, newest first, and where the next page begins.

        Raises:
            NotAllowed: they may see nothing of it.
            InvalidRequest: `after` is no position in the record.
        """
        if who.user.role == "user":
            raise NotAllowed("the record of what people did is for operators and beamline staff")

        async def of_uploads(entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
            ids = list({entry.about["upload_id"] for entry in entries if "upload_id" in entry.about})
            uploads = await self._reader.several(ids)
            seen = {upload.id for upload in uploads if upload and who.user.may_see_of("", upload.station)}
            return [entry for entry in entries if entry.about.get("upload_id") in seen]

        async def everything(entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
            return entries

        visible = everything if who.user.role == "operator" else of_uploads
        return await self._log.entries(wanted, visible, after, limit)
