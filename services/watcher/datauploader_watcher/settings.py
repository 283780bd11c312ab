"""What an administrator may say about the watcher of a station: the table `[watcher]`."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from datauploader.contracts.uploads import Mode, WhenRestless
from datauploader.files.leftovers import TEMPORARY, all_names
from datauploader.runtime.config import SectionSettings

TEMPORARY_NAMES = all_names(TEMPORARY)
HIDDEN_PREFIX = b".du-release-"
"""Begins the name that a file has for a moment while it is removed; nothing of that name is ever uploaded."""


class RuleSettings(BaseModel):
    """A standing rule: every folder that fits the pattern becomes an upload by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9_-]{1,63}$")
    """Names the rule in messages and in `requested_by`."""
    pattern: str
    """Absolute path with placeholders, `/data/{investigation}/{dataset}/**`; `*` stands for part of one name."""
    remote: str
    """The remote that the files go to."""
    location: str = "{investigation}/{dataset}"
    """Folder below the remote's base, made of the pattern's placeholders."""
    investigation: str = "{investigation}"
    """The investigation's identifier in the catalogue, made of the pattern's placeholders."""
    dataset: str = "{dataset}"
    """The dataset's name, made of the pattern's placeholders."""
    mode: Mode = "sync"
    """`sync` uploads until the dataset is closed, `batch` once."""
    include: tuple[str, ...] = ()
    """Patterns as in .gitignore; empty means everything."""
    exclude: tuple[str, ...] = ()
    """Patterns of what stays on the station."""
    quiet_period_s: float = Field(default=2.0, ge=0, le=86400)
    """How long a file must stay as it is before it counts as finished."""
    marker: str | None = None
    """Pattern of a file whose appearance closes the dataset."""
    idle_close_s: float | None = Field(default=None, gt=0)
    """Close the dataset after so long without any change."""
    when_restless: WhenRestless = "wait"
    """What becomes of a file that a program still writes `restless_after_s` after the close: `wait` until it ends or a
    person decides, `take` it as it is then, or `leave-out`."""
    delete_after: bool = False
    """Remove local copies whose stored copy was hashed again; needs `allow_delete`."""


class WatcherSettings(SectionSettings):
    """The table `[watcher]`; `DATAUPLOADER_WATCHER_…` in the environment."""

    section: ClassVar[str] = "watcher"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_WATCHER_", env_nested_delimiter="__", extra="forbid")

    roots: tuple[Path, ...] = ()
    """Folders that uploads may come from, with everything below; nothing else is ever listed or read."""
    rules: tuple[RuleSettings, ...] = ()
    """Standing rules, `[[watcher.rules]]`."""
    rule_interval_s: float = Field(default=2.0, gt=0)
    """How often the rules look for new folders."""
    reopen_days: float = Field(default=14.0, ge=0)
    """A rule's folder that changes within so many days after its dataset was closed is uploaded again; 0: never."""
    reopen_interval_s: float = Field(default=600.0, gt=0)
    """How often closed folders of rules are compared with what was uploaded."""
    default_exclude: tuple[str, ...] = TEMPORARY_NAMES
    """Names that are not uploaded, whatever their case: temporary ones of editors, browsers and other programs. What
    systems leave (recycle bins, thumbnails, `._*`), and rsync's `.name.XXXXXX`, stays out whatever is written here."""
    poll: bool | None = None
    """True: never trust file-system events; None: poll where the file system is a network one."""
    poll_interval_s: float = Field(default=5.0, gt=0)
    """How often a folder without events is scanned; longer by itself where a scan takes long."""
    scan_interval_s: float = Field(default=60.0, gt=0)
    """How often everything is scanned although events arrive; longer by itself where a scan takes long."""
    closed_quiet_factor: float = Field(default=0.25, ge=0, le=1)
    """Part of the quiet period that is enough once no program has the file open for writing, where the system tells."""
    closed_quiet_least_s: float = Field(default=0.25, ge=0)
    """The least quiet period then."""
    seal_patience_s: float = Field(default=30.0, ge=0)
    """How long a closed upload waits for files that other programs still have open; then they are taken as they are."""
    restless_after_s: float = Field(default=60.0, ge=0)
    """How long a file of a closed upload may go on changing before people are told its name."""
    look_again_s: tuple[float, ...] = (60.0, 600.0)
    """How long after its completion a dataset's folder is looked at again, for what came or changed; []: never."""
    hash_workers: int = Field(default=2, ge=1, le=64)
    """Threads that read and hash."""
    sha1: bool = False
    """Hash SHA-1 as well, for storages that know nothing better."""
    most_settling: int = Field(default=50_000, ge=100)
    """Files that may wait for their quiet period at once; a scan pauses beyond it, which bounds memory."""
    receipt_patience_s: float = Field(default=120.0, gt=0)
    """How long a receipt may take before a version is announced again; doubles up to an hour."""
    catalogue_patience_s: float = Field(default=20.0, ge=0)
    """How long a first upload waits for the catalogue's word that its dataset is its own, before it sends new files
    all the same; one that goes on with another, or that a rule opens again, waits for as long as it takes."""
    report_interval_s: float = Field(default=10.0, gt=0)
    """How often the station says that it is alive."""
    allow_delete: bool = False
    """Whether uploads may ask to remove local copies after their stored copies were hashed again."""
    release_timeout_s: float = Field(default=900.0, gt=0)
    """How long the storage may take to hash one object before a local copy is removed."""
    keep_days: float = Field(default=30.0, gt=0)
    """How long the files of an upload that is over are remembered one by one; longer than `reopen_days`."""
