"""Which address belongs to a person, and whether they want mail; what people choose is kept in Redis."""

from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis

from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.projection import keys
from datauploader_gateway.redis_client import text
from datauploader_gateway.settings.mail import MailSettings, is_address

Source = Literal["account", "identity-provider", "template", "none"]


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail address, and who vouches for it."""

    address: str
    source: Source


class Addresses:
    """Looks addresses up, and keeps what people and the identity provider say."""

    def __init__(self, client: Redis, accounts: Accounts, settings: MailSettings, *, kept_s: float) -> None:
        """Keep the choice for one upload for `kept_s`."""
        self._redis, self._accounts, self._settings = client, accounts, settings
        self._kept_s = int(kept_s)

    async def address_of(self, person: str) -> MailAddress:
        """Return the address of a person: the account file's, else the identity provider's, else the template's."""
        account = self._accounts.by_id(person)
        if account is not None and account.email:
            return MailAddress(account.email, "account")
        said = await self._redis.hget(keys.MAIL_ADDRESSES, person)
        if said is not None:
            return MailAddress(text(said), "identity-provider")
        made = self._settings.address.replace("{user}", person)
        if made and is_address(made) and not person.startswith("rule:"):
            return MailAddress(made, "template")
        return MailAddress("", "none")

    async def learn(self, person: str, claims: dict[str, object], *, vouched: bool) -> None:
        """Keep the address that the identity provider vouches for, and forget one for which it does so no longer."""
        address = claims.get("email")
        if isinstance(address, str) and vouched and is_address(address):
            await self._redis.hset(keys.MAIL_ADDRESSES, person, address)
        elif address is not None:
            await self._redis.hdel(keys.MAIL_ADDRESSES, person)

    async def wanted(self, person: str, upload_id: str = "") -> bool:
        """Tell whether a person wants mail, about this upload if one is named."""
        if await self._redis.sismember(keys.MAIL_OFF, person):
            return False
        return not (upload_id and await self._redis.exists(keys.mail_off(upload_id)))

    async def choose(self, person: str, *, on: bool) -> None:
        """Switch all mail to a person on or off."""
        await (self._redis.srem if on else self._redis.sadd)(keys.MAIL_OFF, person)

    async def choose_for(self, upload_id: str, *, on: bool) -> None:
        """Switch mail about one upload on or off."""
        if on:
            await self._redis.delete(keys.mail_off(upload_id))
        else:
            await self._redis.set(keys.mail_off(upload_id), "1", ex=self._kept_s)
