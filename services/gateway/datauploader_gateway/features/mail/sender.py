"""Turns what has happened into letters, and sees to it that they are sent; lives in the gateway's event loop."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from jinja2 import TemplateError
from redis.exceptions import RedisError

from datauploader.contracts.rest.stations import StationStatus
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.features.mail.addresses import Addresses
from datauploader_gateway.features.mail.mail_templates import MailTemplates
from datauploader_gateway.features.mail.smtp_queue import SmtpQueue
from datauploader_gateway.features.mail.triggers import MailTrigger, MailTriggers
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.settings.mail import MailSettings

log = structlog.get_logger()

PAUSE_S = 0.25
"""How often it is looked for what is due."""
SILENCE_S = 30.0
"""How often it is looked for silent stations, at most."""
_PATIENCE_S = 24 * 3600.0
"""How long an occasion waits for the view to know its upload again."""


class MailSender:
    """The mail sender; does nothing while none is configured."""

    def __init__(
        self, triggers: MailTriggers, door: SmtpQueue, letters: MailTemplates, addresses: Addresses, reader: ViewReader,
        settings: MailSettings, *, stations: Sequence[str], link: str, removed: Sequence[str] = (),
        serves: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        """Tell of uploads under the address `link`, and of no station that was removed, while this gateway serves."""
        self._serves = serves
        self.addresses = addresses
        self._triggers, self._door, self._templates, self._reader = triggers, door, letters, reader
        self._settings, self._stations, self._removed, self._link = settings, stations, removed, link
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._silence_at = 0.0
        self._seen_silent: dict[str, str] = {}
        self.trouble = ""
        """A sentence while mail waits that cannot be sent."""

    def start(self) -> None:
        """Begin."""
        if self._settings.on:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End when the mail that is being handed over is handed over; the others stay for the next start."""
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                await self._look()
            except RedisError as error:
                log.warning("mail_retry_scheduled", problem=str(error))
            except sqlite3.DatabaseError as error:
                log.error("mail_retry_scheduled", problem=str(error))  # noqa: TRY400 - a sentence
            except Exception:  # the task must outlive whatever happens here
                log.exception("mail_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), PAUSE_S)

    async def _look(self) -> None:
        if self._serves():
            await self._write_due()
        done = await asyncio.to_thread(self._door.send_due, self._closing.is_set)
        if done.sent:
            log.info("mail_sent", letters=done.sent)
        self.trouble = done.trouble or (self.trouble if self._door.waiting() else "")

    async def _write_due(self) -> None:
        for trigger in self._triggers.due():
            await self._consider(trigger)
        if time.monotonic() >= self._silence_at:
            self._silence_at = time.monotonic() + min(SILENCE_S, self._settings.silent_after_s / 4)
            for station in await self._silent():
                since = station.last_report or ""
                if self._seen_silent.get(station.station) != since:
                    for person in {one.requested_by.id for one in await self._open(keys.UPLOADS, station.station)}:
                        self._triggers.add(f"{station.station}|{person}", "silent", since)
                    self._seen_silent[station.station] = since
            self._triggers.forget_old()

    async def _consider(self, trigger: MailTrigger) -> None:
        if not await self._reader.whole():
            self._triggers.postpone(trigger)
        elif trigger.kind == "silent":
            await self._consider_silence(trigger)
        elif (upload := await self._reader.upload(trigger.about)) is None:
            waited = time.time() - trigger.since > _PATIENCE_S
            (self._triggers.settle if waited else self._triggers.postpone)(trigger)
        elif not _is_so(trigger.kind, upload):
            self._triggers.settle(trigger)
        elif trigger.state == "told":
            self._triggers.postpone(trigger)
        else:
            await self._tell(trigger, upload.requested_by.id, upload.id, {"upload": upload})

    async def _tell(self, trigger: MailTrigger, person: str, upload_id: str, context: dict[str, object]) -> None:
        address = (await self.addresses.address_of(person)).address
        if not address or not await self.addresses.wanted(person, upload_id):
            self._triggers.keep_letter(trigger, None)
            return
        try:
            letter = self._templates.write(trigger.kind, {"link": self._link, **context})
        except TemplateError as error:
            log.error("mail_template_invalid", kind=trigger.kind, problem=str(error))  # noqa: TRY400 - a sentence
            self._triggers.postpone(trigger)
            return
        self._triggers.keep_letter(trigger, (address, letter.subject, letter.body))

    async def _consider_silence(self, trigger: MailTrigger) -> None:
        station, _, person = trigger.about.partition("|")
        silent = [found for found in await self._silent() if found.station == station]
        uploads = await self._open(keys.of_person(person), station)
        wanted = [upload for upload in uploads if await self.addresses.wanted(person, upload.id)]
        if not silent or not wanted:
            self._triggers.settle(trigger)
            return
        context: dict[str, object] = {"station": station, "since": silent[0].last_report, "uploads": wanted}
        await self._tell(trigger, person, "", context)

    async def _silent(self) -> list[StationStatus]:
        now = datetime.now(UTC)
        border = now - timedelta(seconds=self._settings.silent_after_s)
        found = await self._reader.stations(self._stations, now)
        silent = [s for s in found if s.silent and s.station not in self._removed]
        return [s for s in silent if s.last_report and datetime.fromisoformat(s.last_report) < border]

    async def _open(self, index: str, station: str) -> list[Upload]:
        def keep(upload: Upload) -> bool:
            return upload.station == station and not upload.over and not upload.needs_person

        return (await self._reader.uploads(index, keep, "", 1000))[0]


def _is_so(kind: str, upload: Upload) -> bool:
    """Tell whether what has happened still holds, so that nobody is told what was mended meanwhile."""
    if kind == "complete":
        return upload.state == "completed"
    if kind == "outgrown":
        return upload.later is not None
    if kind == "failed":
        return bool(upload.counts.failed.files) and not upload.over
    if kind == "delayed":
        return upload.delayed
    if kind == "restless":
        return bool(upload.restless)
    return upload.state == kind
