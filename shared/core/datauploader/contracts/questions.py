"""What may be asked over the broker, by whom it is answered, and what the answer looks like."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import Field

from datauploader.contracts.files import MOST_FILES, StoredFile
from datauploader.contracts.model import Nanoseconds, Question, Sentence, UploadId, WireModel, Word
from datauploader.contracts.moves import BeginMoves, EndMoves, Lent, Moves, RenewMoves, TakeMoves
from datauploader.contracts.names import Location, Name, RelativePath
from datauploader.contracts.previews import DestinationContent, FoundValues, HeldObject, Preview
from datauploader.contracts.uploads import UploadRequested


class Identity(WireModel):
    """A person as the catalogue knows them."""

    user_id: str
    name: str = ""
    unix_user: str = ""


class SignInAtCatalogue(Question):
    """Ask the catalogue who signs in there with this name and password."""

    name: ClassVar[str] = "catalog.sign-in"
    username: str = Field(max_length=200)
    password: str = Field(repr=False, max_length=1024)


class WhoIs(Question):
    """Ask the catalogue whose session this is."""

    name: ClassVar[str] = "catalog.who-is"
    session: str = Field(repr=False)


class MayUpload(Question):
    """Ask the catalogue whether this user may upload to this investigation."""

    name: ClassVar[str] = "catalog.may-upload"
    user_id: str
    investigation: str


class UploadRight(WireModel):
    """The catalogue's answer, with its own words where it says no."""

    allowed: bool
    detail: str = ""
    base_dir: str = ""
    """Where the investigation's data belong on the facility's storage, relative; "" where the catalogue has no view."""
    title: str = ""


class ListInvestigations(Question):
    """Ask the catalogue for the investigations of this user, closed ones as well."""

    name: ClassVar[str] = "catalog.investigations"
    user_id: str
    text: str = Field(default="", max_length=200)
    """Only those in which every word of this stands somewhere."""
    most: int = Field(default=1000, ge=1, le=1000)
    """How many at most; those of today come first, then open ones, then the latest."""


class InvestigationSummary(WireModel):
    """One line of the list that a user chooses from; what the catalogue does not tell is empty."""

    id: str
    title: str = ""
    name: str = ""
    visit: str = ""
    base_dir: str = ""
    open: bool = True
    reason: str = ""
    """Why nothing can be uploaded to it, where it is closed."""
    beamline: str = ""
    """The beamline or instrument, in the catalogue's own spelling."""
    start: date | None = None
    end: date | None = None
    """The last day, itself included."""
    principal_investigator: str = ""
    description: str = ""


class Investigations(WireModel):
    """The investigations of one user, and whether they may be made here."""

    items: tuple[InvestigationSummary, ...] = ()
    total: int = 0
    """How many there are, also where `most` has left some out."""
    may_create: bool = False
    create_refusal: Sentence = ""
    """Why none can be made, where that is so."""


class CreateInvestigation(Question):
    """Ask the catalogue to make an investigation for this user; the same name and visit again give the same one."""

    name: ClassVar[str] = "catalog.create-investigation"
    user_id: str = Field(min_length=1, max_length=200)
    investigation: Name
    """Its name: a proposal number at most facilities."""
    visit: str = Field(default="1", min_length=1, max_length=60)
    title: str = Field(min_length=1, max_length=500)
    beamline: str = Field(default="", max_length=60)
    start: date | None = None
    end: date | None = None


class HowIsTheCatalog(Question):
    """Ask the catalog what keeps it from its work, and what has waited too long for the catalogue."""

    name: ClassVar[str] = "catalog.condition"


class CatalogueAbout(WireModel):
    """What people call a catalogue and its investigations, and how they sign in with it."""

    system: str = "VUO"
    investigation: str = "investigation"
    """Its own word for one, such as `proposal`."""
    session: str = "VUO session"
    """What people know a session of it by; "" where they have none that could be given to us."""
    session_help: str = (
        "The value of the cookie vuo_session that the Virtual Unified Office (VUO) sets in your browser."
    )
    """Where they find it."""
    password: bool = False
    """Whether they can sign in with their name and password of it."""


