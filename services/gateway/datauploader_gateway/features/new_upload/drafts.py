"""What a person has chosen so far: kept on the server, so that it survives going back, a reload and a restart."""

import re
import secrets
import time
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from redis.asyncio import Redis
from redis.exceptions import WatchError

from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.projection.keys import PREFIX
from datauploader_gateway.redis_client import raw, text

KEPT_S = 3 * 24 * 3600
"""A draft that nobody touches is forgotten after so long."""
MOST_PICKS = 1000
MOST_DRAFTS = 20
"""Of one person; the oldest are forgotten."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,40}")
Path = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Text = Annotated[str, StringConstraints(max_length=4000)]


class Pick(BaseModel):
    """A folder or a file that was ticked."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["folder", "file"]
    path: Path

    @property
    def value(self) -> str:
        """How a form writes it."""
        return f"{self.kind}:{self.path}"

    @classmethod
    def read(cls, value: str) -> "Pick | None":
        """Read what a form wrote; None for anything else."""
        kind, _, path = value.partition(":")
        try:
            return cls.model_validate({"kind": kind, "path": path})
        except ValidationError:
            return None


class FromFile(BaseModel):
    """A value that was found in a file."""

    value: Text
    source: Text


class Draft(BaseModel):
    """Everything that was chosen, as it was typed."""

    FORM: ClassVar[frozenset[str]] = frozenset({
        "investigation", "station", "picks", "paths", "include", "exclude", "split", "dataset", "description", "type",
        "mode", "remote", "delete_after",
    })  # fmt: skip
    """What a form says as a whole, each on its own."""

    investigation: str = Field(default="", max_length=200)
    station: str = Field(default="", max_length=200)
    picks: tuple[Pick, ...] = Field(default=(), max_length=MOST_PICKS)
    paths: Text = ""
    """Folders and files that were written instead of ticked, one a line."""
    include: Text = ""
    exclude: Text = ""
    split: bool = False
    """Each ticked folder or file becomes a dataset of its own."""
    dataset: str = Field(default="", max_length=400)
    """Name or template; "" is the facility's template."""
    description: Text = ""
    type: str = Field(default="raw", max_length=60)
    metadata: dict[str, Text] = Field(default_factory=dict, max_length=200)
    from_file: dict[str, FromFile] = Field(default_factory=dict, max_length=200)
    mode: Literal["sync", "batch"] = "sync"
    remote: str = Field(default="", max_length=63)
    delete_after: bool = False
    without: tuple[str, ...] = Field(default=(), max_length=50)
    """Earlier uploads whose files are left out where they have not changed."""
    go_on: tuple[str, ...] = Field(default=(), max_length=50)
    """Datasets that are to be gone on with, by their names."""
    renamed: dict[str, str] = Field(default_factory=dict, max_length=50)
    """Other names for datasets whose own are taken."""
    edits: dict[str, int] = Field(default_factory=dict, max_length=20)
    """The latest state that is kept of each page that shows this draft."""
    reviewed: bool = False
    """Somebody looks at it as it is; what files say does not change it any more."""

    def choosing(self, dataset: str, name: str) -> "Draft":
        """Return the draft in which a dataset that is taken gets another name; "" goes on with it."""
        if not name:
            return self.model_copy(update={"go_on": (*self.go_on, dataset)[-50:]})
        return self.model_copy(update={"renamed": dict([*self.renamed.items(), (dataset, name)][-50:])})


class Drafts:
    """The drafts in Redis, each of which belongs to one person."""

    def __init__(self, client: Redis) -> None:
        """Keep them through this client."""
        self._redis = client

    @staticmethod
    def new_token() -> str:
        """Name a new draft."""
        return secrets.token_urlsafe(18)

    async def load(self, user_id: str, token: str) -> Draft | None:
        """Return a person's draft, None where there is none of theirs by this name."""
        if not _TOKEN.fullmatch(token):
            return None
        return _read(await self._redis.get(_key(user_id, token)))

    async def change(self, user_id: str, token: str, new: Callable[[Draft | None], Draft]) -> Draft:
        """Keep what `new` makes of the draft as it is now, whoever else changes it at the same time; return it.

        Raises:
            InvalidRequest: a draft cannot be called so.
        """
        if not _TOKEN.fullmatch(token):
            raise InvalidRequest("the form is not from this page", hint="Open the page again.")
        key, index = _key(user_id, token), f"{PREFIX}drafts:{user_id}"
        async with self._redis.pipeline() as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    draft = new(_read(await pipe.get(key)))
                    pipe.multi()  # type: ignore[no-untyped-call] # redis-py has no type here
                    pipe.set(key, draft.model_dump_json(), ex=KEPT_S)
                    pipe.zadd(index, {token: time.time()})
                    pipe.expire(index, KEPT_S)
                    pipe.zrange(index, 0, -MOST_DRAFTS - 1)
                    *_, old = await pipe.execute()
                    break
                except WatchError:
                    continue
        for one in old:
            await self._redis.delete(_key(user_id, text(one)))
            await self._redis.zrem(index, one)
        return draft


def _read(kept: str | bytes | None) -> Draft | None:
    if kept is None:
        return None
    try:
        return Draft.model_validate_json(raw(kept))
    except ValidationError:  # of another release
        return None


def _key(user_id: str, token: str) -> str:
    return f"{PREFIX}draft:{user_id}:{token}"
