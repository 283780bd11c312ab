"""Whether an upload may write its dataset, which the catalogue says, and how long that is waited for."""

from dataclasses import dataclass

from datauploader_watcher.ledger.uploads import UploadRow

HELD_TOLD_S = 2.0
"""After so many seconds people are told that an upload waits for the catalogue."""


@dataclass(slots=True)
class DatasetApproval:
    """An approval that is waited for: the catalogue says whether the upload may write its dataset."""

    begun_at: float
    """When the upload was taken up (monotonic)."""
    patience_s: float
    asked_at: float
    """When the catalog was asked last what it has of the upload (monotonic)."""

    def announces_at(self, upload: UploadRow) -> float | None:
        """Until when nothing is announced, because the catalogue has not let the upload write its dataset.

        None means for as long as it does not: it has said no, or the dataset's name is one that was used before, so
        that something could be replaced. A first upload does not stand still while the catalogue is away: transfer
        lets it write nothing but new objects.
        """
        if upload.agreed == "yes":
            return 0.0
        if upload.agreed == "no" or upload.request.continues or upload.request.without:
            return None
        return self.begun_at + self.patience_s

    def waiting_sentence(self, upload: UploadRow, now: float) -> str:
        """Return the sentence for people while the upload waits for the catalogue's word, "" where it does not."""
        if now - self.begun_at < HELD_TOLD_S or upload.agreed or self.announces_at(upload) is not None:
            return ""
        return (
            f"The catalogue has not confirmed yet that this upload may write {upload.request.dataset.name}; "
            "nothing is sent before that. It continues automatically."
        )

    def ask_again(self, now: float, patience_s: float) -> bool:
        """Tell whether the catalog is to be asked once more, and take note that it is: its word may have been lost."""
        if now - self.asked_at < patience_s:
            return False
        self.asked_at = now
        return True
