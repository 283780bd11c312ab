"""The person who is signed in, and what their role lets them see."""

from datauploader.contracts import Person
from datauploader.contracts.rest.session import User
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.projection import keys


class SignedInUser(User):
    """Somebody who has signed in, with what their role lets them see."""

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
