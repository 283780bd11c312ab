"""What ICAT's own errors mean: sorted by their code, because several codes share one HTTP status."""

from datauploader.plugins.catalogue.errors import (
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    UnknownTrouble,
    ValueRefused,
)

_SHOWN = 300
_TOO_MANY = "attempt to"
"""How the message begins by which icat.server says that an answer would have more than `maxEntities` rows."""


class SessionLost(CatalogueUnavailable):
    """The session has ended; nothing was done."""


class AlreadyExists(CatalogueRefused):
    """Something with the same key is there; of an array nothing was written, and `offset` says which one it was."""

    def __init__(self, message: str, *, words: str, offset: int) -> None:
        super().__init__(message, words=words)
        self.offset = offset


class NoSuchObject(CatalogueRefused):
    """Something that was named by its id is not there."""


class TooMany(CatalogueRefused):
    """The answer would have more rows than this ICAT gives at once."""


def refusal(code: str, message: str, offset: int) -> CatalogError:
    """Return the error for an answer of ICAT's that is none."""
    words = message if len(message) <= _SHOWN else message[:_SHOWN] + "…"
    found: CatalogError
    match code:
        case "SESSION":  # its message has the session in it
            found = SessionLost("ICAT has ended this service's session; it signs in again.")
        case "INSUFFICIENT_PRIVILEGES":
            found = CatalogueForbids(
                f"ICAT does not allow this: {words!r}. Ask its operators for the rules of docs/catalogues/icat.md.",
                words=words,
            )
        case "OBJECT_ALREADY_EXISTS":
            found = AlreadyExists(f"ICAT has it already: {words!r}.", words=words, offset=offset)
        case "NO_SUCH_OBJECT_FOUND":
            found = NoSuchObject(f"ICAT does not have it: {words!r}; it may have been removed there.", words=words)
        case "VALIDATION" if message.startswith(_TOO_MANY):
            found = TooMany(f"ICAT does not give so much at once: {words!r}.", words=words)
        case "VALIDATION" | "BAD_PARAMETER":
            found = ValueRefused(f"ICAT refuses a value: {words!r}.", words=words)
        case _:
            found = UnknownTrouble(f"ICAT failed with {code}: {words!r}; its own log says why.")
    return found
