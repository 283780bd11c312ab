"""The dry run of an upload: every check of a request, what it would take, and what it would meet; nothing is begun."""

import asyncio
from datetime import UTC, datetime

from datauploader.contracts import Event, UploadRequested
from datauploader.contracts.previews import DestinationContent, FoundValues
from datauploader.contracts.rest.previews import Conflicts, Destination, Together, UploadPreview
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.errors import Problem
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.new_upload.requests import UploadBody, UploadRequests
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.reader import ViewReader

_PAST = 3
"""Uploads of which it is remembered how fast they were."""
_LATEST = 50
"""Uploads in which a speed is looked for."""


_CARRIED = {"files", "bytes", "first", "left_out", "settling", "settling_first", "partial", "trouble"}


class UploadPreviews:
    """Tries uploads."""

    def __init__(self, requests: UploadRequests, questions: QueryClient, reader: ViewReader) -> None:
        """Have `requests` check them, and ask stations and storages through `questions`."""
        self._requests, self._questions, self._reader = requests, questions, reader

    async def values(self, asked: UploadBody, user: SignedInUser, trace: str, *, complete: bool = True) -> FoundValues:
        """Check a wish, and have the station read what some of its files say.

        Raises:
            Problem: the wish cannot be; says why.
        """
        event = await self._requests.check(asked, user, trace=trace, complete=complete, begins=False)
        return await self._questions.values(event.station, event.data)

    async def preview(
        self, asked: UploadBody, user: SignedInUser, *, trace: str, complete: bool = True, destination: bool = True
    ) -> UploadPreview:
        """Check a wish, and ask the station and the storage what would become of it.

        `complete`: its metadata must be, too; `destination`: ask the storage as well.

        Raises:
            Problem: the upload would be refused; says why.
        """
        event = await self._requests.check(asked, user, trace=trace, complete=complete)
        found, (there, trouble), speed, known = await asyncio.gather(
            self._questions.preview(event.station, event.data),
            self._destination(event, wanted=destination),
            self._speed(event),
            self._questions.dataset(user.id, event.data.investigation, event.data.dataset.name),
        )
        conflicts = await self._conflicts(event, there) if there else None
        together = []
        for overlap in found.overlaps:  # the other upload is named to those alone who may see it
            upload = await self._reader.upload(overlap.upload_id)
            in_sight = upload is not None and user.may_see(upload)
            name, mine = overlap.upload_id if in_sight else None, overlap.requested_by == user.id
            together.append(Together(upload=name, mine=mine and in_sight, files=overlap.files))
        return UploadPreview(
            path=event.data.root,
            sources=event.data.sources,
            remote=event.data.destination.remote,
            location=event.data.destination.location,
            oldest=_time(found.oldest_mtime_ns),
            newest=_time(found.newest_mtime_ns),
            together_with=tuple(together),
            destination=there and Destination.model_validate(there, from_attributes=True),
            conflicts=conflicts,
            destination_trouble=trouble,
            continues=event.data.continues,
            alike=known.alike,
            seconds=round(found.bytes / speed, 1) if speed and found.bytes and not found.partial else None,
            **found.model_dump(include=_CARRIED),
        )

    async def _destination(
        self, event: Event[UploadRequested], *, wanted: bool
    ) -> tuple[DestinationContent | None, str]:
        if not wanted:
            return None, ""
        try:
            return await self._questions.destination(event.station, event.data), ""
        except Problem as problem:
            return None, problem.detail

    async def _conflicts(self, event: Event[UploadRequested], there: DestinationContent) -> Conflicts | None:
        """Have the station compare its files with what is not ours at the destination, by names and sizes."""
        if not there.foreign:
            return None if there.foreign_partial else Conflicts(differing=0, first=(), same_size=0, partial=False)
        try:
            found = await self._questions.preview(event.station, event.data, there.foreign)
        except Problem:
            return None  # the storage's own number stands; the files are compared when they are uploaded
        return Conflicts(
            differing=found.differing, first=found.differing_first, same_size=found.same_size,
            partial=there.foreign_partial or found.partial,
        )  # fmt: skip

    async def _speed(self, event: Event[UploadRequested]) -> float | None:
        """Return how fast files move from this station to this remote now, or did at their best lately."""
        way = event.station.key, event.data.destination.remote
        latest = await self._reader.latest(keys.UPLOADS, _LATEST)
        same_way = [upload for upload in latest if (upload.station, upload.remote) == way]
        now = next((upload.speed for upload in same_way if upload.speed > 0), None)
        flows = [await self._reader.flow(upload.id) for upload in same_way[:_PAST]] if now is None else []
        return now or max((flow.fastest for flow in flows), default=None)


def _time(mtime_ns: int | None) -> str | None:
    """Write a file's time; one that no calendar has is not known."""
    if mtime_ns is None:
        return None
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None
