"""Plays the backend of the UserOffice software, as far as its broker hears of it (docs/catalogues/useroffice.md)."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from datauploader_testing.servers.rabbitmq_management import Management

EXCHANGE = "user_office_backend.fanout"
ISSUER = "https://login.facility.eu"

Member = dict[str, Any]


def member(number: int, name: str, *, signed_in: bool = True) -> Member:
    """Describe a person as the backend does; who has never signed in has no `oidcSub` yet."""
    return {
        "firstName": name.title(),
        "lastName": "Example",
        "email": f"{name}@example.org",
        "id": str(number),
        "oidcSub": f"sub-{name}" if signed_in else None,
        "oauthIssuer": ISSUER if signed_in else None,
        "institution": {"id": 1, "name": "Other"},
        "country": {"countryId": 1, "country": "Italy"},
    }


@dataclass(slots=True)
class Proposal:
    """A proposal as the backend's database holds it."""

    pk: int
    code: str
    proposer: Member
    members: list[Member] = field(default_factory=list)
    data_access: list[Member] = field(default_factory=list)
    visitors: list[Member] = field(default_factory=list)
    status: str = "ALLOCATED"

    def message(self) -> bytes:
        """Write the message that says everything about it, in the backend's order."""
        said = {
            "proposalPk": self.pk,
            "shortCode": self.code,
            "instruments": [{"id": 1, "shortCode": "XRD1", "allocatedTime": 86400}],
            "title": f"Proposal {self.code}",
            "abstract": "",
            "callId": 1,
            "members": self.members,
            "dataAccessUsers": self.data_access,
            "visitors": self.visitors,
            "newStatus": self.status,
            "submitted": True,
            "proposer": self.proposer,
        }
        return json.dumps(said).encode()


class UserOffice:
    """The backend: proposals that people change, each change published to a fanout."""

    def __init__(
        self, management: Management, vhost: str, *, exchange: str = EXCHANGE, now: Callable[[], float] = time.time
    ) -> None:
        """Make the exchange, as the backend does before each message."""
        self._management, self._vhost, self._exchange, self._now = management, vhost, exchange, now
        self._proposals = 0
        management.put("exchanges", vhost, exchange, body={"type": "fanout", "durable": True})

    def create(self, code: str, proposer: Member, *members: Member) -> Proposal:
        """Let somebody begin a proposal."""
        self._proposals += 1
        proposal = Proposal(self._proposals, code, proposer, list(members))
        self.say("PROPOSAL_CREATED", proposal.message())
        return proposal

    def save(self, proposal: Proposal) -> None:
        """Let somebody save it, changed or not."""
        self.say("PROPOSAL_UPDATED", proposal.message())

    def delete(self, proposal: Proposal) -> None:
        """Delete it: the message is made afterwards, when its people are gone from the database, but for one."""
        proposal.members, proposal.data_access, proposal.visitors = [], [], []
        self.say("PROPOSAL_DELETED", proposal.message())

    def update_user(self, person: Member) -> None:
        """Change a person: the whole record is published, with the token by which they can be signed in again."""
        said = person | {"oauthRefreshToken": f"secret-of-{person['id']}"}
        self.say("USER_UPDATED", json.dumps(said).encode())

    def say(self, kind: str, body: bytes, *, timed: bool = True) -> None:
        """Publish a message: its type is a property, its time are milliseconds, the routing key is empty."""
        properties: dict[str, Any] = {"delivery_mode": 2, "type": kind}
        if timed:
            properties["timestamp"] = round(self._now() * 1000)
        self._management.publish(self._vhost, self._exchange, body, properties)
