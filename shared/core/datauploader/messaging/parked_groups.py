"""Parked messages by queue and reason: when a cause is mended, all of a group are replayed together; pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from datauploader.messaging.port import ParkedMessage

EXAMPLES = 20
"""Messages of each group that are shown."""
_CHANGING = re.compile(r"'[^']*'|\"[^\"]*\"|<[^<>]*>|(?<!\w)/\S+|[0-9a-f]{8,}|\d+", re.IGNORECASE)
"""What differs from message to message of one reason: quoted words, paths, identifiers, numbers."""


def shape(reason: str) -> str:
    """Write a reason without what is peculiar to one message."""
    return _CHANGING.sub("…", reason[:2000])


@dataclass(slots=True)
class ParkedGroup:
    """Messages that one queue's consumer gave up on for the same reason."""

    queue: str
    reason: str
    """That of the oldest one."""
    ids: list[str] = field(default_factory=list)
    """Of all that were read, the oldest first; an id may lie there twice."""
    replayable: int = 0
    examples: list[ParkedMessage] = field(default_factory=list)


def group(messages: Iterable[tuple[str, ParkedMessage]]) -> list[ParkedGroup]:
    """Put messages with the queues that hold them into groups, the largest first."""
    found: dict[tuple[str, str], ParkedGroup] = {}
    for queue, message in sorted(messages, key=lambda each: each[1].time):
        one = found.setdefault((queue, shape(message.reason)), ParkedGroup(queue, message.reason))
        one.ids.append(message.id)
        one.replayable += message.replayable
        if len(one.examples) < EXAMPLES:
            one.examples.append(message)
    return sorted(found.values(), key=lambda one: -len(one.ids))
