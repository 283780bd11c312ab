"""Opaque sessions and bearer tokens in Redis, known there only by their digests."""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from datauploader.contracts.rest.session import Method
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.revocations import Revocations
from datauploader_gateway.projection import keys
from datauploader_gateway.redis_client import text

TOKEN_PREFIX = "du_"  # noqa: S105 - the beginning of every token, no secret
_LONGEST_S = 366 * 24 * 3600
"""No token and no session lives longer."""
_REMEMBERED = 10_000
"""Sessions and tokens of which it is remembered whose they are, so that one question tells all about them."""
_TOUCH_S = 60
"""Seconds between two writes of when a session or token was last used."""


_Kept = bytes | str | None
"""What Redis has under a key, None for nothing."""


class SessionRecord(BaseModel):
    """A session record: what Redis knows of a session or a token."""

    model_config = ConfigDict(frozen=True)

    user: SignedInUser
    by: Literal["session", "token", "access-token"]
    method: Method
    created: datetime
    expires: datetime
    id: str = ""
    name: str = ""
    last_used: datetime | None = None
    claims: dict[str, tuple[str, ...]] = {}
    """What the identity provider said, as far as roles depend on it."""
    id_token: str = ""
    """What the provider is shown when a session ends; it opens nothing here."""


class Sessions:
    """Gives out, checks and takes back what people prove themselves with."""

    def __init__(self, client: Redis, *, idle_s: int, longest_s: int, revocations: Revocations | None = None) -> None:
        """Keep them through this client; a session is over `idle_s` after its last use, `longest_s` in any case.

        What is taken back is told to `revocations`, so that an older Redis does not give it back.
        """
        self._redis = client
        self._revocations = revocations
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._whose: dict[str, str] = {}  # by the key of a session or token; that never changes

    async def open(
        self, user: SignedInUser, method: Method, claims: dict[str, tuple[str, ...]] | None = None, id_token: str = ""
    ) -> tuple[str, SessionRecord]:
        """Begin a session; return its secret, which is told once."""
        now, secret = datetime.now(UTC), secrets.token_urlsafe(32)
        expires = now + timedelta(seconds=self._longest_s)
        record = SessionRecord(
            user=user, by="session", method=method, created=now, expires=expires, last_used=now, claims=claims or {},
            id_token=id_token,
        )  # fmt: skip
        await self._redis.set(keys.session(_digest(secret)), record.model_dump_json(), ex=self._idle(record, now))
        return secret, record

    async def issue(
        self, user: SignedInUser, method: Method, name: str, days: int, claims: dict[str, tuple[str, ...]] | None = None
    ) -> tuple[str, SessionRecord]:
        """Make a bearer token; return its secret, which is told once."""
        now, secret = datetime.now(UTC), TOKEN_PREFIX + secrets.token_urlsafe(32)
        record = SessionRecord(
            user=user, by="token", method=method, created=now, expires=now + timedelta(days=days),
            id=secrets.token_urlsafe(6), name=name, claims=claims or {},
        )  # fmt: skip
        digest = _digest(secret)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.token(digest), record.model_dump_json(), exat=record.expires)
            pipe.hset(keys.tokens_of(user.id), record.id, digest)
            await pipe.execute()
        return secret, record

    async def authenticate(self, secret: str, *, touch: bool = True) -> SessionRecord | None:
        """Return the record behind a secret, None if there is none any more."""
        is_token = secret.startswith(TOKEN_PREFIX)
        key = _key(secret, is_token=is_token)
        user_id = self._whose.get(key)
        kept: _Kept
        since: _Kept = None
        if user_id is None:
            kept = await self._redis.get(key)
        else:
            kept, since = await self._redis.mget(key, keys.signed_out(user_id))
        if kept is None:
            return None
        record, now = SessionRecord.model_validate_json(kept), datetime.now(UTC)
        if record.expires <= now or record.by != ("token" if is_token else "session"):
            return None
        if user_id is None:  # not "is not known": another request may have remembered it since we asked
            since = await self._redis.get(keys.signed_out(record.user.id))
            if len(self._whose) >= _REMEMBERED:
                self._whose.clear()
            self._whose[key] = record.user.id
        if _made_before(record, since):
            return None
        if touch and (
            record.last_used is None or (now - record.last_used).total_seconds() > min(_TOUCH_S, self._idle_s / 4)
        ):
            used = record.model_copy(update={"last_used": now})
            left_s = int((record.expires - now).total_seconds()) + 1
            # xx: a session that was revoked meanwhile must not come back
            await self._redis.set(
                key, used.model_dump_json(), ex=left_s if is_token else self._idle(used, now), xx=True
            )
        return record

    async def standing(self, held: Sequence[tuple[str, SessionRecord]]) -> list[bool]:
        """Tell which records that were good before still are, by their secrets: one question for all of them."""
        own = [
            None if record.by == "access-token" else _key(secret, is_token=record.by == "token")
            for secret, record in held
        ]
        out = [keys.signed_out(record.user.id) for _, record in held]
        asked = list(dict.fromkeys([*filter(None, own), *out]))
        kept = dict(zip(asked, await self._redis.mget(asked) if asked else (), strict=True))
        now = datetime.now(UTC)
        return [
            (key is None or kept[key] is not None) and record.expires > now and not _made_before(record, kept[since])
            for (_, record), key, since in zip(held, own, out, strict=True)
        ]

    async def end(self, secret: str) -> None:
        """Take a session or token back at once."""
        record = await self.authenticate(secret, touch=False)
        if record is not None and record.by == "token":
            await self.revoke(record.user, record.id)
        await self._take_back(keys.session(_digest(secret)))
        await self._redis.delete(keys.session(_digest(secret)))
        await self._count()

    async def _take_back(self, key: str, since: str = "") -> None:
        """Have it remembered beside Redis that something was taken back."""
        if self._revocations is not None:
            await asyncio.to_thread(self._revocations.note, key, since, _LONGEST_S)

    async def _count(self) -> None:
        """Count what was taken back, after it was: a Redis that has lost it has lost the number as well."""
        if self._revocations is not None:
            before = self._revocations.commits.highest
            self._revocations.commits.made(before, await self._redis.incr(keys.COMMITS))

    async def sign_out(self, user_id: str) -> None:
        """Make every session and token worthless that somebody has now; they may sign in again."""
        known, since = await self._redis.hgetall(keys.tokens_of(user_id)), datetime.now(UTC).isoformat()
        await self._take_back(keys.signed_out(user_id), since)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.signed_out(user_id), since, ex=_LONGEST_S)
            pipe.delete(keys.tokens_of(user_id), *(keys.token(text(digest)) for digest in known.values()))
            await pipe.execute()
        await self._count()

    async def signed_out(self, record: SessionRecord) -> bool:
        """Tell whether its person was signed out everywhere since it was made."""
        return _made_before(record, await self._redis.get(keys.signed_out(record.user.id)))

    async def tokens(self, user: SignedInUser) -> list[SessionRecord]:
        """List somebody's tokens that are still good, oldest first."""
        known = await self._redis.hgetall(keys.tokens_of(user.id))
        if not known:
            return []
        found = await self._redis.mget([keys.token(text(d)) for d in known.values()])
        gone = [token_id for token_id, record in zip(known, found, strict=True) if record is None]
        if gone:
            await self._redis.hdel(keys.tokens_of(user.id), *gone)
        return sorted(
            (SessionRecord.model_validate_json(record) for record in found if record), key=lambda t: t.created
        )

    async def revoke(self, user: SignedInUser, token_id: str) -> bool:
        """Take one of somebody's tokens back; return whether there was one."""
        digest = await self._redis.hget(keys.tokens_of(user.id), token_id)
        if digest is None:
            return False
        await self._take_back(keys.token(text(digest)))
        await self._redis.hdel(keys.tokens_of(user.id), token_id)
        there = bool(await self._redis.delete(keys.token(text(digest))))
        await self._count()
        return there

    def _idle(self, record: SessionRecord, now: datetime) -> int:
        return max(1, min(self._idle_s, int((record.expires - now).total_seconds())))


def _made_before(record: SessionRecord, since: _Kept) -> bool:
    return since is not None and record.created <= datetime.fromisoformat(text(since))


def _key(secret: str, *, is_token: bool) -> str:
    return (keys.token if is_token else keys.session)(_digest(secret))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
