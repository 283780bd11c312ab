"""Files in REST: how far each one is, and why it is no further."""

from typing import Literal

from pydantic import Field

from datauploader.contracts.rest.model import Needed, RestModel

FileState = Literal["failed", "retrying", "ready", "unverified", "verified", "catalogued"]


class File(RestModel):
    """One file of an upload, in its newest version."""

    path: Needed[str]
    path_b64: str | None = None
    size: Needed[int]
    sha256: str = ""
    revision: int
    state: Needed[FileState]
    proof: Literal["verified", "unverified"] | None
    released: bool
    reason: str = ""
    detail: str = ""
    hint: str = ""
    metadata_problem: str = Field(
        default="", description="What of its metadata could not be read, or is not taken by the catalogue."
    )


class Files(RestModel):
    """A page of files, failed ones first."""

    items: Needed[list[File]]
    next: str | None
