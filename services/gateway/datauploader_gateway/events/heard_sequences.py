"""How far each state file of the stations has come, as its events say: who brings back an older one is told so."""

import threading
import time

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetCompleted,
    DatasetDelayed,
    DatasetEnsured,
    DatasetPartlyRefused,
    DatasetRefused,
    Event,
    EventData,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileReleased,
    FileStored,
    InvestigationAnnotated,
    Station,
    StationReported,
    UploadCancelled,
    UploadOpened,
    UploadRejected,
    UploadScanned,
    UploadSealed,
)
from datauploader.reliability import Schema, Store

SCHEMA = Schema(
    "lastheard",
    (
        """
        CREATE TABLE lastheard (
            station TEXT NOT NULL,
            service TEXT NOT NULL,
            state TEXT NOT NULL,               -- the state file's number
            run TEXT NOT NULL,                 -- one opening of it
            number INTEGER NOT NULL,           -- the highest of its events that was heard
            at REAL NOT NULL,                  -- seconds since 1970
            PRIMARY KEY (station, service, state, run)
        ) WITHOUT ROWID;
        """,
    ),
)
_SAID_BY_STATIONS: frozenset[type[EventData]] = frozenset(
    (
        UploadOpened, UploadRejected, UploadScanned, UploadSealed, UploadCancelled, FileReady, FileStored, FileFailed,
        FileLeftOut, FileReleased, StationReported,
    )
)  # fmt: skip
_SAID_BY_CATALOG: frozenset[type[EventData]] = frozenset(
    (
        DatasetEnsured, DatasetRefused, DatasetPartlyRefused, DatasetDelayed, DatasetCompleted, DatasetAnnotated,
        InvestigationAnnotated, FileCatalogued,
    )
)  # fmt: skip
CATALOG = "catalog"
"""Events count that the broker lets nobody say but the station itself, or the catalog: others, such as harvesters,
could else have them throw their states away."""
KEPT_S = 365 * 24 * 3600.0
"""Nobody puts back a copy that is older than this."""

_Key = tuple[str, str, str, str]


class HeardSequences:
    """Sequence numbers that were heard: in memory, written down now and then: thousands of events come in a second."""

    def __init__(self, store: Store) -> None:
        """Keep them in this store."""
        self._store = store
        self._lock = threading.Lock()
        self._fresh: dict[_Key, int] = {}

    def note(self, event: Event[EventData]) -> None:
        """Take note of how far the file was that an event comes from."""
        mark = event.mark
        own = _SAID_BY_CATALOG if event.service == CATALOG else _SAID_BY_STATIONS
        if mark is None or type(event.data) not in own:
            return
        key = (event.station.key, event.service, mark.state, mark.run)
        with self._lock:
            if mark.number > self._fresh.get(key, 0):
                self._fresh[key] = mark.number

    def write(self) -> None:
        """Write down what is new since the last time."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        if not fresh:
            return
        now = time.time()
        try:
            with self._store.transaction() as db:
                db.executemany(
                    "INSERT INTO lastheard VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET number = max(number, excluded.number), at = excluded.at",
                    [(*key, number, now) for key, number in fresh.items()],
                )
                db.execute("DELETE FROM lastheard WHERE at < ?", (now - KEPT_S,))
        except BaseException:
            with self._lock:
                for key, number in fresh.items():
                    self._fresh[key] = max(number, self._fresh.get(key, 0))
            raise

    def before(self, station: Station | None, service: str, state: str, run: str) -> int:
        """Return the highest number that was heard of a state file in other runs than this one; 0 for none.

        Without a station it is that of a service of the facility, which speaks about all stations.
        """
        self.write()
        query = "SELECT max(number) FROM lastheard WHERE service = ? AND state = ? AND run <> ?"
        values = [service, state, run]
        if station is not None:
            query += " AND station = ?"
            values.append(station.key)
        with self._store.reading() as db:
            return int(db.execute(query, values).fetchone()[0] or 0)
