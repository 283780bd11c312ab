"""Hears the UserOffice software's messages about proposals, and writes down who belongs to which.

What the software publishes, and what of it is believed, is in docs/catalogues/useroffice.md.
"""

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import urlencode

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from datauploader.messaging.rabbit import ForeignBinding, ForeignMessage, ForeignQueue, Tuning
from datauploader.reliability import Store
from datauploader_catalog.proposals import OrderUnknownError, ProposalNews, ProposalTable, UnreadNewsTable
from datauploader_catalog.settings import UserOfficeSettings

log = structlog.get_logger()

DELETED = "PROPOSAL_DELETED"
KINDS = frozenset(
    {
        "PROPOSAL_CREATED",
        "PROPOSAL_UPDATED",
        "PROPOSAL_SUBMITTED",
        "PROPOSAL_ACCEPTED",
        "PROPOSAL_STATUS_ACTION_EXECUTED",
        DELETED,
    }
)
"""Messages that carry a proposal with all of its people. All others are not read: some hold what is nobody's business
here, such as the tokens of a user."""
_LARGEST = 4_000_000
_KEPT = 64_000
"""Bytes of a message that could not be read that are kept of it."""
_AGAIN = "open the proposal in the user office and save it, so that it is sent again"
_TUNING = Tuning()


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True, coerce_numbers_to_str=True
    )


class _Person(_Part):
    id: str = Field(default="", max_length=1000)
    email: str | None = Field(default=None, max_length=1000)
    oidc_sub: str | None = Field(default=None, max_length=1000)
    oauth_issuer: str | None = Field(default=None, max_length=1000)


class _Proposal(_Part):
    proposal_pk: int = Field(ge=1, lt=2**63)
    short_code: str = Field(min_length=1, max_length=1000)
    members: tuple[_Person, ...]
    data_access_users: tuple[_Person, ...] = ()
    visitors: tuple[_Person, ...] = ()
    proposer: _Person | None = None

    def by_role(self) -> Iterator[tuple[str, _Person]]:
        """Yield the people, each with the name of the field in which they stand."""
        yield from (("members", one) for one in self.members)
        yield from (("dataAccessUsers", one) for one in self.data_access_users)
        yield from (("visitors", one) for one in self.visitors)
        if self.proposer is not None:
            yield "proposer", self.proposer


class _Unreadable(Exception):
    def __init__(self, problem: str, code: str = "") -> None:
        super().__init__(problem)
        self.code = code


