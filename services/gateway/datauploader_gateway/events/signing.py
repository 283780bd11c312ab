"""How the gateway knows a request of its own again when a station brings it: by a signature that no station can make.

After the loss of everything on the server the stations alone know what was asked for. Their word is not enough to speak
for a person (ADR 21), so each request carries the proof that a gateway of this facility has said it (ADR 29).
"""

import hashlib
import hmac
import json
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from datauploader.contracts import Event, EventData, UploadRequested

_COST = 2**14
"""Of `scrypt`, about 50 ms once at the start: a weak password of the broker must not be found by trying."""


class Signer:
    """Signs requests with a key that is made from what the gateway alone has: its password at the broker."""

    def __init__(self, broker: str) -> None:
        """Derive the key from the address of the broker; in one process there is no password, and nobody to deceive."""
        password = unquote(urlsplit(broker).password or "")
        cost = _COST if password else 2
        self._key = hashlib.scrypt(password.encode(), salt=b"datauploader upload.requested", n=cost, r=8, p=1)

    def signed(self, event: Event[EventData]) -> Event[EventData]:
        """Return the event with its signature, where it is a request."""
        if not isinstance(event.data, UploadRequested):
            return event
        return replace(event, data=event.data.model_copy(update={"signature": self._of(event, event.data)}))

    def holds(self, event: Event[EventData]) -> bool:
        """Tell whether a request was said by a gateway with our key, exactly so."""
        data = event.data
        return isinstance(data, UploadRequested) and hmac.compare_digest(self._of(event, data), data.signature or "")

    def _of(self, event: Event[EventData], data: UploadRequested) -> str:
        """Sign all that is not as it is by default, so that a release with more fields makes the same signature."""
        fields = data.model_dump(mode="json", exclude_defaults=True, exclude={"signature"})
        text = json.dumps([event.station.key, event.id, fields], sort_keys=True)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
