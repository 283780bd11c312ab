"""How to make a thing exist exactly once in a system that others write to, and whose answers get lost."""

from collections.abc import Callable
from typing import TypeVar

from datauploader.plugins.catalogue.errors import BadAnswer

Thing = TypeVar("Thing")


def ensure(find: Callable[[], Thing | None], create: Callable[[], Thing | None]) -> Thing:
    """Return what `find` finds, or what `create` makes when the catalogue says that it is absent.

    `find` returns None only when the catalogue said "absent"; not knowing is an error that it raises.
    `create` returns None when the catalogue said that somebody else had been quicker.
    """
    thing = find() or create() or find()
    if thing is None:
        raise BadAnswer(
            "The catalogue says of the same thing that it exists and that it does not; nothing more was "
            "created. It is tried again; if this continues, ask the catalogue's operators."
        )
    return thing
