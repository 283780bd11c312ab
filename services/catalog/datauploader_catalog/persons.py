"""In whose name somebody may ask for an upload: a station's own word is not enough to speak for a person."""

from collections.abc import Collection, Mapping

from datauploader.contracts import Station, UploadRequested
from datauploader.errors import Park
from datauploader.messaging import Delivery

RULE = "rule:"
"""How the name begins that a standing rule gives instead of a person's."""
EVERYBODY_ELSE = "*"


class RequesterCheck:
    """Checks requesters: who is believed about persons, and for whom the standing rules of a station work."""

    def __init__(self, believed: Collection[str], rule_owners: Mapping[str, str]) -> None:
        """Take the broker's users who have signed persons in, and the owners of rules by station."""
        self._believed, self._owners = frozenset(believed), dict(rule_owners)

    def check_requester(self, delivery: Delivery) -> None:
        """Refuse a request in a person's name that nobody has made who knows the person.

        Raises:
            Park: the sender may ask for its standing rules alone.
        """
        data = delivery.event.data
        if not isinstance(data, UploadRequested) or delivery.sender in self._believed:
            return
        if not data.requested_by.id.startswith(RULE):
            raise Park(
                f"forbidden: {delivery.sender or 'an unknown user'} asks in the name of {data.requested_by.id!r} for "
                f"upload {data.upload_id}; only the gateway may, see gateway_users of [catalog]"
            )

    def find_owner(self, request: UploadRequested, station: Station) -> str:
        """Return the person whose rights decide about an upload; "" for a rule that nobody answers for."""
        if not request.requested_by.id.startswith(RULE):
            return request.requested_by.id
        return self._owners.get(station.key) or self._owners.get(EVERYBODY_ELSE, "")
