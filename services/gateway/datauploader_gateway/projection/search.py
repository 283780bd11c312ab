"""What somebody looks for among the uploads: decided from as little of each upload as possible."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from datauploader.contracts.names import same_look
from datauploader.contracts.rest.uploads import UploadState
from datauploader_gateway.projection.fold import Register
from datauploader_gateway.projection.summary import state_of

STATE_REGISTERS = ("completed", "cancelled", "life", "dataset", "seal", "scan")
"""What `state_of` looks at."""


class Viewer(Protocol):
    """Somebody who looks, and what of the view exists for them."""

    @property
    def index(self) -> str:
        """The list that holds everything that they may see, and perhaps more."""

    def may_see_of(self, person: str, station: str) -> bool:
        """Tell whether an upload of this person at this station exists for them."""


@dataclass(frozen=True, slots=True)
class Search:
    """Everything of which must hold; empty fields hold always."""

    viewer: Viewer
    """Whoever looks sees no more than they may."""
    text: str = ""
    """Words that all stand somewhere in the names of the upload, whatever their case."""
    state: UploadState | None = None
    investigation: str = ""
    station: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """Uploads asked for before this moment."""

    @property
    def registers(self) -> tuple[str, ...]:
        """What `wants` must be given of an upload."""
        return ("request", *(STATE_REGISTERS if self.state else ()))

    @property
    def span(self) -> tuple[str, str]:
        """The bounds of the time of the request, as scores of Redis' sorted sets."""
        low = f"{_moment(self.since).timestamp():.6f}" if self.since else "-inf"
        return low, f"({_moment(self.until).timestamp():.6f}" if self.until else "+inf"

    def wants(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether an upload is looked for."""
        request = registers.get("request")
        if request is None or not self.viewer.may_see_of(str(request.data["requested_by"]["id"]), request.station):
            return False
        return (
            (not self.investigation or request.data["investigation"] == self.investigation)
            and (not self.station or request.station == self.station)
            and (self.state is None or state_of(registers) == self.state)
            and self._has_words(request)
        )

    def _has_words(self, request: Register) -> bool:
        if not self.text:
            return True
        asked = request.data
        names = (
            asked["investigation"], asked["dataset"]["name"], asked["root"], asked["destination"]["location"],
            asked["requested_by"]["id"], asked["requested_by"].get("name", ""), request.station, asked["upload_id"],
        )  # fmt: skip
        hay = same_look("\n".join(names))
        return all(word in hay for word in same_look(self.text).split())


def _moment(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
