"""Exit codes, so that a script knows what happened without reading."""

from enum import IntEnum

from datauploader.contracts.rest.uploads import Upload
from datauploader.errors import (
    BadRequest,
    BrokerRefused,
    BrokerUnreachable,
    ConfigurationError,
    GatewayUnreachable,
    NoAnswer,
    PermissionDenied,
    SignInNeeded,
)


class Code(IntEnum):
    """What a command's end means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130
    """Ctrl-C, as shells have it."""


_BY_ERROR: dict[type[Exception], Code] = {
    ConfigurationError: Code.USAGE,
    BadRequest: Code.USAGE,
    SignInNeeded: Code.NOT_ALLOWED,
    PermissionDenied: Code.NOT_ALLOWED,
    BrokerRefused: Code.NOT_ALLOWED,
    GatewayUnreachable: Code.UNREACHABLE,
    BrokerUnreachable: Code.UNREACHABLE,
    NoAnswer: Code.UNREACHABLE,
}


def code_for(error: Exception) -> Code:
    """Choose the exit code for an error."""
    return next((code for kind, code in _BY_ERROR.items() if isinstance(error, kind)), Code.FAILED)


def upload_code(upload: Upload) -> Code:
    """Choose the exit code for an upload as it stands; one that still runs has not failed."""
    counts = upload.counts
    ended = upload.over or upload.needs_person
    if not ended or (upload.state == "completed" and not counts.failed.files):
        return Code.DONE
    return Code.PARTLY if counts.stored.files else Code.FAILED
