"""How each kind of storage is driven, and the measured reason for every departure from rclone's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from datauploader_transfer.domain.remotes import RemoteDefinition

__all__ = ["PREFERRED", "StorageTuning", "tuning_for"]

PREFERRED = ("sha256", "md5", "sha1")
"""Which hash to ask a storage for: the one of record first, then the cheaper of the other two."""


@dataclass(frozen=True, slots=True)
class StorageTuning:
    """Hold the settings for one kind of storage.

    Objects smaller than `read_back_below` bytes are read back although the storage offers a hash,
    because there one round trip costs less than asking. `makes_folders`: folders are made before the
    files, one after the other, because files that all make the same folder at once fail (423 Locked).
    `moves_over`: an object is moved over another one as the storage itself does that, in one step where it can;
    elsewhere rclone deletes the other one first, because some storages refuse, or keep both.
    `lists`: where many objects are to be found, their folder is listed; elsewhere each is asked for, because that costs
    nothing (a local disk), or because another folder means another session (SFTP, SMB).
    """

    in_parallel: int = 8
    options: Mapping[str, str] = field(default_factory=dict)
    read_back_below: int = 0
    makes_folders: bool = False
    moves_over: bool = False
    lists: bool = False


_TUNING = {
    # Raw: rclone's own encoding of local names is not reversible for names that hold its quoting
    # characters. More than four at once gained nothing on two cores.
    "local": StorageTuning(in_parallel=4, options={"encoding": "Raw"}, moves_over=True),
    # The backend sleeps 10 ms between calls by default: 33 ms a file instead of 1.4 ms. Not 0, from
    # which its pauses after a busy answer could not grow.
    "webdav": StorageTuning(options={"pacer_min_sleep": "100us"}, makes_folders=True, moves_over=True, lists=True),
    # no_head, no_check_bucket: 2.5 s became 1.7 s for 2,000 files. Safe, because the object is asked
    # for its hash afterwards. disable_checksum: without it a large object shows an md5 that the client
    # itself had attached, which proves nothing; with it such an object has no hash and is read back.
    # encoding: XML cannot hold control characters, so one such key spoils the listing of its folder.
    "s3": StorageTuning(
        options={
            "no_head": "true",
            "no_check_bucket": "true",
            "disable_checksum": "true",
            "encoding": "Slash,InvalidUtf8,Dot,Ctl,Del",
        },
        moves_over=True,
        lists=True,
    ),
    # A renaming at the server takes the place of the other object (Samba 4.17).
    "smb": StorageTuning(makes_folders=True, moves_over=True),
    # Asking for a hash opens a shell session at the server for every file (tens of milliseconds); a small
    # object is read back in less.
    "sftp": StorageTuning(
        options={"encoding": "Raw"}, read_back_below=8 * 1024**2, makes_folders=True, moves_over=True
    ),
}


def tuning_for(remote: RemoteDefinition) -> StorageTuning:
    """Return the settings for a remote: ours, overruled by what its definition says."""
    tuned = _TUNING.get(remote.type, StorageTuning())
    return StorageTuning(
        in_parallel=remote.in_parallel or tuned.in_parallel,
        options={**tuned.options, **remote.options},
        read_back_below=tuned.read_back_below,
        makes_folders=tuned.makes_folders,
        moves_over=tuned.moves_over,
        lists=tuned.lists,
    )
