"""Where Redis keeps what harvesters have read and the pictures: written inside the transaction of a fold."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from redis.client import Pipeline

from datauploader.contracts import Event, EventData
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.harvest import MOST_IN_VIEW, FirstFiles, Harvest, What, pictures_of
from datauploader_gateway.redis_client import raw, text

PLACES: dict[What, Callable[[str], str]] = {"values": keys.values, "pictures": keys.pictures}
"""The hash of an upload in which each stands."""


def read_harvests(pipe: Pipeline, upload_id: str, paths: Sequence[bytes]) -> dict[What, FirstFiles]:
    """Look up what is kept of an upload, and of these of its files; nothing where no file is asked about."""
    found: dict[What, FirstFiles] = {}
    for what, name in PLACES.items() if paths else ():
        kept = {raw(path) for path in pipe.hkeys(name(upload_id))}
        there = [path for path in paths if path in kept]
        words = pipe.hmget(name(upload_id), there) if there else []
        known = {path: Harvest.load(said) for path, said in zip(there, words, strict=True) if said is not None}
        found[what] = FirstFiles(tuple(sorted(kept)), known)
    return found


def late_pictures(pipe: Pipeline, harvests: Mapping[What, FirstFiles]) -> list[str]:
    """Return the digests of pictures for which there is no room any more beside new ones, those said longest ago."""
    return [text(one) for one in pipe.zrange(keys.PICTURES, 0, -MOST_IN_VIEW)] if "pictures" in harvests else []


def write_harvests(pipe: Pipeline, upload_id: str, harvests: Mapping[What, FirstFiles]) -> None:
    """Put what has changed into the hashes of an upload."""
    for what, first in harvests.items():
        name, kept = PLACES[what](upload_id), set(first.paths)
        for path in first.changed & kept:
            pipe.hset(name, path, first.known[path].dump())
        if gone := [path for path in first.changed if path not in kept]:
            pipe.hdel(name, *gone)


def write_pictures(pipe: Pipeline, events: Iterable[Event[EventData]], late: Sequence[str], kept_s: int) -> None:
    """Put the pictures of events beside the others, and take away those there is no room for."""
    if late:
        pipe.zrem(keys.PICTURES, *late)
        pipe.delete(*(keys.picture(one) for one in late))
    for event in events:
        for digest, content in pictures_of(event.data).items():
            pipe.set(keys.picture(digest), content, ex=kept_s)
            pipe.zadd(keys.PICTURES, {digest: event.time.timestamp()}, gt=True)
