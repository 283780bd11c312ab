"""The person who is signed in, and what their role lets them see."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from datauploader.contracts import Person
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.summary import Upload
from datauploader_gateway.settings.oidc import Role

Method = Literal["local", "vuo", "oidc"]
"""How somebody has signed in."""


class User(BaseModel):
    """Somebody who has signed in."""

    model_config = ConfigDict(frozen=True)

    id: str
    """The identifier that the catalogue knows."""
    name: str = ""
    role: Role = "user"
    beamlines: tuple[str, ...] = ()
    """`facility.beamline`, for staff."""

    @property
    def person(self) -> Person:
        """How this person is named in events."""
        return Person(id=self.id, name=self.name)

    def may_see(self, upload: Upload) -> bool:
        """Tell whether this upload exists for this person."""
        return self.may_see_of(upload.requested_by.id, upload.station)

    def may_see_of(self, person: str, station: str) -> bool:
        """Tell whether an upload of this person at this station exists for us."""
        if self.role == "operator" or person == self.id:
            return True
        return self.role == "staff" and station.rpartition(".")[0] in self.beamlines

    @property
    def index(self) -> str:
        """The list that holds everything that this person may see, and perhaps more."""
        return self.own_index if self.role == "user" else keys.UPLOADS

    @property
    def own_index(self) -> str:
        """The list of what this person asked for."""
        return keys.of_person(self.id)
