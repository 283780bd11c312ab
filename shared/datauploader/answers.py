"""What the gateway's REST interface answers, as far as a client reads it; the rest is kept and passed on."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts import Parameter


class Answer(BaseModel):
    """A value that the gateway sent; fields that this release does not know stay in it."""

    model_config = ConfigDict(frozen=True, extra="allow")


class User(Answer):
    """A signed-in person."""

    id: str
    name: str = ""
    role: str = "user"


class Me(Answer):
    """Who the gateway takes the caller for, and until when."""

    user: User
    expires: datetime | None = None
    signed_in_by: str = ""


class SignInWays(Answer):
    """How one can sign in at the gateway."""

    local: bool = True
    vuo: bool = False
    oidc: dict[str, str] | None = None
    """The facility's identity provider, where there is one."""


class Token(Answer):
    """A token for programs; told once."""

    id: str
    token: str = Field(repr=False)
    expires: datetime | None = None
    user: User


class Investigation(Answer):
    """An investigation of the user; what the catalogue or an older gateway does not tell is empty."""

    id: str
    title: str = ""
    name: str = ""
    open: bool = True
    reason: str = ""
    """Why nothing can be uploaded to it."""
    section: str = ""
    """`today`, `used`, `open` or `closed`."""
    beamline: str = ""
    start: date | None = None
    end: date | None = None
    principal_investigator: str = ""
    last_used: datetime | None = None


class InvestigationList(Answer):
    """Investigations of one user."""

    items: tuple[Investigation, ...]
    total: int = 0
    may_create: bool = False


class Description(Answer):
    """What is said of a dataset, and whether the catalogue says so as well."""

    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    state: str = "catalogued"
    refusal: str = ""


class StationService(Answer):
    """One service of a station as it last reported."""

    service: str
    state: str
    version: str = ""
    silent: bool = False
    troubles: tuple[str, ...] = ()
    backlog_files: int = 0
    backlog_bytes: int = 0


class StationStatus(Answer):
    """A station and what runs on it."""

    station: str
    silent: bool
    last_report: datetime | None = None
    services: tuple[StationService, ...] = ()


class StationList(Answer):
    """All stations that have ever reported."""

    items: tuple[StationStatus, ...]


class Ready(Answer):
    """What the gateway says about its own health."""

    ok: bool
    checks: tuple["ReadyCheck", ...] = ()


class ReadyCheck(Answer):
    """One thing that the gateway needs."""

    name: str
    ok: bool
    detail: str = ""


class Amount(Answer):
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


class Counts(Answer):
    """How far the newest versions of an upload's files are; cumulative."""

    found: Amount = Amount()
    ready: Amount = Amount()
    stored: Amount = Amount()
    verified: Amount = Amount()
    unverified: Amount = Amount()
    catalogued: Amount = Amount()
    failed: Amount = Amount()
    retrying: Amount = Amount()
    released: Amount = Amount()
    """Their local copies were removed on request."""
    metadata_lacks: Amount = Amount()
    """Their metadata were not read, or are not taken by the catalogue."""


class Restless(Answer):
    """A file that keeps a closed upload from being sealed, because a program goes on writing it."""

    path: str
    path_b64: str | None = None
    since: datetime


class UploadStatus(Answer):
    """One upload as the status view has it."""

    id: str
    state: str
    over: bool = False
    needs_person: bool = False
    paused: bool = False
    closing: bool = False
    mode: str
    investigation: str
    dataset: str
    dataset_url: str = ""
    doi: str = ""
    station: str
    path: str = ""
    remote: str = ""
    location: str = ""
    created: datetime
    counts: Counts = Counts()
    left_out: int = 0
    settling: int = 0
    restless: tuple[Restless, ...] = ()
    looked: bool = True
    station_silent_since: datetime | None = None
    speed: float = 0.0
    seconds_left: float | None = None
    manifest_sha256: str = ""
    delayed: bool = False
    troubles: tuple[str, ...] = ()


class AuditDifference(Answer):
    """Objects of one kind that are not as the manifest says."""

    kind: str
    files: int
    first: tuple[str, ...] = ()


class AuditStatus(Answer):
    """One comparison of what lies on the storage with the manifest."""

    audit: str
    well: bool
    says: str = ""
    differences: tuple[AuditDifference, ...] = ()
    trouble: str = ""


class AuditList(Answer):
    """The latest comparisons of one upload, the newest first."""

    items: tuple[AuditStatus, ...] = ()


class AuditAsked(Answer):
    """A comparison that was asked for."""

    audit: str


class UploadPage(Answer):
    """Some uploads, newest first."""

    items: tuple[UploadStatus, ...]
    next: str | None = None


class FileStatus(Answer):
    """One file of an upload."""

    path: str
    size: int
    state: str
    proof: Literal["verified", "unverified"] | None = None
    reason: str = ""
    detail: str = ""
    hint: str = ""
    metadata_problem: str = ""


class FilePage(Answer):
    """Some files of an upload, failed ones first."""

    items: tuple[FileStatus, ...]
    next: str | None = None


class LeftOutGroup(Answer):
    """What would not be uploaded for one reason."""

    reason: str
    detail: str
    count: int
    examples: tuple[str, ...] = ()


class Together(Answer):
    """An open upload that some of the files belong to already; `upload` is empty where it is somebody else's."""

    upload: str | None = None
    mine: bool = False
    files: int


class Destination(Answer):
    """What the storage holds already where the files would go."""

    exists: bool
    objects: int = 0
    bytes: int = 0
    partial: bool = False


class Conflicts(Answer):
    """Files that would meet an object of the same name that is not ours."""

    differing: int = 0
    first: tuple[str, ...] = ()
    same_size: int = 0
    partial: bool = False


class UploadPreview(Answer):
    """What an upload would take and meet."""

    path: str
    remote: str
    location: str
    files: int
    bytes: int
    left_out: tuple[LeftOutGroup, ...] = ()
    settling: int = 0
    together_with: tuple[Together, ...] = ()
    partial: bool = False
    trouble: str = ""
    destination: Destination | None = None
    destination_trouble: str = ""
    conflicts: Conflicts | None = None
    continues: tuple[str, ...] = ()
    alike: str = ""
    seconds: float | None = None
