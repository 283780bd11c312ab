"""What a metadata harvester is made of: a name, the files it can read, and one function; the rest is here.

A harvester's distribution names a factory in the entry-point group `datauploader.services`:

    create = harvester("nexus", ("*.nxs", "*.h5"), read)

`harvesters/nexus` is the example to begin from.
"""

import fnmatch
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import structlog
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from datauploader.config import SectionSettings, Settings, load
from datauploader.contracts import (
    Event,
    EventData,
    ExtractedFile,
    FileStored,
    MetadataExtracted,
    Parameter,
    StoredFile,
    decode,
    encode,
)
from datauploader.contracts.batching import split
from datauploader.contracts.envelope import natural_id
from datauploader.contracts.names import unescape
from datauploader.contracts.registry import topic
from datauploader.leftovers import is_leftover
from datauploader.messaging import Consumer, Dispatcher, Unit
from datauploader.messaging.topology import harvester_queue
from datauploader.service import Check, Context
from datauploader.state import Outbox, Schema, Store, inbox, outbox

log = structlog.get_logger()

Reader = Callable[[Path], Iterable[Parameter]]
"""Reads one stored file; raises OSError or ValueError with a sentence when it cannot."""

_SCHEMA = Schema(
    "harvester",
    ("CREATE TABLE wanted (id INTEGER PRIMARY KEY, cause BLOB NOT NULL, stored TEXT NOT NULL);",),
)
MOST_PARAMETERS = 500
LONGEST_TEXT = 4000
"""Characters of a text value; what is longer is shortened."""
_LARGEST_BITS = 1024
"""Of a whole number."""


class HarvesterSettings(SectionSettings):
    """Where harvesters find the stored files: table `[harvesters]`."""

    section: ClassVar[str] = "harvesters"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_HARVESTERS_")

    mounts: dict[str, Path] = Field(default_factory=dict)
    """Folder under which a remote's base can be read here, by the remote's name; local remotes need none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one harvester is."""

    name: str
    patterns: tuple[str, ...]
    read: Reader

    def wants(self, stored: StoredFile) -> bool:
        """Tell whether the file's name is one that this harvester reads, and neither a system's nor a temporary one."""
        name = stored.file.path.rsplit("/", 1)[-1].lower()
        fits = any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)
        return fits and not is_leftover(stored.file.path)


@dataclass(frozen=True, slots=True)
class Harvester:
    """A kind of harvester, and the factory of its service."""

    kind: Kind

    def __call__(self, context: Context) -> "HarvesterService":
        """Build the service, without starting anything."""
        return HarvesterService(context, self.kind, mounts(context.settings, load(HarvesterSettings)))


def harvester(name: str, patterns: Sequence[str], read: Reader) -> Harvester:
    """Make a harvester; what an entry point of the group `datauploader.services` names.

    Args:
        name: of the harvester; its queue is `harvester.<name>`.
        patterns: shell patterns of the file names it reads, in small letters.
        read: returns what the file says about itself.
    """
    return Harvester(Kind(name, tuple(patterns), read))


def mounts(settings: Settings, own: HarvesterSettings) -> dict[str, Path]:
    """Return where each remote's base can be read: what is configured, and local remotes as they are."""
    local = {
        name: Path(str(fields["base"]))
        for name, fields in settings.remotes.items()
        if fields.get("type") == "local" and fields.get("base")
    }
    return local | own.mounts


