"""The queue of mails for the SMTP server; a letter leaves the state file when the server has taken it."""

import smtplib
import sqlite3
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

import redis
import structlog

from datauploader.reliability import Store
from datauploader.reliability.backoff import Backoff
from datauploader_gateway.projection import keys
from datauploader_gateway.settings.mail import MailSettings

log = structlog.get_logger()

LONGEST_PAUSE_S = 3600.0
_DAY_S = 24 * 3600.0
_MARGIN_S = 7 * _DAY_S
"""A letter is remembered so much longer than the upload that it is about."""
_FOR_GOOD = 500
"""SMTP's answers from here on mean that trying again is of no use (RFC 5321, section 4.2.1)."""


@dataclass(frozen=True, slots=True)
class DeliveryBatch:
    """A delivery batch: how an attempt to send what waits has ended."""

    sent: int = 0
    trouble: str = ""
    """A sentence when the server did not take everything."""


def connect(settings: MailSettings) -> smtplib.SMTP:
    """Greet the mail server, begin TLS and sign in, as the settings say; the caller closes the connection.

    Raises:
        OSError: it does not answer, or nobody vouches for it.
        SMTPException: it says no.
    """
    context = ssl.create_default_context(cafile=settings.cafile)
    if settings.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.host, settings.port, timeout=settings.timeout_s, context=context
        )
    else:
        server = smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)
    try:
        if settings.security == "starttls":
            server.starttls(context=context)  # raises where the server has none: nothing is said in the clear
        if settings.user:
            server.login(settings.user, settings.password.get_secret_value())
    except BaseException:
        server.close()
        raise
    return server


class SmtpQueue:
    """The SMTP queue: sends what is due, one connection for all of it."""

    def __init__(self, store: Store, settings: MailSettings, client: redis.Redis, *, kept_s: float) -> None:
        """Take letters from this store; what is sent is known in Redis to other gateways for `kept_s` and longer."""
        self._store, self._settings, self._redis, self._kept_s = store, settings, client, kept_s
        self._backoff = Backoff(first_s=settings.retry_s, longest_s=LONGEST_PAUSE_S)

    def waiting(self) -> int:
        """Count the letters that the server has not taken."""
        with self._store.reading() as db:
            return int(db.execute("SELECT count(*) FROM letters").fetchone()[0])

    def send_due(self, stopping: Callable[[], bool]) -> DeliveryBatch:
        """Send every letter that is due; blocks while it talks to the server."""
        now = time.time()
        # what is further away than the longest pause was put there by a clock that has been put right since
        query = "SELECT * FROM letters WHERE due <= ? OR due > ? ORDER BY id LIMIT 100"
        with self._store.reading() as db:
            rows = db.execute(query, (now, now + max(LONGEST_PAUSE_S, self._settings.retry_s))).fetchall()
        if not rows:
            return DeliveryBatch()
        try:
            return self._send_all(rows, stopping)
        except (OSError, smtplib.SMTPException) as error:
            trouble = trouble_of(error, self._settings)
            log.warning("mail_server_unavailable", problem=trouble, letters=len(rows))
            for row in rows:
                self._again(row, trouble)
            return DeliveryBatch(trouble=trouble)

    def _send_all(self, rows: list[sqlite3.Row], stopping: Callable[[], bool]) -> DeliveryBatch:
        sent, trouble = 0, ""
        with connect(self._settings) as server:
            for row in rows:
                if stopping():
                    break
                if self._sent_by_another(row):
                    self._delete(row)
                    continue
                message = EmailMessage(policy=SMTP)
                message["From"] = self._settings.sender
                message["To"] = row["address"]
                message["Subject"] = row["subject"]
                message["Date"] = formatdate(row["written"])
                message["Message-ID"] = f"<{row['message_id']}@{self._settings.sender.partition('@')[2]}>"
                message["Auto-Submitted"] = "auto-generated"
                message.set_content(row["body"], cte="quoted-printable")
                try:
                    server.send_message(message, self._settings.sender, [row["address"]])
                except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                    trouble = self._refused(row, error)
                else:
                    with suppress(redis.RedisError):
                        key = keys.mail_sent(row["message_id"])
                        self._redis.set(key, self._store.identity, ex=int(self._kept_s + _MARGIN_S))
                    self._delete(row)
                    sent += 1
        return DeliveryBatch(sent, trouble)

    def _sent_by_another(self, row: sqlite3.Row) -> bool:
        """Tell whether a gateway whose work this one has taken over, or that has taken over ours, has sent it."""
        try:
            return self._redis.get(keys.mail_sent(row["message_id"])) not in (None, self._store.identity.encode())
        except redis.RedisError:
            return False

    def _refused(self, row: sqlite3.Row, error: smtplib.SMTPException) -> str:
        code, said = _answer(error)
        trouble = f"the mail server {self._settings.host} refused a mail: {code} {said}"
        if code >= _FOR_GOOD:
            log.error("mail_given_up", message_id=row["message_id"], problem=trouble)
            self._delete(row)
        else:
            self._again(row, trouble)
        return trouble

    def _again(self, row: sqlite3.Row, trouble: str) -> None:
        if time.time() - row["written"] > self._settings.given_up_after_days * _DAY_S:
            log.error("mail_given_up", message_id=row["message_id"], problem=trouble)
            self._delete(row)
            return
        pause = self._backoff.wait_s(row["tries"] + 1)
        with self._store.transaction() as db:
            db.execute("UPDATE letters SET tries = tries + 1, due = ? WHERE id = ?", (time.time() + pause, row["id"]))

    def _delete(self, row: sqlite3.Row) -> None:
        with self._store.transaction() as db:
            db.execute("DELETE FROM letters WHERE id = ?", (row["id"],))


def _answer(error: smtplib.SMTPException) -> tuple[int, str]:
    code: int
    said: bytes | str
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
    else:
        assert isinstance(error, smtplib.SMTPResponseException)
        code, said = error.smtp_code, error.smtp_error
    return code, said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def trouble_of(error: Exception, settings: MailSettings) -> str:
    """Say in a sentence what is wrong with the mail server."""
    said = str(error) or type(error).__name__
    if isinstance(error, smtplib.SMTPResponseException):
        said = "{} {}".format(*_answer(error))
    return f"the mail server {settings.host} does not accept mail: {said}"
