"""What `datauploader doctor` asks of transfer: is rclone there and new enough, can every remote be written."""

from collections.abc import Iterator

from datauploader.runtime.config import Settings, load
from datauploader.runtime.service import Check
from datauploader_transfer.errors import TransferError
from datauploader_transfer.service import connect
from datauploader_transfer.settings import TransferSettings


def examine(settings: Settings) -> Iterator[Check]:
    """Start rclone, and write a small file to each remote and remove it again."""
    try:
        mover = connect(settings, load(TransferSettings))
    except TransferError as error:
        yield Check("rclone", ok=False, detail=str(error))
        return
    try:
        yield Check("rclone", ok=True)
        if not settings.remotes:
            yield Check("remotes", ok=False, detail="no remote is configured; add a table [remotes.<name>]")
        for remote in sorted(settings.remotes):
            health = mover.probe_remote(remote)
            detail = f"{health.detail} {health.hint}".strip()
            yield Check(f"remote {remote}", ok=health.reachable and health.writable, detail=detail)
    finally:
        mover.close()
