"""What a closed upload still waits for, and what people have chosen for files that go on changing."""

from dataclasses import dataclass, field, replace

from datauploader.contracts.uploads import RestlessFile
from datauploader_watcher.ledger.choices import RestlessChoice


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
