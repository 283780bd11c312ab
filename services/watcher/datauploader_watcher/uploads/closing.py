"""What a closed upload still waits for."""

from dataclasses import dataclass, field

from datauploader.contracts.uploads import RestlessFile


@dataclass(slots=True)
class ClosingState:
    """The state of closing: what keeps a closed upload from being sealed."""

    since: float
    """When it was closed, or taken up closing (monotonic)."""
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
