"""The envelope around every event: CloudEvents 1.0 in structured mode (JSON event format 1.0.2)."""

import json
import re
import secrets
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, ConfigDict, StringConstraints, ValidationError

from datauploader.contracts.address import Station
from datauploader.contracts.model import EventData, WireModel, Word, microseconds
from datauploader.contracts.registry import kind_of, topic, type_name
from datauploader.errors import ContractError, Undecodable

CONTENT_TYPE = "application/cloudevents+json"
SCHEMA_BASE = "https://datauploader.ceric.eu/schemas/"
LARGEST = 64 * 1024
"""Bytes that an event of ours has at most when encoded, unless one item of its list is larger alone."""
LARGEST_ACCEPTED = 1024 * 1024
"""Bytes beyond which a body is not even parsed."""
_DATA = b', "data": '
"""Stands before the data in what `encode` writes, and nowhere before: a quote within an attribute is escaped."""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "datauploader.ceric.eu")

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_WORD = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_ID = re.compile(r"[\x21-\x7e]{1,200}")
_Id = Annotated[str, StringConstraints(pattern=f"^{_ID.pattern}$")]
"""An id that fits into an AMQP property (255 bytes) and into a log line."""
_Sequence = Annotated[str, StringConstraints(pattern="^[0-9]{1,16}$")]
"""As the sequence extension of CloudEvents wants it: text that sorts as what it counts."""

D_co = TypeVar("D_co", bound=EventData, covariant=True)


def new_traceparent() -> str:
    """Start a trace: W3C Trace Context, version 00, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_of(traceparent: str) -> str:
    """Go on with a trace under a new id."""
    head, trace_id, _, flags = traceparent.split("-")
    return f"{head}-{trace_id}-{secrets.token_hex(8)}-{flags}"


def natural_id(kind: type[EventData], *parts: str) -> str:
    """Derive an event id from what the event is about, so that the same fact always has the same id."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join((type_name(kind), *parts))))


@dataclass(frozen=True, slots=True)
class Mark:
    """Which state file an event comes from, and as which of all that this file has ever said."""

    state: str
    """The file's own number."""
    run: str
    """Names one opening of the file by its service."""
    number: int
    """Rises with every event of the file, across all its runs."""


