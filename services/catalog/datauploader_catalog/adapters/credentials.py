"""The service's own name and password at a catalogue: once refused, they are not tried again and again."""

import time

from datauploader.plugins.catalogue.errors import NotTrusted
from datauploader.reliability.backoff import Backoff

_PAUSES = Backoff(first_s=120.0, longest_s=1800.0)
"""Many systems lock an account after five wrong passwords, or ten, within a quarter of an hour."""


class RefusedCredentials:
    """What is remembered of a refusal, by the session that signs in; the session's lock is held by whoever calls."""

    def __init__(self) -> None:
        """Nothing was refused yet."""
        self._refusals, self._until, self._sentence = 0, 0.0, ""

    def check(self) -> None:
        """See that the credentials may be tried now.

        Raises:
            NotTrusted: they were refused a while ago; says when they are tried again.
        """
        left = self._until - time.monotonic()
        if left > 0:
            raise NotTrusted(self._sentence, retry_after=left)

    def refused(self, sentence: str) -> NotTrusted:
        """Remember a refusal, and return it as an error."""
        self._refusals += 1
        pause_s = _PAUSES.wait_s(self._refusals)
        self._until = time.monotonic() + pause_s
        self._sentence = (
            f"{sentence} It is tried again after at most {_PAUSES.longest_s / 60:.0f} minutes, and when the catalog is "
            "restarted, because wrong passwords can lock an account."
        )
        return NotTrusted(self._sentence, retry_after=pause_s)

    def accepted(self) -> None:
        """Forget what was refused."""
        self._refusals, self._until = 0, 0.0
