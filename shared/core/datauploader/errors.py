"""The exceptions that cross module borders, in one tree.

DataUploaderError
├── ConfigurationError      a setting is missing, wrong or contradicts another
├── ContractError
│   ├── Undecodable         a message body is no event that we understand
│   ├── UnknownEvent        a well-formed event of a type or version that is not in the registry
│   └── Misdirected         an event that came under another topic than its own: somebody speaks for another
├── MessagingError
│   ├── BrokerUnreachable   the broker is away; it is worth waiting for it
│   ├── BrokerRefused       the broker answered and said no; waiting does not help
│   ├── Unroutable          nobody who must hear the event is there to hear it
│   ├── NoAnswer            a question was not answered before its deadline
│   └── QuestionRefused     a question was answered with an error
├── GatewayError            what the command line asked of the gateway did not happen; `hint` says what to do
│   ├── GatewayUnreachable  the gateway, or what it needs for the answer, is away
│   ├── SignInNeeded        no token, or one that is expired or revoked
│   ├── NotAllowed          the gateway or the catalogue says no to this person
│   ├── BadRequest          the request names something that does not exist or cannot be
│   └── Refused             any other no: the upload is over, too many attempts, an error over there
│       └── NotFound        there is no such thing, or it is not this person's to see
├── Verdict
│   ├── Park                the handler cannot ever deal with this message
│   └── Retry               the handler wants the message again later
└── StateError
    ├── StateUnavailable    a state file cannot be opened or written
    │   └── StateInUse      another process of the same service holds the state folder
    └── StateFromTheFuture  a state file was written by a newer release
"""

from datetime import timedelta


class DataUploaderError(Exception):
    """Root of everything that DataUploader raises on purpose."""


class ConfigurationError(DataUploaderError):
    """A setting is missing, wrong, or contradicts another one; the message names it and says what to write."""


class ContractError(DataUploaderError):
    """A message does not keep its contract."""


class Undecodable(ContractError):
    """The body is not an event that this release can read."""


class UnknownEvent(ContractError):
    """The envelope is sound, but its type or version is not in the registry."""


class Misdirected(ContractError):
    """The event came in a way that its sender had no right to."""


class MessagingError(DataUploaderError):
    """The broker could not do what was asked of it."""


class BrokerUnreachable(MessagingError):
    """The broker is away; the work is kept and goes on when it is back."""


class BrokerRefused(MessagingError):
    """The broker is there and says no (credentials, permissions, a contradicting topology)."""


class Unroutable(MessagingError):
    """No queue that must receive this event exists."""


class NoAnswer(MessagingError):
    """A question had no answer before its deadline."""


class QuestionRefused(MessagingError):
    """The one who was asked answered with an error, which the message carries."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GatewayError(DataUploaderError):
    """The gateway did not do what was asked of it."""

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.hint = hint


class GatewayUnreachable(GatewayError):
    """The gateway, or a part that it needs for the answer, does not answer."""


class SignInNeeded(GatewayError):
    """There is no token, or the gateway does not accept it any more."""


class PermissionDenied(GatewayError):
    """This person may not do this."""


class BadRequest(GatewayError):
    """The request is wrong: an unknown name, a bad path, a value out of range."""


class RequestRefused(GatewayError):
    """The gateway says no for another reason, which the message gives."""


class UploadNotFound(RequestRefused):
    """There is no such upload, or it is somebody else's."""


class Verdict(DataUploaderError):
    """How a handler says that a delivery did not end well."""


class Park(Verdict):
    """Set this message aside for a person, with the reason."""


class Retry(Verdict):
    """Deliver this message again after a while; attempts are counted and then parked."""

    def __init__(self, reason: str, after: timedelta = timedelta(seconds=10)) -> None:
        super().__init__(reason)
        self.after = after


class BackupError(DataUploaderError):
    """A backup cannot be written or restored; the sentence says why and what to do."""


class StateError(DataUploaderError):
    """A service's own state file cannot be used as it is."""


class StateUnavailable(StateError):
    """The state file cannot be opened or written; nothing is wrong with what it holds."""


class StateInUse(StateUnavailable):
    """Another process of the same service holds the state folder."""


class StateFromTheFuture(StateError):
    """The state file has a schema that this release does not know."""