@dataclass(frozen=True, slots=True)
class Event(Generic[D_co]):
    """One thing that happened, with everything that its envelope says about it."""

    data: D_co
    station: Station
    service: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = field(default_factory=new_traceparent)
    mark: Mark | None = field(default=None, compare=False)
    """Set while it is sent from a state file's outbox; belongs to the sending, not to the fact."""
    sequence: int | None = None
    """Drawn by the state file of the one who says it, so that later ones are greater whatever the clock does."""
    parent: str = field(default="", compare=False, repr=False)
    """The trace context of the event that has caused this one, known to the one who says it alone."""

    def __post_init__(self) -> None:
        if not (_ID.fullmatch(self.id) and _WORD.fullmatch(self.service)):
            raise ContractError(
                f"an event needs an id without spaces and a service of one word: {self.id!r} {self.service!r}"
            )

    @property
    def routing_key(self) -> str:
        """The six words of the topic."""
        return f"{self.station.key}.{topic(type(self.data))}"

    @property
    def order(self) -> int:
        """What tells the later of two events of one source: `sequence`, or the time of one that has none."""
        return self.sequence if self.sequence is not None else microseconds(self.time)

    @property
    def trace_id(self) -> str:
        """The 32 hexadecimal digits that join pages, messages and logs."""
        return self.traceparent.split("-")[1]

    def follow(self, data: EventData, *, service: str, id: str | None = None) -> "Event[EventData]":  # noqa: A002 - the envelope's own word
        """Build an event that this one caused: same station, same trace, same correlation."""
        return Event(
            data=data,
            station=self.station,
            service=service,
            id=id or str(uuid.uuid4()),
            correlation_id=self.correlation_id or self.id,
            causation_id=self.id,
            traceparent=child_of(self.traceparent),
            parent=self.traceparent,
        )


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as it travels: what its envelope says of it, and the whole as bytes; its data are not read for that."""

    kind: type[EventData]
    station: Station
    service: str
    id: str
    time: datetime
    correlation_id: str
    traceparent: str
    upload_id: str
    """The upload that it is about, or "" where it is about a station as a whole."""
    body: bytes

    @classmethod
    def of(cls, event: Event[EventData]) -> "EncodedEvent":
        """Encode an event."""
        return cls(
            type(event.data), event.station, event.service, event.id, event.time, event.correlation_id or event.id,
            event.traceparent, event.data.upload_id, encode(event),
        )  # fmt: skip

    @classmethod
    def marked(cls, body: bytes, mark: Mark) -> "EncodedEvent":
        """Put a mark on what `encode` has written.

        Raises:
            Undecodable: the body is too large, or was not written by `encode`.
            UnknownEvent: the type or version is not in the registry.
        """
        head, found, data = body.partition(_DATA)
        if not found or len(body) > LARGEST_ACCEPTED:
            raise Undecodable(f"the body has {len(body)} bytes and no data" if not found else _too_large(body))
        try:
            said = _Attributes.model_validate_json(head + b"}")
            kind, source = kind_of(said.type), _read_source(said.source)
        except ValidationError as error:
            raise Undecodable(_first_problem(error)) from error
        if said.statefile:  # it was marked when it came, and is said once more
            return cls.of(replace(decode(body), mark=mark))
        upload_id = "" if said.subject == source.station.key else said.subject
        marks = json.dumps(_marked(mark))[:-1].encode()
        return cls(
            kind, source.station, source.service, said.id, said.time, said.correlationid or said.id, said.traceparent,
            upload_id, b"".join((marks, b", ", head[1:], _DATA, data)),
        )  # fmt: skip

    @property
    def routing_key(self) -> str:
        """The six words of the topic."""
        return f"{self.station.key}.{topic(self.kind)}"


class _Source(WireModel):
    """The words of `source`."""

    station: Station
    service: Word


class _Attributes(WireModel):
    """The attributes as they stand in JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: str
    id: _Id
    source: str
    type: str
    time: AwareDatetime
    subject: str = ""
    correlationid: _Id | None = None
    causationid: _Id | None = None
    traceparent: str = ""
    statefile: str = ""
    staterun: str = ""
    statenumber: str = ""
    sequence: _Sequence | None = None


class _Envelope(_Attributes):
    """The whole document."""

    data: dict[str, Any]


def encode(event: Event[EventData]) -> bytes:
    """Write an event as a JSON document in UTF-8."""
    kind = type(event.data)
    station = event.station
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"urn:datauploader:{station.facility}:{station.beamline}:{station.station}:{event.service}",
        "type": type_name(kind),
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "subject": event.data.upload_id or station.key,
        "datacontenttype": "application/json",
        "dataschema": f"{SCHEMA_BASE}{topic(kind)}.json",
        "correlationid": event.correlation_id or event.id,
        "causationid": event.causation_id or event.id,
        "traceparent": event.traceparent,
        **_marked(event.mark),
    }
    if event.sequence is not None:
        attributes["sequence"] = f"{event.sequence:016}"
    head = json.dumps(attributes, ensure_ascii=False)[:-1]
    return b"".join((head.encode(), _DATA, event.data.to_json(), b"}"))


def decode(body: bytes) -> Event[EventData]:
    """Read an event.

    Raises:
        Undecodable: the body is too large, no JSON, no CloudEvent, or its data break their contract.
        UnknownEvent: the type or version is not in the registry.
    """
    if len(body) > LARGEST_ACCEPTED:
        raise Undecodable(_too_large(body))
    try:
        envelope, data = _read_own(body) or _read_any(body)
        source = _read_source(envelope.source)
    except ValidationError as error:
        raise Undecodable(_first_problem(error)) from error
    return Event(
        data=data,
        station=source.station,
        service=source.service,
        id=envelope.id,
        time=envelope.time,
        correlation_id=envelope.correlationid or "",
        causation_id=envelope.causationid or "",
        traceparent=envelope.traceparent if _TRACEPARENT.fullmatch(envelope.traceparent) else new_traceparent(),
        mark=_mark(envelope),
        sequence=int(envelope.sequence) if envelope.sequence is not None else None,
    )


