"""One computer for one station's name: the claim of a watcher or a transfer to its station's queue."""

import socket

import structlog

from datauploader.messaging.port import Ownership
from datauploader.messaging.topology import Queue

log = structlog.get_logger()


class StationClaim:
    """A claim to a station's name: whether its queue is this computer's, and what to say where it is another one's."""

    def __init__(self, queue: Queue, state: str) -> None:
        """Claim a station's queue for the state file of this name, on this computer."""
        assert queue.station is not None
        self._queue, self._station, self._host = queue, queue.station.key, socket.gethostname()
        self.ours = False
        """The queue is this computer's; False before that is known."""
        self.problem = ""
        """A sentence while another computer has the queue, "" as far as none is known."""
        self.ownership = Ownership(state, held=self._held, lost=self._lost, host=self._host)

    def _held(self) -> None:
        if self.problem:
            log.info("station_claimed", queue=self._queue.name)
        self.ours, self.problem = True, ""

    def _lost(self, rival: str) -> None:
        sentence = two_computers(self._station, self._host, rival)
        if sentence != self.problem:
            log.error("station_claimed_by_another_computer", queue=self._queue.name, problem=sentence)
        self.ours, self.problem = False, sentence


def two_computers(station: str, here: str, rival: str) -> str:
    """Say that two computers use one station's name, and what to do."""
    what = f"Two computers use the station name {station}: {here} and {rival or 'another one of the same name'}."
    if rival in ("", here):
        what = (
            f"Two services with separate state folders use the station name {station}, both on a computer named {here}."
        )
    return f"{what} Give one of them another station name in its settings; until then only the first one works."
