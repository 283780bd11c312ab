"""The way in for operators while Redis does not answer: a local account, checked with every request, for one page."""

import base64
import binascii

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.throttle import network
from datauploader_gateway.errors import NotAllowed, TooManyAttempts
from datauploader_gateway.settings import GatewaySettings

CHALLENGE = {"WWW-Authenticate": 'Basic realm="DataUploader operations", charset="UTF-8"'}


class DirectAccess:
    """Lets operators with a local account in without a session.

    Attempts are counted in this process, because Redis cannot be asked; all count before anybody looks at the
    password, and those of one account count whatever address they come from.
    """

    def __init__(self, accounts: Accounts, settings: GatewaySettings) -> None:
        """Ask these accounts."""
        self._accounts = accounts
        self._storage = MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._pair = RateLimitItemPerMinute(settings.attempts_per_account, 5, namespace="direct-pair")
        self._address = RateLimitItemPerMinute(settings.attempts_per_address, 5, namespace="direct-address")
        self._account = RateLimitItemPerHour(settings.attempts_from_strangers, 1, namespace="direct-account")

    async def admit(self, authorization: str, address: str) -> SignedInUser | None:
        """Return the operator whom this `Authorization` header proves, None for nobody.

        Raises:
            NotAllowed: an account that is no operator's.
            TooManyAttempts: the password must not even be looked at.
        """
        scheme, _, packed = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        source = network(address)
        counters = ((self._pair, (name, source)), (self._address, (source,)), (self._account, (name,)))
        for limit, of in counters:
            if not await self._limiter.hit(limit, *of):
                raise TooManyAttempts("too many attempts to sign in from here, or to this account", retry_after_s=300)
        user = await self._accounts.verify_in_thread(name, password)
        if user is None:
            return None
        for limit, of in counters:  # what was no guess does not count: a browser proves itself with every request
            await self._storage.decr(limit.key_for(*of))
        if user.role != "operator":
            raise NotAllowed("operations are for operators", hint="Ask an operator.")
        return user
