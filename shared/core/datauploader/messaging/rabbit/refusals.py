"""What pika and the broker say when something fails, turned into our exceptions; none of pika's goes further."""

import ssl

from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from datauploader.errors import BrokerRefused, BrokerUnreachable, MessagingError

NOT_FOUND = 404
FORBIDDEN = 403
CONTRADICTION = 406
_NOT_ALLOWED = 530

PIKA_ERRORS = (AMQPError, AssertionError, ValueError, OSError)
"""What pika raises where it means "not now": its own, and bare ones of states that it did not expect."""


class ChannelRefused(BrokerRefused):
    """The broker closed a channel and said why; `code` is AMQP's reply code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def explain_connection(error: BaseException, *, user: str, place: str) -> MessagingError:
    """Say why there is no connection: BrokerRefused where waiting does not help, BrokerUnreachable otherwise."""
    error = _root(error)
    if isinstance(error, MessagingError):
        return error
    code = error.reply_code if isinstance(error, ConnectionClosedByBroker) else 0
    if code == FORBIDDEN or isinstance(error, (AuthenticationError, ProbableAuthenticationError)):
        return BrokerRefused(
            f"the broker at {place} refuses the user {user!r}: check the user and password in the broker address"
        )
    if code == _NOT_ALLOWED or isinstance(error, ProbableAccessDeniedError):
        return BrokerRefused(
            f"the broker at {place} does not let {user!r} in: the virtual host does not exist, or the user has no "
            "rights in it"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(
            f"the certificate of the broker at {place} is not trusted: {error.verify_message}; "
            "add ?cafile=… to the broker address if your facility signs its own"
        )
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return BrokerUnreachable(f"the broker at {place} cannot be reached ({reason[:300]}); trying again")


def explain_channel(error: BaseException, what: str) -> MessagingError:
    """Say why a step on a channel failed."""
    if isinstance(error, MessagingError):
        return error
    if isinstance(error, ChannelClosedByBroker):
        return ChannelRefused(error.reply_code, f"the broker refused to {what}: {error.reply_text}")
    return BrokerUnreachable(f"the connection to the broker was lost while it was to {what}")


def _root(error: BaseException) -> BaseException:
    """Dig out what happened from pika's wrappings: failed workflows of failed phases of failed attempts."""
    while True:
        attempts = getattr(error, "exceptions", None) or [getattr(error, "exception", None)]
        within = attempts[-1] or next((one for one in error.args if isinstance(one, BaseException)), None)
        if not isinstance(within, BaseException):
            return error
        error = within
