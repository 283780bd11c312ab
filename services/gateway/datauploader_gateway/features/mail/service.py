"""Whether people get mail: altogether, and about one upload."""

from dataclasses import dataclass

from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.features.mail.addresses import Addresses, MailAddress


@dataclass(frozen=True, slots=True)
class MailState:
    """What becomes of mail to somebody."""

    to: MailAddress
    on: bool
    """They want mail."""

    @property
    def address(self) -> str:
        """Where it goes; "" where no address is known."""
        return self.to.address


class MailService:
    """Tells whether people get mail, and lets them switch it on and off."""

    def __init__(self, addresses: Addresses, audit: AuditLog, *, on: bool) -> None:
        """Know whether a mail server is configured here (`on`)."""
        self._addresses, self._audit, self.on = addresses, audit, on

    async def of(self, who: Caller) -> MailState:
        """Say whether mail is sent to somebody, and where to."""
        to = await self._addresses.address_of(who.user.id)
        return MailState(to, await self._addresses.wanted(who.user.id))

    async def wanted_about(self, upload: Upload) -> bool:
        """Tell whether the person of an upload gets mail about it."""
        return await self._addresses.wanted(upload.requested_by.id, upload.id)

    async def choose(self, who: Caller, *, on: bool) -> None:
        """Switch all mail to somebody on or off, on the record."""
        await self._addresses.choose(who.user.id, on=on)
        await self._audit.record(f"mail {_word(on=on)}", who=who.user.id, address=who.address)

    async def choose_about(self, upload: Upload, who: Caller, *, on: bool) -> None:
        """Switch mail about an upload on or off, on the record.

        Raises:
            NotAllowed: it is somebody else's mail.
        """
        if upload.requested_by.id != who.user.id:
            raise NotAllowed(
                "mail about this upload goes to the person who requested it; only that person can turn it on or off"
            )
        await self._addresses.choose_for(upload.id, on=on)
        await self._audit.record(
            f"upload mail {_word(on=on)}", who=who.user.id, address=who.address, upload_id=upload.id
        )


def _word(*, on: bool) -> str:
    return "switched on" if on else "switched off"