class CatalogCondition(WireModel):
    """Which catalogue it is, and sentences; none where all is well."""

    about: CatalogueAbout = CatalogueAbout()

    troubles: tuple[Sentence, ...] = ()
    """What concerns all uploads."""
    waiting: tuple[Sentence, ...] = ()
    """Why some uploads and descriptions have waited longer than they should."""


class ListDatafiles(Question):
    """Ask the catalog which versions it has of an upload of the station that asks."""

    name: ClassVar[str] = "catalog.datafiles"
    upload_id: UploadId
    after: str = Field(default="", max_length=8192)
    """`next` of the page before; "" begins."""
    limit: int = Field(default=MOST_FILES, ge=1, le=MOST_FILES)


class KnownDatafile(WireModel):
    """A version that is on the storage, and whether the catalogue has it as a datafile."""

    stored: StoredFile
    registered: bool


class Datafiles(WireModel):
    """Some of the versions that the catalog has of an upload, the newest of each path, in order of the paths' bytes."""

    items: tuple[KnownDatafile, ...] = ()
    next: str = ""
    """Asks for the page after this one; "" where there is none."""
    ensured: bool = False
    """The upload may write its dataset: what `dataset.ensured` has said, to whom has forgotten it."""
    complete: bool = False
    """Its dataset is complete, so that nothing is added to it any more."""
    asked: bool = True
    """Whether the catalog has heard the request of the upload."""
    sealed: int | None = None
    """The order of the latest seal that the catalog has heard: the next one must be greater to count."""


class LookAtDataset(Question):
    """Ask the catalog whether this user can begin an upload that becomes this dataset."""

    name: ClassVar[str] = "catalog.look-at-dataset"
    investigation: str = Field(min_length=1, max_length=200)
    dataset: Name
    user_id: str = Field(min_length=1, max_length=200)


class DatasetHolder(WireModel):
    """The upload that a dataset belongs to now."""

    upload_id: UploadId
    person: str
    """Identifier of who asked for it."""
    station: str
    state: str
    """`open`, `unknown` (open or cancelled), `cancelled`, `complete`, `refused` or `rejected`."""


class DatasetState(WireModel):
    """What stands in the way of an upload that becomes this dataset, and the ways out."""

    free: bool
    """Nothing stands in the way: nobody has this dataset."""
    reason: str = Field(default="", pattern=r"^([a-z-]{2,40})?$")
    """Why it is not free: `dataset-complete`, `dataset-in-use` (somebody else's), `dataset-open` and
    `dataset-continues` (both one's own; the first is still at work)."""
    detail: Sentence = ""
    exists: bool = False
    """The catalogue has a dataset of this name."""
    complete: bool = False
    dataset_id: str = ""
    url: str = ""
    held_by: DatasetHolder | None = None
    may_continue: tuple[UploadId, ...] = ()
    """The user's own earlier uploads of this dataset, for `UploadRequested.continues`."""
    suggestion: str = ""
    """A free name like the one that was asked about, where that one is not free."""
    alike: str = ""
    """Another dataset of the investigation that people may take for this one: the case or the way of writing an accent
    alone is different."""


class LastHeard(Question):
    """Ask the gateway how far it has heard a service of the station that asks, apart from its present run."""

    name: ClassVar[str] = "gateway.last-heard"
    service: Word
    state: Word
    """See `Mark.state`."""
    run: Word
    """The run that asks; what is heard of it says nothing about its past."""


class Heard(WireModel):
    """How far a state file had come in the runs before; a file that is not so far is older than that."""

    number: int = Field(default=0, ge=0)
    """The highest `Mark.number` of the file's other runs; 0 where nothing was heard of them."""
    facility: str = ""
    """Names the gateway's own state and run: another one than the last time may have forgotten what is open."""


class RememberUpload(Question):
    """Tell the gateway the request of an open upload of the station that asks, in case it has forgotten it."""

    name: ClassVar[str] = "gateway.remember-upload"
    event: str = Field(max_length=900_000)
    """The `upload.requested` as the station heard it, or said it for a rule: a CloudEvent in JSON."""
    paused: bool = False
    """It is held back at the station, so the gateway has to show it so."""
    over: bool = False
    """It is over at the station: nothing is said again for it, but one that the gateway holds open must end."""
    catalog_lacks: bool = False
    """The catalog has not heard of it: the request is said again even where the gateway knows it."""


