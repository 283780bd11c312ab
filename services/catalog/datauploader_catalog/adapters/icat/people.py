"""People, as ICAT's table of users has them: a row each, by the name under which its authenticators sign them in."""

from pydantic import TypeAdapter

from datauploader.plugins.catalogue.errors import UnknownSession
from datauploader.plugins.catalogue.port import CatalogueUser
from datauploader_catalog.adapters.icat.queries import filled, is_id
from datauploader_catalog.adapters.icat.session import IcatSession
from datauploader_catalog.settings import IcatSettings

_USER = "SELECT u.id, u.name FROM User u WHERE u.name = {name}"
_USERS = TypeAdapter(list[tuple[int, str]])


class People:
    """Knows people by the identifier that the settings choose: the row's id, or the name without its prefix."""

    def __init__(self, settings: IcatSettings, session: IcatSession) -> None:
        self._settings, self._session = settings, session

    def signed_in(self, name: str) -> CatalogueUser:
        """Return who is signed in under this name.

        Raises:
            UnknownSession: ICAT has no such user, or knows them by another authenticator than it should.
        """
        row = self._row(name)
        if row is None:
            raise UnknownSession(f"ICAT has no user {name!r}; ask the user office to make one.")
        prefix = self._settings.user_prefix
        if self._settings.people_by == "id":
            identifier = str(row)
        elif name.startswith(prefix):
            identifier = name.removeprefix(prefix)
        else:
            raise UnknownSession(f"{name!r} is no name of those that begin with {prefix!r}; sign in there.")
        return CatalogueUser(identifier, name.partition("/")[2] or name)

    def find(self, user_id: str) -> int | None:
        """Return the id of a person's row."""
        if self._settings.people_by == "id":
            return int(user_id) if is_id(user_id) else None
        return self._row(self._settings.user_prefix + user_id) if user_id and "\0" not in user_id else None

    def _row(self, name: str) -> int | None:
        found = self._session.search(filled(_USER, name=name), _USERS)
        return next((user_id for user_id, known in found if known == name), None)
