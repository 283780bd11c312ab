"""How commands that speak to the broker itself reach it."""

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from datauploader.errors import ConfigurationError
from datauploader.messaging import Bus, connect
from datauploader.messaging.memory.log import log_file_of
from datauploader.runtime.config import Settings, load


@contextmanager
def connect_broker() -> Iterator[tuple[Bus, Settings]]:
    """Connect to the configured broker for the time of a `with` block; give the bus and the settings.

    Raises:
        ConfigurationError: the broker lives inside another process.
    """
    settings = load(Settings)
    url = settings.broker.get_secret_value()
    if url == "memory://" or log_file_of(url):
        raise ConfigurationError(
            "the broker is memory://, which exists only inside one process; set DATAUPLOADER_BROKER to the "
            "facility's broker"
        )
    bus = connect(url, name=f"command line of {operator_name()}", declare=False, users=settings.broker_users)
    try:
        yield bus, settings
    finally:
        bus.close()


def operator_name() -> str:
    """Name the person at the terminal, for the broker's page and the audit log."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return socket.gethostname()
