"""Where the broker is, and under which name one appears there."""

import os
import socket
import ssl
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pika

from datauploader.errors import ConfigurationError

HEARTBEAT_S = 30
CONNECT_S = 5
"""Seconds that the network may take for each address of the broker's host."""
HANDSHAKE_S = 10
"""Seconds until a connection that is not open yet counts as failed."""


class AmqpAddress:
    """An AMQP address, a broker's URL, read once; it never shows its password."""

    def __init__(self, url: str, name: str) -> None:
        """Read the URL; pika's query parameters (`heartbeat=…`) and `cafile=…` are understood.

        Raises:
            ConfigurationError: the URL cannot be read; the message does not repeat it, it holds a password.
        """
        self._url, self._cafile = _without_cafile(url)
        self.name = name
        first = self.parameters("")
        self.user: str = first.credentials.username
        self.place = f"{first.host}:{first.port}, virtual host {first.virtual_host!r}"

    def parameters(self, purpose: str) -> pika.URLParameters:
        """Build pika's parameters for one connection, named for a reader of the management page."""
        try:
            parameters = pika.URLParameters(self._url)
            if parameters.ssl_options is not None:
                _verify(parameters, self._cafile)
        except (ValueError, TypeError, OSError) as error:
            raise ConfigurationError(
                f"the broker address cannot be read ({type(error).__name__}); write amqps://user:password@host/vhost, "
                "with every / : @ ? # % of user, password and vhost percent-encoded; a cafile must exist"
            ) from None
        if "heartbeat" not in self._url:
            parameters.heartbeat = HEARTBEAT_S
        parameters.socket_timeout, parameters.stack_timeout = CONNECT_S, HANDSHAKE_S
        parameters.connection_attempts = 1
        parameters.client_properties = {
            "connection_name": f"{self.name} ({socket.gethostname()}, {os.getpid()}) {purpose}",
            "product": "DataUploader",
        }
        return parameters


def _without_cafile(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    cafile = query.pop("cafile", None)
    return (urlunsplit(parts._replace(query=urlencode(query))), cafile) if cafile else (url, None)


def _verify(parameters: pika.URLParameters, cafile: str | None) -> None:
    """Check the broker's certificate and its name; pika alone would not say which name to expect."""
    given = parameters.ssl_options
    context = ssl.create_default_context(cafile=cafile) if cafile else given.context
    parameters.ssl_options = pika.SSLOptions(context, given.server_hostname or parameters.host)
