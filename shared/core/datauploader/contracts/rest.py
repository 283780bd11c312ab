"""What the gateway's REST interface answers, as far as a client reads it; the rest is kept and passed on."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts import Parameter


class GatewayAnswer(BaseModel):
    """A value that the gateway sent; fields that this release does not know stay in it."""

    model_config = ConfigDict(frozen=True, extra="allow")


class UserAnswer(GatewayAnswer):
    """A signed-in person."""

    id: str
    name: str = ""
    role: str = "user"


class Me(GatewayAnswer):
    """Who the gateway takes the caller for, and until when."""

    user: UserAnswer
    expires: datetime | None = None
    signed_in_by: str = ""


class SignInWays(GatewayAnswer):
    """How one can sign in at the gateway."""

    local: bool = True
    vuo: bool = False
    oidc: dict[str, str] | None = None
    """The facility's identity provider, where there is one."""


class Token(GatewayAnswer):
    """A token for programs; told once."""

    id: str
    token: str = Field(repr=False)
    expires: datetime | None = None
    user: UserAnswer


class InvestigationAnswer(GatewayAnswer):
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


class InvestigationList(GatewayAnswer):
    """Investigations of one user."""

    items: tuple[InvestigationAnswer, ...]
    total: int = 0
    may_create: bool = False


class DescriptionAnswer(GatewayAnswer):
    """What is said of a dataset, and whether the catalogue says so as well."""

    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    state: str = "catalogued"
    refusal: str = ""


class StationService(GatewayAnswer):
    """One service of a station as it last reported."""

    service: str
    state: str
    version: str = ""
    silent: bool = False
    troubles: tuple[str, ...] = ()
    backlog_files: int = 0
    backlog_bytes: int = 0


class StationAnswer(GatewayAnswer):
    """A station and what runs on it."""

    station: str
    silent: bool
    last_report: datetime | None = None
    services: tuple[StationService, ...] = ()


class StationList(GatewayAnswer):
    """All stations that have ever reported."""

    items: tuple[StationAnswer, ...]


class ReadyAnswer(GatewayAnswer):
    """What the gateway says about its own health."""

    ok: bool
    checks: tuple["ReadyCheck", ...] = ()


class ReadyCheck(GatewayAnswer):
    """One thing that the gateway needs."""

    name: str
    ok: bool
    detail: str = ""


class FileAmount(GatewayAnswer):
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


class FileCounts(GatewayAnswer):
    """How far the newest versions of an upload's files are; cumulative."""

    found: FileAmount = FileAmount()
    ready: FileAmount = FileAmount()
    stored: FileAmount = FileAmount()
    verified: FileAmount = FileAmount()
    unverified: FileAmount = FileAmount()
    catalogued: FileAmount = FileAmount()
    failed: FileAmount = FileAmount()
    retrying: FileAmount = FileAmount()
    released: FileAmount = FileAmount()
    """Their local copies were removed on request."""
    metadata_lacks: FileAmount = FileAmount()
    """Their metadata were not read, or are not taken by the catalogue."""


class Restless(GatewayAnswer):
    """A file that keeps a closed upload from being sealed, because a program goes on writing it."""

    path: str
    path_b64: str | None = None
    since: datetime


class UploadStatus(GatewayAnswer):
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
    counts: FileCounts = FileCounts()
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


class AuditDifference(GatewayAnswer):
    """Objects of one kind that are not as the manifest says."""

    kind: str
    files: int
    first: tuple[str, ...] = ()


class AuditStatus(GatewayAnswer):
    """One comparison of what lies on the storage with the manifest."""

    audit: str
    well: bool
    says: str = ""
    differences: tuple[AuditDifference, ...] = ()
    trouble: str = ""


class AuditList(GatewayAnswer):
    """The latest comparisons of one upload, the newest first."""

    items: tuple[AuditStatus, ...] = ()


class AuditAsked(GatewayAnswer):
    """A comparison that was asked for."""

    audit: str


class UploadPage(GatewayAnswer):
    """Some uploads, newest first."""

    items: tuple[UploadStatus, ...]
    next: str | None = None


class FileStatus(GatewayAnswer):
    """One file of an upload."""

    path: str
    size: int
    state: str
    proof: Literal["verified", "unverified"] | None = None
    reason: str = ""
    detail: str = ""
    hint: str = ""
    metadata_problem: str = ""


class FilePage(GatewayAnswer):
    """Some files of an upload, failed ones first."""

    items: tuple[FileStatus, ...]
    next: str | None = None


class LeftOutAnswer(GatewayAnswer):
    """What would not be uploaded for one reason."""

    reason: str
    detail: str
    count: int
    examples: tuple[str, ...] = ()


class OverlapAnswer(GatewayAnswer):
    """An open upload that some of the files belong to already; `upload` is empty where it is somebody else's."""

    upload: str | None = None
    mine: bool = False
    files: int


class DestinationAnswer(GatewayAnswer):
    """What the storage holds already where the files would go."""

    exists: bool
    objects: int = 0
    bytes: int = 0
    partial: bool = False


class ConflictsAnswer(GatewayAnswer):
    """Files that would meet an object of the same name that is not ours."""

    differing: int = 0
    first: tuple[str, ...] = ()
    same_size: int = 0
    partial: bool = False


class PreviewAnswer(GatewayAnswer):
    """What an upload would take and meet."""

    path: str
    remote: str
    location: str
    files: int
    bytes: int
    left_out: tuple[LeftOutAnswer, ...] = ()
    settling: int = 0
    together_with: tuple[OverlapAnswer, ...] = ()
    partial: bool = False
    trouble: str = ""
    destination: DestinationAnswer | None = None
    destination_trouble: str = ""
    conflicts: ConflictsAnswer | None = None
    continues: tuple[str, ...] = ()
    alike: str = ""
    seconds: float | None = None
