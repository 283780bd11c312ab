"""The problems that the gateway answers with, in one tree; each is one `type` of RFC 9457.

DataUploaderError
├── AnotherServes                                  keeps this gateway from serving
├── Forged                                         told to the log alone
├── ManifestChanged                                breaks an answer off
└── Problem
    ├── NotSignedIn, WrongCredentials, SignInFailed 401
    ├── NotAllowed, ForeignOrigin                  403
    │   └── ParkedOutOfReach, LinkUsed
    ├── NotFound                                   404
    ├── UploadOver, NotComplete, NothingToCompare  409
    ├── IdempotencyKeyReused, AlreadySetUp         409
    ├── TooManyTokens                              409
    ├── InvestigationExists, ChangedMeanwhile      409
    ├── DatasetTaken                               409
    │   └── DatasetComplete, DatasetInUse, DatasetOpen, DatasetContinues
    ├── TooLarge                                   413
    ├── InvalidRequest                             422
    │   └── UnknownInvestigation, UnknownRemote, UnknownStation, BadName, BadPath, StationRefuses
    ├── TooManyAttempts, TooManyStreams            429
    ├── SessionsAway (SessionsFull), CatalogueAway, ProviderAway, StationBusy, BrokerAway  503
    └── StationSilent                              504
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from datauploader.errors import DataUploaderError

TYPES = "https://datauploader.ceric.eu/problems/"


class Problem(DataUploaderError):
    """Something that the caller is told: what happened (`detail`) and what to do (`hint`)."""

    status: ClassVar[int]
    word: ClassVar[str]
    title: ClassVar[str]
    hint: str = ""

    def __init__(self, detail: str, *, hint: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = self.hint if hint is None else hint
        self.retry_after_s = retry_after_s

    @property
    def more(self) -> Mapping[str, str]:
        """What the answer says beside that, by the names of its fields."""
        return {}


class AnotherServes(DataUploaderError):
    """Another gateway serves; this one stands by."""


class Forged(DataUploaderError):
    """A token is not genuine, not for us, or not of now; the caller is told no more than that."""


class ManifestChanged(DataUploaderError):
    """Files changed while their manifest was being sent: the answer breaks off, or it would say what is not so."""


class NotSignedIn(Problem):
    """No session or token, or one that is over."""

    status, word, title = 401, "not-signed-in", "Not signed in"
    hint = "Sign in again."


class WrongCredentials(Problem):
    """The name and the password do not belong together, or the VUO does not know the session."""

    status, word, title = 401, "wrong-credentials", "Wrong credentials"
    hint = "Check the name and the password; both distinguish upper and lower case."


class SignInFailed(Problem):
    """The identity provider did not vouch for anybody, or not for this browser."""

    status, word, title = 401, "sign-in-failed", "Sign-in failed"
    hint = "Sign in again from the gateway's own page."


class NotAllowed(Problem):
    """The catalogue or the role says no."""

    status, word, title = 403, "not-allowed", "Not allowed"


class ParkedOutOfReach(NotAllowed):
    """The gateway's own account at the broker may not read parked messages, and no other is configured."""

    word, title = "parked-out-of-reach", "Parked messages cannot be read"
    hint = "Set gateway.operations_broker to an operator's account at the broker, or use: datauploader parked"


class LinkUsed(NotAllowed):
    """A link to the desktop's page is good for one opening."""

    word, title = "link-used", "Link not valid"
    hint = "Run datauploader desktop again: it shows a new link."


class ForeignOrigin(Problem):
    """A browser sent this from another site's page."""

    status, word, title = 403, "foreign-origin", "Request from another site"
    hint = "Open the gateway's own page. Behind a proxy, gateway.public_url must be the address that browsers use."


class NotFound(Problem):
    """There is no such thing, or not for this person."""

    status, word, title = 404, "not-found", "Not found"


class UploadOver(Problem):
    """The upload has ended."""

    status, word, title = 409, "upload-over", "The upload has ended"
    hint = "Start a new upload for more files."


class NothingToCompare(Problem):
    """Nothing of the upload can be on the storage."""

    status, word, title = 409, "nothing-to-compare", "Nothing to compare"
    hint = "Wait until the station has started the upload."


class NotComplete(Problem):
    """There is no manifest of what is not known to be complete."""

    status, word, title = 409, "not-complete", "Not complete"
    hint = "The receipt in JSON, and the page, say what is proven so far and what is missing."


class IdempotencyKeyReused(Problem):
    """The key was used for something else."""

    status, word, title = 409, "idempotency-key-reused", "Idempotency key used twice"
    hint = "Use a new key for a new request."


class AlreadySetUp(Problem):
    """The questions of the first start were answered."""

    status, word, title = 409, "already-set-up", "Already set up"
    hint = "Edit that file and start again, or remove it to repeat the setup."


class InvestigationExists(Problem):
    """The name and visit belong to another investigation."""

    status, word, title = 409, "investigation-exists", "The investigation exists already"
    hint = "Choose another name or visit, or ask the user office to add you to it."


class DatasetTaken(Problem):
    """The name belongs to a dataset that this upload may not become."""

    status = 409

    def __init__(self, detail: str, *, suggestion: str = "", upload: str = "") -> None:
        super().__init__(detail, hint=self.hint.format(name=f", such as “{suggestion}”" if suggestion else ""))
        self.suggestion, self.upload = suggestion, upload

    @property
    def more(self) -> Mapping[str, str]:
        """A name that is free, and the caller's own upload that has this one."""
        return {"suggestion": self.suggestion, "upload": self.upload}


