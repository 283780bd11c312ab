"""What is said about audits: somebody wants what lies on the storage compared with the manifest, and what was found."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from datauploader.contracts.model import EventData, Sentence, Sha256, UploadId, WireModel
from datauploader.contracts.uploads import Destination, Person

BLOCKING = frozenset({"missing", "cut", "altered", "doubled", "foreign"})
"""Kinds of difference with which a dataset is not completed, nor called whole."""
MOST_NAMED = 20
"""Objects that are named of each kind of difference."""


class AuditRequested(EventData):
    """What lies on the storage is to be compared with the manifest of this upload."""

    name: ClassVar[str] = "audit.requested"

    upload_id: UploadId
    audit: UploadId
    """Names this audit; whoever asks again under the same name is told the same again."""
    destination: Destination
    manifest_sha256: Sha256 | None = None
    """The manifest that the list of files should have; None where no manifest is sealed yet."""
    files: int = Field(default=0, ge=0)
    """How many files that manifest has."""
    bytes: int | None = Field(default=None, ge=0)
    """How many bytes these have; left out by earlier releases, and where no manifest is sealed yet."""
    read: bool = False
    """Read every object back of which the storage has no hash of its own."""
    accept: bool = False
    """A person has seen what nobody ordered there, and has the dataset completed beside it."""
    requested_by: Person | None = None
    """None: the catalog asks, before it completes the dataset."""


class Difference(WireModel):
    """Objects of one kind that are not as the manifest says."""

    kind: str = Field(pattern=r"^[a-z-]{2,40}$")
    """Of files of the manifest: `missing`, `cut` (another size), `altered` (another hash), `doubled` (not listed, but
    the storage answers to its name, so it takes it for another's), `respelt` (listed in another spelling of the same
    letters). Of other objects: `foreign` (nobody ordered it), `ours` (we wrote it, and no datafile wants it),
    `leftover` (a temporary name of ours)."""
    files: int = Field(ge=1)
    first: tuple[str, ...] = Field(default=(), max_length=MOST_NAMED)
    """Some of them, by their paths below the location as `names.escape` writes them; long ones are cut."""

    @property
    def blocks(self) -> bool:
        """The dataset is not whole while this is so."""
        return self.kind in BLOCKING


class HashedFiles(WireModel):
    """So many files were compared by this hash."""

    algorithm: str
    files: int = Field(ge=0)


class AuditReported(EventData):
    """What lies on the storage was compared with the manifest."""

    name: ClassVar[str] = "audit.reported"

    upload_id: UploadId
    audit: UploadId
    looked: AwareDatetime
    """When the storage was listed."""
    manifest_sha256: Sha256 | None = None
    """Digest of the list that was compared, computed from it; None where there is none."""
    files: int = Field(default=0, ge=0)
    """Files of that list."""
    bytes: int = Field(default=0, ge=0)
    objects: int = Field(default=0, ge=0)
    """Objects that lie below the location."""
    hashes: tuple[HashedFiles, ...] = ()
    """How many files were compared by which hash of the storage's own; the others by name and size."""
    read: int = Field(default=0, ge=0)
    """Files that were read back and hashed."""
    differences: tuple[Difference, ...] = Field(default=(), max_length=20)
    accepted: bool = False
    """A person has accepted what nobody ordered, see `AuditRequested.accept`."""
    requested_by: Person | None = None
    seconds: float = Field(default=0, ge=0)
    trouble: Sentence = ""
    """Why it could not be compared; the rest says nothing then."""
    final: bool = True
    """False: it is tried again by itself."""

    @property
    def well(self) -> bool:
        """Every file of the list lies there as it was verified, and nothing that nobody ordered and nobody accepted."""
        return not self.trouble and not any(
            one.blocks and not (self.accepted and one.kind == "foreign") for one in self.differences
        )
