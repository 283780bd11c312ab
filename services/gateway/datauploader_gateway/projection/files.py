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
    path, facts = known.path, known.facts
    reason, detail, hint = _failure(known)
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
        metadata_problem=known.remarks.metadata(facts) if known.remarks else "",
    )


def _failure(known: KnownFile) -> tuple[str, str, str]:
    """Return why a file has failed, in a word and in sentences; nothing where it has not."""
    facts, word, remarks = known.facts, known.failure, known.remarks
    if facts.state not in FAILING:
        return "", "", ""
    if remarks is not None and remarks.order == facts.order and (refused := remarks.refused) is not None:
        return "catalogue-refuses", refused[2], refused[3]
    if word is not None and word.order == facts.order:
        return word.reason, word.detail, word.hint
    return "", "", ""
