"""What people are told about one file."""

from dataclasses import dataclass

from datauploader.contracts.names import display, pack
from datauploader.contracts.rest.files import File
from datauploader_gateway.projection.facts import FileFacts, FileFailure
from datauploader_gateway.projection.remarks import Remarks

FAILING = ("failed", "retrying")
"""States of a file that say why."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the view holds about one file, as it is."""

    path: bytes
    facts: FileFacts
    failure: FileFailure | None = None
    remarks: Remarks | None = None


def describe(known: KnownFile) -> File:
    """Tell people what is known of a file."""
    path, facts, word, remarks = known.path, known.facts, known.failure, known.remarks
    reason = detail = hint = ""
    if facts.state in FAILING:
        if remarks is not None and remarks.order == facts.order and (refused := remarks.refused) is not None:
            reason, detail, hint = "catalogue-refuses", refused[2], refused[3]
        elif word is not None and word.order == facts.order:
            reason, detail, hint = word.reason, word.detail, word.hint
    return File(
        path=display(path),
        path_b64=pack(path),
        size=facts.size,
        sha256=facts.sha256,
        revision=facts.revision,
        state=facts.state,
        proof=facts.proof,
        released=facts.released,
        reason=reason,
        detail=detail,
        hint=hint,
        metadata_problem=remarks.metadata(facts) if remarks else "",
    )