class Remembered(WireModel):
    """What the gateway knows of the upload."""

    knew: Literal["open", "over", "nothing"]
    """`nothing`: the request is said again, and the station must say again what it has said of the upload."""


class ListFolder(Question):
    """Ask a station's watcher what lies in a folder below one of its roots."""

    name: ClassVar[str] = "watcher.list-folder"
    path: str
    """Absolute path on the station; "" asks for the roots."""
    offset: int = Field(default=0, ge=0)
    limit: int = Field(default=1000, ge=1, le=5000)
    contains: str = Field(default="", max_length=255)
    """Only names that hold this text, in whatever case."""
    counts: bool = False
    """Say of each folder how many entries it has, where that is quickly known."""


class FolderEntry(WireModel):
    """One entry of a folder."""

    name: str
    kind: Literal["file", "folder", "link", "special"]
    size: int = 0
    mtime_ns: Nanoseconds = 0
    entries: int | None = None
    """How many entries a folder has itself; None where that was not asked or would have taken long."""


class Folder(WireModel):
    """What lies in a folder, folders first, in order of their names."""

    path: str
    entries: tuple[FolderEntry, ...] = ()
    total: int = 0
    """How many there are, page after page."""
    readable: bool = True
    detail: str = ""


class PreviewUpload(Question):
    """Ask a station's watcher what an upload would find; nothing is begun."""

    name: ClassVar[str] = "watcher.preview"
    request: UploadRequested
    """As it would be said; its `upload_id` is never used."""
    most_entries: int = Field(default=200_000, ge=1, le=1_000_000)
    within_s: float = Field(default=3.0, gt=0, le=20)
    """After so many entries or seconds the answer is partial."""
    held: tuple[HeldObject, ...] = Field(default=(), max_length=MOST_FILES)
    """What the storage holds where the files would go, to be told which of them meet one of these."""


class ReadValues(Question):
    """Ask a station's watcher what some files of an upload say about themselves."""

    name: ClassVar[str] = "watcher.read-values"
    request: UploadRequested
    """The files are those that it would upload and that rest."""
    most_files: int = Field(default=3, ge=1, le=20)
    within_s: float = Field(default=3.0, gt=0, le=20)


class LookAtDestination(Question):
    """Ask transfer what the storage holds already at a location."""

    name: ClassVar[str] = "transfer.look-at-destination"
    remote: Word
    location: Location
    continues: tuple[UploadId, ...] = Field(default=(), max_length=50)
    """See `UploadRequested.continues`: what these have written there counts as one's own."""
    most: int = Field(default=10_000, ge=1, le=100_000)
    """Objects."""
    within_s: float = Field(default=3.0, gt=0, le=20)


class HashStored(Question):
    """Ask transfer to hash an object on the storage again, from its stored bytes."""

    name: ClassVar[str] = "transfer.hash-stored"
    remote: Word
    object: RelativePath
    """As in `StoredFile.object`."""
    algorithms: tuple[str, ...] = ("sha256", "md5", "sha1")


class StoredHash(WireModel):
    """What the storage holds now; `found` False means that the storage was asked and has no such object."""

    found: bool
    digests: dict[str, str] = Field(default_factory=dict)
    size: int = 0


QUESTIONS: dict[type[Question], type[WireModel]] = {
    WhoIs: Identity,
    SignInAtCatalogue: Identity,
    MayUpload: UploadRight,
    ListInvestigations: Investigations,
    CreateInvestigation: InvestigationSummary,
    HowIsTheCatalog: CatalogCondition,
    ListDatafiles: Datafiles,
    LookAtDataset: DatasetState,
    LastHeard: Heard,
    RememberUpload: Remembered,
    ListFolder: Folder,
    PreviewUpload: Preview,
    ReadValues: FoundValues,
    LookAtDestination: DestinationContent,
    HashStored: StoredHash,
    TakeMoves: Moves,
    BeginMoves: Lent,
    RenewMoves: Lent,
    EndMoves: Lent,
}
