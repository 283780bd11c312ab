"""Whether an upload can become the dataset that it names, before anything is begun; the catalog has the last word."""

from datauploader.contracts.model import UploadId
from datauploader.contracts.questions import DatasetState
from datauploader_gateway.auth.person import User
from datauploader_gateway.errors import DatasetComplete, DatasetContinues, DatasetInUse, DatasetOpen, DatasetTaken
from datauploader_gateway.http.parts import Parts

_TAKEN: dict[str, type[DatasetTaken]] = {
    problem.word: problem for problem in (DatasetComplete, DatasetInUse, DatasetOpen, DatasetContinues)
}


async def to_continue(
    investigation: str, dataset: str, user: User, parts: Parts, *, go_on: bool
) -> tuple[UploadId, ...]:  # fmt: skip
    """Ask whose the dataset is; return the earlier uploads that this one goes on with, none for a free name.

    Raises:
        DatasetTaken: it is complete, somebody else's, one's own at work, or one's own and it was not said to `go_on`.
        CatalogueAway: there was no answer.
    """
    found = await parts.questions.dataset(user.id, investigation, dataset)
    if found.free:
        return ()
    reason = "dataset-open" if await _is_at_work(found, parts) else found.reason
    if reason == DatasetContinues.word and go_on:
        return found.may_continue
    mine = found.held_by is not None and found.held_by.person == user.id
    upload = found.held_by.upload_id if found.held_by is not None and mine else ""
    raise _TAKEN.get(reason, DatasetInUse)(found.detail, suggestion=found.suggestion, upload=upload)


async def _is_at_work(found: DatasetState, parts: Parts) -> bool:
    """Tell whether an upload of an earlier release, of which the catalog does not know it, may still write."""
    if found.held_by is None or found.held_by.state != "unknown":
        return False
    upload = await parts.reader.upload(found.held_by.upload_id)
    return upload is not None and not upload.over
