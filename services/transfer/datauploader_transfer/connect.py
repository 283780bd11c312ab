"""Builds the mover that the configuration asks for."""

from datauploader.runtime.config import Settings
from datauploader_transfer.domain.remotes import parse_remotes
from datauploader_transfer.ports import Mover
from datauploader_transfer.rclone.mover import RcloneMover, RcloneSettings
from datauploader_transfer.rclone.source_file import raise_limit
from datauploader_transfer.settings import TransferSettings


def connect(common: Settings, settings: TransferSettings) -> Mover:
    """Start rclone with the configured remotes.

    Raises:
        TransferError: a remote's definition cannot be used, or rclone is missing or too old.
    """
    raise_limit()
    remotes = parse_remotes(common.remotes)
    rclone = RcloneSettings(
        binary=settings.rclone, copies=common.state_dir, bytes_per_s=settings.bandwidth_bytes_per_s
    )  # fmt: skip
    return RcloneMover(remotes, rclone)
