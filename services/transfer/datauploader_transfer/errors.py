"""The exceptions of the transfer service, one tree.

TransferError
├── BadRemote          a remote's definition cannot be used
├── BadTarget          an object path would leave the remote's base
├── RcloneMissing      there is no rclone binary to run
├── RcloneTooOld       the binary has known holes
├── RcloneGone         the rclone process died or does not answer
└── RcloneRefused      rclone answered with an error
"""

__all__ = [
    "BadRemote",
    "BadTarget",
    "RcloneGone",
    "RcloneMissing",
    "RcloneRefused",
    "RcloneTooOld",
    "TransferError",
]


class TransferError(Exception):
    """Stand above everything that the transfer service raises on purpose."""


class BadRemote(TransferError):
    """Say what is wrong with the definition of a remote."""


class BadTarget(TransferError):
    """Say why an object path is refused."""


class RcloneMissing(TransferError):
    """Say where rclone was looked for and how to get it."""


class RcloneTooOld(TransferError):
    """Say which version was found and which is needed."""


class RcloneGone(TransferError):
    """Say that rclone did not live to answer; the destination holds the truth."""


class RcloneRefused(TransferError):
    """Carry rclone's own error text."""
