"""Finds out at once whether anybody is at a storage's address."""

import socket
import urllib.request
from urllib.parse import urlsplit

from datauploader_transfer.domain.remotes import Remote

__all__ = ["knock"]

_PORTS = {"sftp": 22, "ftp": 21, "https": 443, "http": 80}
_DETOURS = ("ssh", "socks_proxy", "http_proxy")
"""Options with which rclone takes another way than straight to the host."""
_WITHIN_S = 3.0


def knock(remote: Remote) -> str:
    """Return why nothing listens at the storage's address; "" where it does, or where none is known."""
    try:
        place = _place(remote)
        if place is not None:
            socket.create_connection(place, timeout=_WITHIN_S).close()
    except (ValueError, OverflowError):
        return ""  # a port or a name that cannot be one: rclone says so, with the remote
    except OSError as error:
        return f"dial tcp {remote.url or remote.options['host']}: {error.strerror or error}"
    return ""


def _place(remote: Remote) -> tuple[str, int] | None:
    options = remote.options
    if any(options.get(name) for name in _DETOURS):
        return None
    if remote.url:
        return _of_url(remote.url)
    if remote.type in _PORTS and options.get("host"):
        return options["host"], int(options.get("port") or _PORTS[remote.type])
    return None


def _of_url(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(parts.hostname):
        return None  # the proxy, not we, reaches it
    return parts.hostname, parts.port or _PORTS[parts.scheme]
