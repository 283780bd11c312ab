"""From a stored file to what is said about it: whose object it is, how its reading went, and the events of it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from pydantic import ValidationError

from datauploader.contracts import (
    Event,
    EventData,
    ExtractedFile,
    FileStored,
    FileVersion,
    MetadataExtracted,
    Parameter,
    Picture,
    StoredFile,
)
from datauploader.contracts.batching import split
from datauploader.contracts.envelope import natural_id
from datauploader.contracts.names import unescape
from datauploader.contracts.pictures import MOST_PICTURES
from datauploader.plugins.file_reader.parameter_validator import MOST_PARAMETERS
from datauploader.plugins.file_reader.reader_process import ReaderProcess
from datauploader.plugins.harvester.kinds import HarvesterSettings, Kind

log = structlog.get_logger()

LONGEST_ANSWER = 16 * 1024**2
"""Bytes: 500 values of 4,000 characters, each of which may take six bytes."""
_LONGEST_PROBLEM = 2000


@dataclass(frozen=True, slots=True)
class Reading:
    """How one attempt at a file went."""

    parameters: tuple[Parameter, ...] = ()
    pictures: tuple[Picture, ...] = ()
    problem: str = ""
    """Why that is not everything, in sentences; "" when it is."""
    passes: bool = False
    """The storage is the trouble: the file is read again later."""
    ended: bool = False
    """The process that reads did not survive it."""
    late: bool = False
    """Its time was over."""
    opened: bool = True
    """The storage has given the file out."""

    def found(self, file: FileVersion) -> ExtractedFile:
        """Return what is told of it."""
        problem = self.problem[:_LONGEST_PROBLEM]
        return ExtractedFile(file=file, parameters=self.parameters, problem=problem, pictures=self.pictures)

    def with_room(self, pictures: int) -> "Reading":
        """Return the same with so many pictures at most: of a whole upload only the first are sent."""
        return replace(self, pictures=self.pictures[: max(0, pictures)])


class Extractor:
    """Reads files in a process of their own, one after the other."""

    def __init__(self, kind: Kind, settings: HarvesterSettings, *, within_s: float | None = None) -> None:
        """Start nothing yet; a file may take `within_s`, or what the settings say."""
        self._kind, self._within_s = kind, settings.seconds if within_s is None else within_s
        self._process = ReaderProcess(kind.reader, memory=settings.memory, answer=LONGEST_ANSWER)
        self.interrupt, self.close = self._process.interrupt, self._process.close

    def stored(self, mounts: Mapping[str, Path], event: Event[EventData], stored: StoredFile) -> Reading:
        """Read one of the files of a file.stored."""
        assert isinstance(event.data, FileStored)
        if why := event.data.forbidden(event.data.destination):  # of rows that a former release has written
            return Reading(problem=why)
        base = mounts.get(event.data.destination.remote)
        if base is None:
            remote = event.data.destination.remote
            return Reading(problem=f"remote {remote} cannot be read here: add it to mounts in [harvesters]")
        return self.read(os.fsencode(base), unescape(stored.object))

    def read(self, root: bytes, path: bytes) -> Reading:
        """Read one file below a folder."""
        parameters: list[Parameter] = []
        pictures: list[Picture] = []
        problems: list[str] = []
        passes = ended = late = opened = False
        for line in self._process.ask(root, (path,), within_s=self._within_s):
            if "parameter" in line and len(parameters) < MOST_PARAMETERS:
                with suppress(ValidationError):  # what reads hostile files may say anything
                    parameters.append(Parameter.model_validate(line["parameter"]))
            if "picture" in line and len(pictures) < MOST_PICTURES:
                with suppress(ValidationError):
                    pictures.append(Picture.model_validate(line["picture"]))
            if "problem" in line:
                problems.append(line["problem"])
                shown = path.decode("utf-8", "replace")
                if line.get("trace"):
                    log.error("reader_failed", path=shown, problem=line["problem"], trace=line["trace"])
                else:
                    log.warning("file_not_read", path=shown, problem=line["problem"])
            opened = opened or "opened" in line
            passes = passes or line.get("passes", False)
            ended = ended or line.get("ended", False)
            late = late or line.get("late", False)
        what = "all of it" if parameters or pictures else "it"
        problem = f"{self._kind.name} could not read {what}: {'; '.join(problems)}" if problems else ""
        return Reading(
            tuple(parameters), tuple(pictures), problem, passes=passes, ended=ended, late=late, opened=opened
        )  # fmt: skip


def told(kind: Kind, event: Event[EventData], found: ExtractedFile) -> Iterator[Event[EventData]]:
    """Yield what there is to publish of one file: its parameters and pictures in as many events as they need."""

    def fact(parameters: tuple[Parameter, ...], pictures: tuple[Picture, ...] = ()) -> MetadataExtracted:
        one = found.model_copy(update={"parameters": parameters, "pictures": pictures})
        return MetadataExtracted(upload_id=event.data.upload_id, harvester=kind.name, files=(one,))

    def follow(data: MetadataExtracted, *further: str) -> Event[EventData]:
        identity = natural_id(MetadataExtracted, data.upload_id, kind.name, found.file.key, *further)
        return event.follow(data, service=kind.service, id=identity)

    for number, data in enumerate(split(found.parameters, fact)):
        yield follow(data, *((str(number),) if number else ()))
    for number, data in enumerate(split(found.pictures, lambda some: fact((), some))):
        yield follow(data, "pictures", str(number))
    if not found.parameters and not found.pictures:
        yield follow(fact(()), "nothing")