class HarvesterService:
    """Reads files when they are stored and publishes what they say."""

    def __init__(self, context: Context, kind: Kind, mounts: dict[str, Path]) -> None:
        """Open the state; nothing runs before `start`."""
        self.name = f"{kind.name}-harvester"
        self._kind, self._mounts, self._bus = kind, mounts, context.bus
        path = context.settings.state_dir / f"harvester-{kind.name}.sqlite"
        self._store = Store(path, [inbox.SCHEMA, outbox.SCHEMA, _SCHEMA])
        self._outbox = Outbox(self._store, context.bus.publish)
        self._dispatcher = Dispatcher(self._store, self._outbox, self.name)
        self._dispatcher.on(FileStored, self._stored)
        self._dispatcher.after_commit(self._wake)
        self._change = threading.Condition()
        self._stopping = False
        self._consumer: Consumer | None = None
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._outbox.start()
        self._thread.start()
        queue = harvester_queue(self._kind.name, [f"*.*.*.{topic(FileStored)}"])
        self._consumer = self._bus.consume(queue, self._dispatcher, workers=1, prefetch=16)

    def stop(self, deadline_s: float) -> None:
        """Finish the file that is being read."""
        end = time.monotonic() + deadline_s
        if self._consumer:
            self._consumer.stop(deadline_s / 3)
        with self._change:
            self._stopping = True
            self._change.notify()
        self._thread.join(deadline_s / 3)
        self._outbox.stop(max(0.0, end - time.monotonic()))

    def checks(self) -> Sequence[Check]:
        """Say whether the mounts are there, and whether what was read can be told."""
        gone = [str(path) for path in self._mounts.values() if not path.is_dir()]
        return (
            Check("mounts", not gone, f"not readable here: {', '.join(gone)}" if gone else ""),
            Check("outbox", not self._outbox.trouble, self._outbox.trouble),
        )

    def _stored(self, unit: Unit, event: Event[FileStored]) -> None:
        cause = encode(event)
        wanted = [(cause, item.model_dump_json()) for item in event.data.files if self._kind.wants(item)]
        unit.db.executemany("INSERT INTO wanted (cause, stored) VALUES (?, ?)", wanted)

    def _wake(self) -> None:
        with self._change:
            self._change.notify()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._stopping and (row := self._next()) is None:
                    self._change.wait(30.0)
                if self._stopping:
                    return
            assert row is not None
            self._harvest(row[0], row[1], row[2])

    def _next(self) -> tuple[int, bytes, str] | None:
        with self._store.reading() as db:
            row = db.execute("SELECT id, cause, stored FROM wanted ORDER BY id LIMIT 1").fetchone()
        return (row["id"], row["cause"], row["stored"]) if row else None

    def _harvest(self, row_id: int, cause: bytes, document: str) -> None:
        event, stored = decode(cause), StoredFile.model_validate_json(document)
        assert isinstance(event.data, FileStored)
        found = extract(self._kind, self._mounts, event, stored)
        with self._store.transaction() as db:
            db.execute("DELETE FROM wanted WHERE id = ?", (row_id,))
            for fact in told(self._kind, event, found):
                Outbox.put(db, fact)
        self._outbox.wake()


def extract(kind: Kind, mounts: dict[str, Path], event: Event[EventData], stored: StoredFile) -> ExtractedFile:
    """Read one of the files of a file.stored; return what it says, a problem included."""
    assert isinstance(event.data, FileStored)
    base = mounts.get(event.data.destination.remote)
    if base is None:
        problem = f"remote {event.data.destination.remote} cannot be read here: add it to mounts in [harvesters]"
        return ExtractedFile(file=stored.file, problem=problem)
    path = base / Path(unescape(stored.object).decode("utf-8", "surrogateescape"))
    parameters, problem = read_file(kind, path)
    return ExtractedFile(file=stored.file, parameters=parameters, problem=problem[:2000])


def told(kind: Kind, event: Event[EventData], found: ExtractedFile) -> Iterator[Event[EventData]]:
    """Yield what there is to publish of one file: its parameters in as many events as they need."""

    def fact(parameters: tuple[Parameter, ...]) -> MetadataExtracted:
        one = found.model_copy(update={"parameters": parameters})
        return MetadataExtracted(upload_id=event.data.upload_id, harvester=kind.name, files=(one,))

    facts = split(found.parameters, fact) if found.parameters else iter((fact(()),))
    for number, data in enumerate(facts):
        further = (str(number),) if number else ()
        identity = natural_id(MetadataExtracted, data.upload_id, kind.name, found.file.key, *further)
        yield event.follow(data, service=f"{kind.name}-harvester", id=identity)


def read_file(kind: Kind, path: Path) -> tuple[tuple[Parameter, ...], str]:
    """Read one file; return what it says about itself, and why that is not everything."""
    try:
        return _bounded(tuple(kind.read(path))[:MOST_PARAMETERS])
    except (OSError, ValueError) as error:
        log.warning("file_not_read", path=str(path), problem=str(error))
        return (), f"{kind.name} could not read it: {error}"
    except Exception as error:  # a plug-in's own mistake must not stop the others' files
        log.exception("harvester_failed", path=str(path))
        return (), f"{kind.name} failed: {type(error).__name__}"


def _bounded(parameters: tuple[Parameter, ...]) -> tuple[tuple[Parameter, ...], str]:
    """Return the parameters with values that an event has room for, and which of them are not whole."""
    kept: list[Parameter] = []
    short: list[str] = []
    left_out: list[str] = []
    for one in parameters:
        value = one.value
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            short.append(one.name)
            kept.append(one.model_copy(update={"value": f"{value[: LONGEST_TEXT - 1]}…"}))
        elif isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
            left_out.append(one.name)
        else:
            kept.append(one)
    said = [
        f"only the first {LONGEST_TEXT} characters are kept of: {', '.join(short)}" if short else "",
        f"left out, because these numbers are too large: {', '.join(left_out)}" if left_out else "",
    ]
    return tuple(kept), "; ".join(filter(None, said))