class UserOfficeListener:
    """Keeps the table of proposals as the user office says, as long as the service has its queue."""

    def __init__(self, store: Store, settings: UserOfficeSettings, tuning: Tuning = _TUNING) -> None:
        """Prepare; nothing is heard before `start`."""
        self._store, self._settings, self._tuning = store, settings, tuning
        self._queue: ForeignQueue | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to hear; nothing more where it does already."""
        wanted = self._settings
        with self._lock:
            if self._queue is None:
                binding = ForeignBinding(wanted.queue, wanted.exchange, quorum=wanted.queue_type == "quorum")
                self._queue = ForeignQueue(
                    broker_url(wanted), binding, self.hear, name="catalog user office", tuning=self._tuning,
                    on_new=partial(self.note_gap, f"the queue {wanted.queue} at its broker was not there any more"),
                )  # fmt: skip

    def stop(self, deadline_s: float = 10.0) -> None:
        """Hear nothing more; the queue keeps what comes."""
        with self._lock:
            queue, self._queue = self._queue, None
        if queue is not None:
            queue.stop(deadline_s)

    @property
    def problems(self) -> Sequence[str]:
        """What keeps the table from being true: nothing is heard, or something could not be read."""
        queue = self._queue
        now = [f"nothing is heard from the user office: {queue.problem}"] if queue and queue.problem else []
        try:
            with self._store.reading() as db:
                return [*now, *UnreadNewsTable(db).recent_problems()]
        except sqlite3.DatabaseError:  # the service says so itself
            return now

    def note_gap(self, why: str) -> None:
        """Note that news was missed; nothing can say which, so a person has to."""
        with self._store.transaction() as db:
            if ProposalTable(db).is_empty():
                return
            problem = f"{why}, so news of the user office is missing: {_AGAIN}, where its people have changed since"
            UnreadNewsTable(db).add_news(problem, digest=secrets.token_hex(16))
        log.error("user_office_news_missed", reason=why)

    def hear(self, message: ForeignMessage) -> None:
        """Write down what a message says; whatever it is, it is dealt with when this returns."""
        digest = hashlib.sha256(b"%s\n%d\n%s" % (message.type.encode(), message.sent_ms, message.body)).hexdigest()
        try:
            if not self._concerns_us(message):
                return
            news = self._read(message, digest)
            with self._store.transaction() as db:
                try:
                    fresh = ProposalTable(db).replace_proposal(news, redelivered=message.redelivered)
                except OrderUnknownError:
                    problem = "came again without a time, so it may be older than what was heard since"
                    raise _Unreadable(problem, news.code) from None
                if fresh:
                    UnreadNewsTable(db).settle_news(news.code)
        except _Unreadable as error:
            self._keep(message, digest, error)
        else:
            known = "user_office_news_noted" if fresh else "user_office_news_overtaken"
            log.info(known, proposal=news.code, kind=message.type, people=len(news.people), nameless=news.nameless)

    def _concerns_us(self, message: ForeignMessage) -> bool:
        if message.exchange != self._settings.exchange:
            raise _Unreadable(f"came by {message.exchange or 'no exchange'!r} and not by the user office's")
        if not message.type:
            raise _Unreadable("does not say what it is: it has no type")
        return message.type in KINDS

    def _read(self, message: ForeignMessage, digest: str) -> ProposalNews:
        if len(message.body) > _LARGEST:
            raise _Unreadable(f"has {len(message.body)} bytes, and at most {_LARGEST} are read")
        try:
            said = _Proposal.model_validate_json(message.body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(one) for one in first["loc"]) or "its body"
            raise _Unreadable(f"cannot be read ({where}: {first['msg']})"[:500], _code_of(message.body)) from error
        people, nameless = [], 0
        for role, one in said.by_role():
            if person := self._identify(one):
                people.append((person, role))
            else:
                nameless += 1
        deleted = message.type == DELETED
        return ProposalNews(
            said.proposal_pk, said.short_code, () if deleted else tuple(people), nameless, deleted, message.sent_ms,
            digest,
        )  # fmt: skip

    def _identify(self, person: _Person) -> str:
        """Return by what a person is known here, "" where the user office does not know it."""
        wanted = self._settings
        if wanted.issuer and (person.oauth_issuer or "").rstrip("/") != wanted.issuer.rstrip("/"):
            return ""
        return {"oidcSub": person.oidc_sub, "id": person.id, "email": person.email}[wanted.people_by] or ""

    def _keep(self, message: ForeignMessage, digest: str, error: _Unreadable) -> None:
        about = f" about proposal {error.code}" if error.code else ""
        kind = message.type[:100]
        problem = f"a message of the user office{about} ({kind or 'no type'}) {error}: {_AGAIN}"
        log.warning("user_office_news_unreadable", problem=problem, digest=digest)
        body = message.body[:_KEPT] if message.type in KINDS else b""
        with self._store.transaction() as db:
            UnreadNewsTable(db).add_news(problem[:2000], digest=digest, kind=kind, code=error.code, body=body)


class _Named(_Part):
    short_code: str = Field(min_length=1, max_length=1000)


def _code_of(body: bytes) -> str:
    try:
        return _Named.model_validate_json(body).short_code
    except ValidationError:
        return ""


def broker_url(settings: UserOfficeSettings) -> str:
    """Write the broker's address with the certificates to trust."""
    url = settings.url.get_secret_value()
    if settings.ca_file is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'cafile': str(settings.ca_file)})}"
