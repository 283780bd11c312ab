"""Who may do what in the double: ICAT's rules, reduced to letters of CRUD by user and entity."""

from collections.abc import Mapping

ALL = "*"


class Rules:
    """Says what a user may: the letters of the entity, or those of `*` where it has none."""

    def __init__(self, letters: Mapping[str, Mapping[str, str]]) -> None:
        self.letters = {user: dict(entities) for user, entities in letters.items()}

    def allow(self, user: str, action: str, entity: str) -> bool:
        """Tell whether this user may create (C), read (R), update (U) or delete (D) rows of this entity."""
        entities = self.letters.get(user, {})
        return action in entities.get(entity, entities.get(ALL, ""))
