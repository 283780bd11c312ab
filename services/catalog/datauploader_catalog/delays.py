"""What keeps an upload waiting for the catalogue: when it is tried again, and from when on people hear of it."""

import sqlite3
import time
from datetime import UTC, datetime

from datauploader.contracts import DatasetDelayed, Event, EventData
from datauploader.plugins.catalogue.errors import CatalogError, NotYetThere
from datauploader.reliability import Outbox
from datauploader_catalog.ledger import WantedDataset
from datauploader_catalog.objections import GracePeriod, is_away, pause_s, rare_s


class CatalogueDelays:
    """The delays of uploads: columns of the table `uploads`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def postpone_upload(
        self, request: Event[EventData] | None, upload: WantedDataset, error: CatalogError, grace: GracePeriod
    ) -> float:
        """Try an upload again later, and say so once it has waited too long; return the seconds until the next attempt.

        What plainly passes is tried every minute at least. What nobody knows is tried ever more rarely after a while,
        up to once an hour, and a person is asked to look.
        """
        now = time.time()
        attempts, since = upload.attempts + 1, upload.since or now
        passes = is_away(error) or isinstance(error, NotYetThere)
        stays = not passes and grace.has_ended(attempts, since, now)
        if isinstance(error, NotYetThere):
            wait = 1.0
        else:
            wait = rare_s(attempts) if stays else pause_s(upload.attempts, error.retry_after)
        detail = str(error)[:2000]
        fresh = detail != upload.told and now - upload.told_at >= grace.seconds
        tell = request is not None and fresh and (stays or (passes and now - since >= grace.seconds))
        told, told_at = (detail, now) if tell else (upload.told, upload.told_at)
        self._db.execute(
            "UPDATE uploads SET attempts = ?, since = ?, due = ?, pause = ?, trouble = ?, told = ?, told_at = ?"
            " WHERE upload_id = ?",
            (attempts, since, now + wait, wait, detail, told, told_at, upload.upload_id),
        )
        if tell and request is not None:
            self._say(request, detail, datetime.fromtimestamp(since, UTC), wait, needs_person=stays)
        return wait

    def is_delayed(self, upload_id: str) -> bool:
        """Tell whether an upload was put off, or people were told that it was."""
        query = "SELECT 1 FROM uploads WHERE upload_id = ? AND (since > 0 OR told <> '')"
        return self._db.execute(query, (upload_id,)).fetchone() is not None

    def end_delay(self, request: Event[EventData], upload_id: str) -> None:
        """Note that an upload does not wait any more, and take back what was said."""
        if not self.is_delayed(upload_id):
            return
        row = self._db.execute("SELECT told FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        self._db.execute(
            "UPDATE uploads SET attempts = 0, since = 0, due = 0, pause = 0, trouble = '', told = '', told_at = 0"
            " WHERE upload_id = ?",
            (upload_id,),
        )
        if row["told"]:
            self._say(request, "", None, 0, needs_person=False)

    def lasting_delays(self) -> list[str]:
        """Return why uploads wait that have waited too long, each reason once."""
        rows = self._db.execute(
            "SELECT DISTINCT trouble FROM uploads INDEXED BY uploads_later WHERE due > 0 AND told <> ''"
        )
        return [row["trouble"] for row in rows.fetchmany(50)]

    def _say(
        self, request: Event[EventData], detail: str, since: datetime | None, retry_s: float, *, needs_person: bool
    ) -> None:
        fact = DatasetDelayed(
            upload_id=request.data.upload_id, detail=detail, since=since, retry_s=retry_s, needs_person=needs_person
        )
        Outbox.put(self._db, request.follow(fact, service="catalog"))