def _read_own(body: bytes) -> tuple[_Attributes, EventData] | None:
    """Read what `encode` has written, which nearly every event was; None where it is anything else.

    pydantic's own parser is quicker, but of a key that stands twice it takes the last one. What gives the same bytes
    when it is written again has none, nor anything else that readers could see in different ways.
    """
    head, _, data = body.partition(_DATA)
    try:
        attributes = _parse(head + b"}")
        envelope = _Attributes.model_validate(attributes)
        read = kind_of(envelope.type).from_json(data[:-1])
    except (ContractError, ValidationError):
        return None
    own = envelope.specversion == "1.0" and "data" not in attributes and data == read.to_json() + b"}"
    return (envelope, read) if own else None


def _read_any(body: bytes) -> tuple[_Attributes, EventData]:
    """Read what anybody has written, strictly."""
    envelope = _Envelope.model_validate(_parse(body))
    if envelope.specversion != "1.0":
        raise Undecodable(f"CloudEvents version {envelope.specversion[:20]!r} is not supported, 1.0 is")
    return envelope, kind_of(envelope.type).model_validate(envelope.data)


def peek(body: bytes) -> tuple[type[EventData] | None, str]:
    """Return the kind and the subject of a body that `decode` refuses, as far as it tells them."""
    try:
        document = json.loads(body)
        return kind_of(str(document["type"])), str(document.get("subject", ""))
    except (ContractError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None, ""


def data_of(body: bytes, kind: type[EventData]) -> bytes | None:
    """Return the data of what `encode` wrote of this kind, without reading them; None of anything else."""
    head, found, data = body.partition(_DATA)
    return data[:-1] if found and f'"type": "{type_name(kind)}"'.encode() in head else None


def said_at(body: bytes) -> datetime | None:
    """Return when what `encode` wrote was said, without reading its data; None where that cannot be told."""
    try:
        return datetime.fromisoformat(json.loads(body.partition(_DATA)[0] + b"}")["time"])
    except (ValueError, LookupError, TypeError):
        return None


def _too_large(body: bytes) -> str:
    return f"the body has {len(body)} bytes; at most {LARGEST_ACCEPTED} are accepted"


def _marked(mark: Mark | None) -> dict[str, str]:
    """Write a mark as attributes of our own."""
    if mark is None:
        return {}
    return {"statefile": mark.state, "staterun": mark.run, "statenumber": f"{mark.number:020d}"}


def _mark(envelope: _Attributes) -> Mark | None:
    """Read a mark; one that is not as ours are is none, because the fact is the same without it."""
    words = (envelope.statefile, envelope.staterun)
    if not (all(_WORD.fullmatch(word) for word in words) and _NUMBER.fullmatch(envelope.statenumber)):
        return None
    return Mark(*words, int(envelope.statenumber))


def _parse(body: bytes) -> dict[str, Any]:
    """Read strict JSON: readers of another make must not see other values than this one does."""
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are ValueErrors
        raise Undecodable(f"the body is not JSON: {error}"[:500]) from error
    if not isinstance(document, dict):
        raise Undecodable("the body is not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return members


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


@lru_cache(maxsize=1024)
def _read_source(source: str) -> _Source:
    words = source.split(":")
    if len(words) != 6 or words[:2] != ["urn", "datauploader"]:  # noqa: PLR2004 - urn, scheme, three words, service
        raise Undecodable(
            f"the source {source[:120]!r} is not urn:datauploader:<facility>:<beamline>:<station>:<service>"
        )
    return _Source(station=Station(facility=words[2], beamline=words[3], station=words[4]), service=words[5])


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "the body"
    return f"{where}: {problem['msg']}"[:500]