class DatasetComplete(DatasetTaken):
    """Nothing more is written into it."""

    word, title = "dataset-complete", "The dataset is complete"
    hint = "Choose another dataset name{name}."


class DatasetInUse(DatasetTaken):
    """Somebody else fills it."""

    word, title = "dataset-in-use", "The dataset belongs to another person"
    hint = "Choose another dataset name{name}."


class DatasetOpen(DatasetTaken):
    """An upload of one's own is at work on it."""

    word, title = "dataset-open", "Your upload of this dataset is still open"
    hint = (
        "While it is open, it uploads new files automatically. Otherwise cancel it first, or choose "
        "another dataset name{name}."
    )


class DatasetContinues(DatasetTaken):
    """An upload of one's own has begun it and is at work no more."""

    word, title = "dataset-continues", "You already started this dataset"
    hint = "Continue this dataset, or choose another dataset name{name}."


class TooManyTokens(Problem):
    """Nobody needs so many."""

    status, word, title = 409, "too-many-tokens", "Too many tokens"
    hint = "Revoke tokens that you no longer use: GET /api/v1/tokens lists them, DELETE /api/v1/tokens/ID ends one."


class ChangedMeanwhile(Problem):
    """What was to be corrected is no more what it was."""

    status, word, title = 409, "changed-meanwhile", "Changed by someone else"
    hint = "Open it again, and edit the current text."


class TooLarge(Problem):
    """The body is larger than any request needs."""

    status, word, title = 413, "too-large", "Request too large"


class InvalidRequest(Problem):
    """A field is not what it should be."""

    status, word, title = 422, "invalid-request", "Invalid request"


class UnknownInvestigation(InvalidRequest):
    """The catalogue has no such investigation."""

    word, title = "unknown-investigation", "Unknown investigation"
    hint = "GET /api/v1/investigations lists the ones that you may upload to."


class UnknownRemote(InvalidRequest):
    """No remote of this name is configured."""

    word, title = "unknown-remote", "Unknown remote"
    hint = "Choose one of them."


class UnknownStation(InvalidRequest):
    """No station of this name is configured or has ever reported."""

    word, title = "unknown-station", "Unknown station"
    hint = "GET /api/v1/stations lists the known ones; a new one must be added to the configuration (stations)."


class BadName(InvalidRequest):
    """A dataset or an investigation with a name that some storage could not hold."""

    word, title = "bad-name", "Name not usable"
    hint = "Choose another name."


class BadPath(InvalidRequest):
    """The path is no absolute path of a station."""

    word, title = "bad-path", "Path not usable"
    hint = "Enter the absolute path on the station, such as /data/scan1 or C:\\data\\scan1."


class StationRefuses(InvalidRequest):
    """The station would reject the upload, in its own words."""

    word, title = "station-refuses", "The station cannot do this upload"


class TooManyAttempts(Problem):
    """Too many wrong passwords."""

    status, word, title = 429, "too-many-attempts", "Too many attempts"
    hint = "Wait, then try again."


class GroupBusy(Problem):
    """A group of parked messages is being settled already."""

    status, word, title = 409, "group-busy", "Another group is being settled"
    hint = "Wait until it is done: the list of parked messages shows how far it is."


class TooManyStreams(Problem):
    """One person watches as much as many people would."""

    status, word, title = 429, "too-many-streams", "Too many open pages"
    hint = "Close pages that you do not need."


class SessionsAway(Problem):
    """Redis is away."""

    status, word, title = 503, "sessions-away", "Sign-in and status are not available"
    hint = (
        "Running uploads continue. Try again in a moment; operators with a local account find details at "
        "/operations/direct."
    )


class SessionsFull(SessionsAway):
    """Redis takes nothing more."""

    hint = (
        "Running uploads continue. Tell an operator: raise maxmemory of Redis, or lower "
        "gateway.kept_days; then try again."
    )


class CatalogueAway(Problem):
    """The catalogue did not answer."""

    status, word, title = 503, "catalogue-away", "The catalogue does not answer"
    hint = "Nothing was changed. Try again in a moment."


class ProviderAway(Problem):
    """The identity provider did not answer, or not as one."""

    status, word, title = 503, "provider-away", "The identity provider does not answer"
    hint = "People who are signed in stay signed in. Try again in a moment."


class StationBusy(Problem):
    """The station counts for others."""

    status, word, title = 503, "station-busy", "The station is busy"
    hint = "Uploads continue. Try again in a few seconds."


class BrokerAway(Problem):
    """The broker did not answer an operator's question."""

    status, word, title = 503, "broker-away", "The broker does not answer"
    hint = "Uploads continue. Check the broker, then try again."


class StationSilent(Problem):
    """The watcher of a station did not answer."""

    status, word, title = 504, "station-silent", "The station does not answer"
    hint = "Check that the station is switched on and that its watcher is running."


@dataclass(frozen=True, slots=True)
class ProblemResponse:
    """A problem as a response tells it: what happened, what to do, and what the answer's headers say."""

    word: str
    title: str
    status: int
    detail: str
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[Mapping[str, str]] = ()
    """What is wrong with which field."""
    more: Mapping[str, str] = field(default_factory=dict)
    """See `Problem.more`."""

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Tell a problem."""
        headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}  # noqa: PLR2004 - Unauthorized
        if problem.retry_after_s is not None:
            headers["Retry-After"] = str(problem.retry_after_s)
        return cls(
            problem.word, problem.title, problem.status, problem.detail, problem.hint, headers, more=problem.more
        )  # fmt: skip
