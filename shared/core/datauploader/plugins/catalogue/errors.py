"""What can go wrong between the catalog service and a catalogue, sorted by what the caller should do about it.

CatalogError
├── CatalogueUnavailable      try again later; nothing is known to have happened
│   ├── NotTrusted            try again once the operator has mended the shared secret
│   └── UnknownTrouble        try again later, but not for ever in silence: it may be about what was said
├── BadAnswer                 try again later; the answer could not be read, the outcome is unknown
├── NotYetThere               try again later; what this builds upon has not been registered yet
└── CatalogueRefused          do not try again; a person has to change something
    ├── ValueRefused          one of the values is refused, whatever else is said with it
    ├── Taken                 the dataset's name belongs to another upload
    ├── CatalogueForbids      this user may not do this here
    ├── UnknownSession        the session is not known; sign in at login_url
    └── NoSuchInvestigation   the catalogue says so itself; silence never counts as this
"""

from typing import ClassVar

from datauploader.errors import DataUploaderError


class CatalogError(DataUploaderError):
    """The root of everything that a catalogue raises; says whether another try can help."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the catalogue asked us to wait, if it did."""


class CatalogueUnavailable(CatalogError):
    """The catalogue did not answer, or answered that it cannot now."""

    retryable = True


class NotTrusted(CatalogueUnavailable):
    """The catalogue does not accept this service's shared secret; all work waits until that is mended."""


class UnknownTrouble(CatalogueUnavailable):
    """The catalogue failed in a way that this release does not know: it may pass, or be a refusal of what was said."""


class BadAnswer(CatalogError):
    """The catalogue answered something that cannot be read, so the outcome is unknown, never "absent"."""

    retryable = True


class NotYetThere(CatalogError):
    """The datafile or dataset that this belongs to is not in the catalogue yet."""

    retryable = True


class CatalogueRefused(CatalogError):
    """The catalogue will never accept this as it stands; `words` is what it said itself."""

    def __init__(self, message: str, *, words: str = "") -> None:
        super().__init__(message)
        self.words = words


class ValueRefused(CatalogueRefused):
    """The catalogue cannot hold one of the values that it was given: too long, out of range, not allowed there."""


class Taken(CatalogueRefused):
    """The dataset is another upload's; `reason` is the word for programs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CatalogueForbids(CatalogueRefused):
    """The catalogue says that this user may not do this with this investigation."""


class UnknownSession(CatalogueRefused):
    """The catalogue does not know this session; `login_url` is where a person signs in, if it said so."""

    def __init__(self, message: str, *, login_url: str | None = None) -> None:
        super().__init__(message)
        self.login_url = login_url


class NoSuchInvestigation(CatalogueRefused):
    """The catalogue says in its own words that it has no such investigation."""
