"""The stations that there are: those that are configured, and those that have reported."""

from collections.abc import Sequence
from datetime import UTC, datetime

from datauploader.contracts import Station
from datauploader.contracts.rest.stations import StationStatus
from datauploader_gateway.errors import UnknownStation
from datauploader_gateway.projection.reader import ViewReader


class StationDirectory:
    """Knows the stations by their names, and how they are."""

    def __init__(self, reader: ViewReader, configured: Sequence[Station], removed: Sequence[str] = ()) -> None:
        """Read through `reader`; those configured are there even if they never reported, those removed are not."""
        self._reader = reader
        self._configured, self._removed = configured, removed

    async def all_status(self) -> list[StationStatus]:
        """Return how all of them are as the view knows it, with the plug-ins, which report as stations do."""
        removed = set(self._removed)
        found = await self._reader.stations([station.key for station in self._configured], datetime.now(UTC))
        return [status for status in found if status.station not in removed]

    async def known(self) -> list[StationStatus]:
        """Return all stations as the view knows them, without harvesters and consumers."""
        return [status for status in await self.all_status() if not Station.parse(status.station).is_plug_in]

    async def with_watcher(self) -> list[StationStatus]:
        """Return those to choose from for an upload; one that is silent is among them, and says so."""
        return [status for status in await self.known() if status.has_watcher]

    async def find(self, text: str) -> Station:
        """Return the station of this name.

        Raises:
            UnknownStation: it is neither configured nor has it ever reported.
        """
        known = [status.station for status in await self.known()]
        try:
            station = Station.parse(text)
        except ValueError as error:
            raise UnknownStation(str(error)) from error
        if station.key not in known:
            raise UnknownStation(f"there is no station {station.key!r}; there are: {', '.join(known)}")
        return station
