"""Where an object may be written: below the base of its remote and nowhere else."""

from datauploader.contracts.names import same_look
from datauploader_transfer.errors import BadTarget

__all__ = ["checked_target", "place"]


def checked_target(target: str) -> str:
    """Return the target unchanged when it is a plain relative path.

    Raises:
        BadTarget: it is empty, absolute, has an empty, '.' or '..' part, or holds a NUL.
    """
    if not target or "\x00" in target:
        raise BadTarget(f"{target!r} is no object path: it is empty or holds a NUL. Name the file it stands for.")
    if any(part in {"", ".", ".."} for part in target.split("/")):
        raise BadTarget(
            f"{target!r} would not stay below the remote's base. Give a relative path without '.', '..' or empty parts."
        )
    return target


def place(target: str) -> str:
    """Return what two targets share that some storages take for one: no case, one Unicode form."""
    return same_look(target)
