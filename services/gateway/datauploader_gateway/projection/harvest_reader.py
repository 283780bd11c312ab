"""Reads back what harvesters have read in the files of an upload, and the pictures that they have drawn."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from redis.asyncio import Redis

from datauploader.contracts.names import display, pack
from datauploader.contracts.pictures import MediaType
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.facts import FileFacts
from datauploader_gateway.projection.harvest import MOST_IN_FILE, Harvest
from datauploader_gateway.projection.remarks import Remarks
from datauploader_gateway.redis_client import raw


class HarvestedValue(BaseModel):
    """One thing that a file says about itself."""

    name: str
    value: str | float | int | bool
    units: str = ""
    harvester: str = Field(description="Who has read it.")


class HarvestedPicture(BaseModel):
    """A small picture of what is in a file; its bytes are at `/uploads/{upload_id}/pictures/{sha256}`."""

    title: str
    media_type: MediaType
    width: int
    height: int
    sha256: str
    harvester: str = Field(description="Who has drawn it.")


class HarvestedFile(BaseModel):
    """What was read in the newest version of a file."""

    path: str
    path_b64: str | None = None
    values: list[HarvestedValue]
    more: bool = Field(description="There are more values than are kept here; the catalogue has all of them.")
    pictures: list[HarvestedPicture]
    problem: str = Field(description='What could not be read, or is not taken by the catalogue; "": nothing.')


class HarvestedFiles(BaseModel):
    """The files of an upload that something was read in, by path."""

    items: list[HarvestedFile]
    more: int = Field(description="How many others a harvester has read that are not kept here.")

    @property
    def pictured(self) -> list[HarvestedFile]:
        """Those of which there are pictures."""
        return [file for file in self.items if file.pictures]

    @property
    def described(self) -> list[HarvestedFile]:
        """Those of which there are values."""
        return [file for file in self.items if file.values]


class HarvestReader:
    """Looks up what was read in files, without ever writing."""

    def __init__(self, client: Redis) -> None:
        """Read through this client."""
        self._redis = client

    async def files(self, upload: Upload) -> HarvestedFiles:
        """Return what is kept of an upload: of each file what was read in its newest version."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.values(upload.id))
            pipe.hgetall(keys.pictures(upload.id))
            values, pictures = ({raw(p): Harvest.load(h) for p, h in one.items()} for one in await pipe.execute())
        paths = sorted({*values, *pictures})
        if not paths:
            return HarvestedFiles(items=[], more=upload.counts.harvested.files)
        digests = list({word[2] for found in pictures.values() for word in found.said.values()})
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.files(upload.id), paths)
            pipe.hmget(keys.remarks(upload.id), paths)
            for digest in digests:
                pipe.exists(keys.picture(digest))
            facts, remarks, *there = await pipe.execute()
        kept = {digest for digest, exists in zip(digests, there, strict=True) if exists}
        items = [
            _described(path, FileFacts.unpack(packed), remark, values.get(path), pictures.get(path), kept)
            for path, packed, remark in zip(paths, facts, remarks, strict=True)
            if packed is not None
        ]
        found = [item for item in items if item.values or item.pictures]
        return HarvestedFiles(items=found, more=max(0, upload.counts.harvested.files - len(found)))

    async def picture(self, upload_id: str, digest: str) -> tuple[str, bytes] | None:
        """Return media type and bytes of a picture, None where the upload has none of this digest, or it has gone."""
        for said in (await self._redis.hgetall(keys.pictures(upload_id))).values():
            for word in Harvest.load(said).said.values():
                if word[2] == digest:
                    content = await self._redis.get(keys.picture(digest))
                    return None if content is None else (word[3], raw(content))
        return None


def _described(
    path: bytes, facts: FileFacts, remark: bytes | None, values: Harvest | None, pictures: Harvest | None,
    kept: set[str],
) -> HarvestedFile:  # fmt: skip
    read, drawn = _of_version(values, facts), _of_version(pictures, facts)
    shown = sorted(read.items())[: MOST_IN_FILE["values"]]
    sources = [(*source.partition(" "), word) for source, word in shown]
    return HarvestedFile(
        path=display(path),
        path_b64=pack(path),
        values=[
            HarvestedValue(name=name, value=word[2], units=word[3], harvester=harvester)
            for harvester, _, name, word in sources
        ],
        more=len(read) > len(shown),
        pictures=[
            HarvestedPicture(
                title=source.partition(" ")[2], harvester=source.partition(" ")[0],
                sha256=word[2], media_type=word[3], width=word[4], height=word[5],
            )
            for source, word in sorted(drawn.items())[: MOST_IN_FILE["pictures"]] if word[2] in kept
        ],
        problem=Remarks.load(remark).metadata(facts) if remark else "",
    )  # fmt: skip


def _of_version(found: Harvest | None, facts: FileFacts) -> Mapping[str, tuple[Any, ...]]:
    return found.said if found is not None and found.order == facts.order else {}
