"""The ground rules of everything that travels: frozen, tolerant of fields it does not know, counted in versions."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}$")]
"""One word of a routing key."""

UploadId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
"""Names one upload everywhere: in messages, tables, addresses of pages."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Sha1 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Sentence = Annotated[str, StringConstraints(max_length=2000)]
"""Text that a person reads: what happened, or what to do."""

LATEST_NS = 2**63 - 1
"""2262-04-11, the last moment that 64 bits of nanoseconds since 1970 hold; the first one is its negative."""
LARGEST = 2**63 - 1
"""The largest number that a column of SQLite holds."""

Nanoseconds = Annotated[int, Field(ge=-LATEST_NS, le=LATEST_NS)]
"""A time of a file, since 1970-01-01 UTC."""
FileSize = Annotated[int, Field(ge=0, le=LARGEST)]
"""Bytes."""


def bounded_ns(moment: int) -> int:
    """Bring a time that a disk says, which may be of any year, within what databases and clocks can hold."""
    return max(-LATEST_NS, min(moment, LATEST_NS))


class WireModel(BaseModel):
    """A wire model: a frozen value that other processes, and other releases, will read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null")

    def to_json(self) -> bytes:
        """Write it as it travels: compact JSON in UTF-8, without what is None."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class EventData(WireModel):
    """The data of one kind of event; `name` and `major` are its place in the topic."""

    name: ClassVar[str]
    """`<noun>.<verb>`, the fourth and fifth word of the routing key."""
    major: ClassVar[int] = 1
    lossy: ClassVar[bool] = False
    """True for the one kind that may be lost: published transient, without confirm or re-delivery."""
    said_again: ClassVar[bool] = False
    """True where the source says the same again by itself until it was heard: a copy of it may be dropped."""
    deprecated: ClassVar[bool] = False

    upload_id: str
    """The upload that the event is about, or "" where it is about a station as a whole."""

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read the data of an event.

        Raises:
            ValidationError: they break their contract.
        """
        return cls.model_validate_json(data)


class Question(WireModel):
    """A request that is answered before its deadline or not at all; `contracts.questions` has each, with its answer."""

    name: ClassVar[str]
    """`<service>.<what>`; the service word is the one who answers."""


def microseconds(moment: datetime) -> int:
    """Return a time as microseconds since 1970, the unit in which sequence numbers begin."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
