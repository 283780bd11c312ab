"""Audits in REST: when the storage was compared with the manifest, and what was found."""

from pydantic import Field

from datauploader.contracts.audits import Difference
from datauploader.contracts.rest.model import Needed, RestModel
from datauploader.contracts.uploads import Person


class Audit(RestModel):
    """One look at what lies on the storage."""

    audit: Needed[str]
    looked: str
    well: Needed[bool] = Field(description="The storage holds everything as verified, and no unexpected objects.")
    says: str = Field(description="What was found, in a sentence.")
    manifest_sha256: str = Field(description="Digest of the list of files that was compared.")
    files: int
    objects: int
    compared: str = Field(description="By what the files were compared.")
    differences: tuple[Difference, ...] = ()
    accepted: bool = Field(description="A person has accepted the unexpected objects.")
    requested_by: Person | None = Field(default=None, description="None: the catalog, before it completed the dataset.")
    trouble: str = Field(default="", description="Why it could not be compared; the rest says nothing then.")
    final: bool = Field(default=True, description="False: it is retried automatically.")

    @property
    def only_foreign(self) -> bool:
        """Nothing is wrong but what nobody ordered."""
        blocking = {one.kind for one in self.differences if one.blocks}
        return not self.trouble and blocking == {"foreign"}


class Asked(RestModel):
    """An audit that was asked for."""

    audit: Needed[str]
    asked: str
    read: bool = False
    accept: bool = False


class Audits(RestModel):
    """The latest audits of an upload, the newest first, and the one that is being done."""

    items: list[Audit]
    asked: Asked | None = None
