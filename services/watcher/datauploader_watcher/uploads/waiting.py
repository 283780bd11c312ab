"""What an upload waits for: the catalogue's word before it announces, and what is unfinished once it is closed."""

from dataclasses import dataclass, field, replace

from datauploader.contracts.uploads import RestlessFile
from datauploader_watcher.ledger.choices import RestlessChoice
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


@dataclass(slots=True)
class ClosingState:
    """The state of closing: what keeps a closed upload from being sealed."""

    since: float
    """When it was closed, or taken up closing (monotonic)."""
    choices: dict[bytes, RestlessChoice] = field(default_factory=dict)
    """What somebody has chosen for files that go on changing."""
    held_until: tuple[float, str] | None = None
    """Until when programs may keep it from being sealed (monotonic), and that moment as people read it."""
    taken: set[bytes] = field(default_factory=set)
    """Files that were read for the last time although a program has them open."""
    restless: dict[bytes, RestlessFile] = field(default_factory=dict)
    """Files that go on changing, and for which nothing is chosen."""
    untaken: set[bytes] = field(default_factory=set)
    """Files that were to be taken as they are, and are not only written on at their end."""
    lingering: tuple[str, ...] = ()
    """Sentences about files that keep it from being sealed."""

    def finish_choice(self, path: bytes) -> bool:
        """Take note that what was chosen for a file is done; False where nothing is chosen for it."""
        choice = self.choices.get(path)
        if choice is None:
            return False
        self.choices[path] = replace(choice, done=True)
        self.taken.add(path)
        return True

    def retry_choice(self, path: bytes) -> None:
        """Have a file taken as it is once more, because it has become something else before it was sent."""
        choice = self.choices[path]
        self.choices[path] = replace(choice, done=False, tries=choice.tries + 1)

    def drop_choice(self, path: bytes) -> None:
        """Take note that a file cannot be taken as it is."""
        del self.choices[path]
        self.taken.discard(path)
        self.untaken.add(path)
