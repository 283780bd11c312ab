"""What a mover asks transfer, which lends it batches of files to move: taken, begun, renewed, ended."""

from typing import ClassVar

from pydantic import Field

from datauploader.contracts.files import FileVersion, Milliseconds
from datauploader.contracts.model import Question, Sentence, WireModel, Word
from datauploader.contracts.names import RelativePath


class TakeMoves(Question):
    """Ask transfer for files to move in its place; a mover elsewhere asks, with the station's own account."""

    name: ClassVar[str] = "transfer.take-moves"
    mover: Word
    """Names the one who asks, the same each time; each has one batch at a time."""
    host: str = Field(default="", max_length=255)
    """Its computer, for people."""


class Move(WireModel):
    """One version to move; see `Item` of the transfer service."""

    file: FileVersion
    object: RelativePath
    """As in `StoredFile.object`."""
    replaces: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()


class Moves(WireModel):
    """A batch, and for how long it is lent; without a batch there is nothing to do now."""

    batch: Word | None = None
    lease_s: float = 0
    """Seconds from the question on that a batch is lent; each renewal lends it as long again. Who is late must write
    nothing any more."""
    remote: Word = "none"
    root: str = ""
    root_b64: str | None = None
    station: str = ""
    """Whose files they are, as `facility.beamline.station`."""
    items: tuple[Move, ...] = ()


class BeginMoves(Question):
    """Tell transfer which files of a batch are written next; nothing is written before it has answered."""

    name: ClassVar[str] = "transfer.begin-moves"
    batch: Word
    keys: tuple[str, ...] = Field(max_length=5000)
    new: tuple[str, ...] = Field(default=(), max_length=5000)
    """Those of them at whose targets nothing lies."""


class RenewMoves(Question):
    """Tell transfer that a batch is still being moved."""

    name: ClassVar[str] = "transfer.renew-moves"
    batch: Word
    moved: int = Field(default=0, ge=0)
    """Bytes so far."""


class MoveOutcome(WireModel):
    """What became of one version that was stored, or tried; see `Outcome` of the transfer service."""

    key: str
    state: str = Field(pattern=r"^[a-z-]{2,40}$")
    detail: Sentence = ""
    method: str = Field(default="", max_length=80)
    algorithm: str = ""
    digest: str = ""
    unproved: bool = False
    proof_ms: Milliseconds | None = None
    """See `FileStored.proof_ms`."""


class EndMoves(Question):
    """Tell transfer what became of a batch."""

    name: ClassVar[str] = "transfer.end-moves"
    batch: Word
    outcomes: tuple[MoveOutcome, ...] = Field(default=(), max_length=5000)
    declined: Sentence = ""
    """Why nothing of it was tried."""


class Lent(WireModel):
    """Whether the batch is still lent to the one who asks; else nothing of it may be written any more."""

    held: bool
