"""What somebody may see and take of a station: by the beamlines of their investigations, and by whose folders they are.

The catalogue is asked whose an upload becomes; whose the files are that it takes is asked here (ADR 39).
"""

import re
import time
from collections.abc import Iterable, Sequence

from datauploader.contracts import Station
from datauploader.contracts.questions import Folder, InvestigationSummary
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.paths import child
from datauploader_gateway.settings import GatewaySettings
from datauploader_gateway.settings.folders import InvestigationFolders

KEPT_S = 30.0
"""For so long the catalogue is not asked again whose investigations are whose."""
_REMEMBERED = 1000
_MOST_ENTRIES = 5000
"""Of a folder on the way to somebody's."""


class StationRights:
    """Asks the catalogue for people's investigations, and remembers them for a moment."""

    def __init__(self, questions: QueryClient, settings: GatewaySettings) -> None:
        """Ask through `questions`; the settings say how strict this is."""
        self._questions, self._settings = questions, settings
        self._known: dict[str, tuple[float, Sequence[InvestigationSummary]]] = {}

    async def holds(self, user: SignedInUser, station: Station) -> bool:
        """Tell whether somebody may see what a station holds.

        Raises:
            CatalogueAway: nobody can tell.
        """
        everybody = self._settings.stations_for == "everybody" or self._settings.desktop.get_secret_value()
        if everybody or user.may_see_of("", station.key):
            return True
        return any(self._is_at(one, station) for one in await self._open(user))

    async def require_access(self, user: SignedInUser, station: Station, paths: Iterable[str] = ()) -> None:
        """See that somebody may take these folders and files of a station.

        Raises:
            NotAllowed: not of this station, or not all of them.
            CatalogueAway: nobody can tell.
        """
        if not await self.holds(user, station):
            theirs = sorted({one.beamline for one in await self._open(user)})
            raise NotAllowed(
                f"you have no open investigation at {station.beamline}, so you cannot see {station.key}",
                hint=f"Your open investigations are at: {', '.join(theirs) or 'no beamline'}. If that is the same "
                "beamline under another name, an operator can say so in gateway.beamlines.",
            )
        folders = self._folders(user, station)
        if not folders.any:
            return
        mine = await self._names(user)
        for path in paths:
            if folders.place(path, mine) != "inside":
                raise NotAllowed(
                    f"{path[:500]} belongs to no investigation of yours",
                    hint="Choose a folder of one of your investigations, or ask the beamline's staff.",
                )

    async def folder(
        self, user: SignedInUser, station: Station, path: str, offset: int, limit: int, *, contains: str, counts: bool
    ) -> Folder:  # fmt: skip
        """Ask a station what lies in a folder, as far as it is this person's.

        Raises:
            Problem: as `require_access` and `QueryClient.folder`.
        """
        await self.require_access(user, station)
        folders = self._folders(user, station)
        mine = await self._names(user) if folders.any else frozenset[str]()
        if not folders.any or (path and folders.place(path, mine) == "inside"):
            return await self._questions.folder(station, path, offset, limit, contains=contains, counts=counts)
        if path and folders.place(path, mine) == "outside":
            raise NotAllowed(f"{path[:500]} belongs to no investigation of yours", hint="An empty path lists what is.")
        found = await self._questions.folder(station, path, 0, _MOST_ENTRIES, contains=contains, counts=counts)
        kept = [
            entry
            for entry in found.entries
            if folders.place(full := child(path, entry.name) if path else entry.name, mine) == "inside"
            or (entry.kind == "folder" and folders.place(full, mine) == "above")
        ]
        return found.model_copy(update={"entries": tuple(kept[offset : offset + limit]), "total": len(kept)})

    def _folders(self, user: SignedInUser, station: Station) -> InvestigationFolders:
        if user.may_see_of("", station.key):
            return InvestigationFolders(())
        owners = self._settings.folder_owners
        return InvestigationFolders(owners.get(station.key, owners.get(_beamline(station), ())))

    def _is_at(self, investigation: InvestigationSummary, station: Station) -> bool:
        said = investigation.beamline
        if said in self._settings.beamlines:
            return self._settings.beamlines[said] == _beamline(station)
        return not said or _plain(said) == _plain(station.beamline)

    async def _names(self, user: SignedInUser) -> frozenset[str]:
        """Return what folders of somebody's investigations may be called, in lower case."""
        return frozenset(
            name.casefold() for one in await self._investigations(user) for name in (one.id, one.name) if name
        )

    async def _open(self, user: SignedInUser) -> Sequence[InvestigationSummary]:
        return [one for one in await self._investigations(user) if one.open]

    async def _investigations(self, user: SignedInUser) -> Sequence[InvestigationSummary]:
        now = time.monotonic()
        until, known = self._known.get(user.id, (0.0, ()))
        if now >= until:
            known = (await self._questions.investigations(user.id)).items
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[user.id] = (now + KEPT_S, known)
        return known


def _beamline(station: Station) -> str:
    return f"{station.facility}.{station.beamline}"


def _plain(name: str) -> str:
    """Return what people mean by a beamline's name: `XRD 1` and `xrd-1` are one."""
    return re.sub(r"[\W_]", "", name.casefold())
