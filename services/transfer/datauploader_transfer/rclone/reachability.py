"""Probes whether anybody is at a storage's address, and whether its certificate holds."""

import contextlib
import socket
import ssl
import urllib.request
from urllib.parse import urlsplit

from datauploader_transfer.domain.remotes import RemoteDefinition

__all__ = ["probe_tcp", "trusting"]

_PORTS = {"sftp": 22, "ftp": 21, "smb": 445, "https": 443, "http": 80}
_DETOURS = ("ssh", "socks_proxy", "http_proxy")
"""Options with which rclone takes another way than straight to the host."""
_WITHIN_S = 3.0
_BAD_CERTIFICATE = {9, 10, 18, 19, 20, 21, 62, 64}
"""OpenSSL's numbers for: not yet or no longer valid, signed by nobody known, for another name or address (x509_vfy.h).
In other doubts rclone decides, which may be less strict."""


def probe_tcp(remote: RemoteDefinition, *, hand_shaking: bool = False) -> str:
    """Return why nothing listens at the storage's address; "" where it does, or where none is known.

    With `hand_shaking` also why its certificate does not hold: the S3 backend tries that again for minutes without
    a word, and others say it by themselves.
    """
    try:
        place = _place(remote)
        if place is not None:
            with socket.create_connection(place, timeout=_WITHIN_S) as connection:
                return _certificate_fault(remote, connection, place[0]) if hand_shaking else ""
    except (ValueError, OverflowError):
        return ""  # a port or a name that cannot be one: rclone says so, with the remote
    except OSError as error:
        return f"dial tcp {remote.url or remote.options['host']}: {error.strerror or error}"
    return ""


def trusting(remote: RemoteDefinition) -> ssl.SSLContext:
    """Return what our own requests trust: the same as rclone's.

    Raises:
        OSError: the remote's `ca_file` cannot be used.
    """
    return ssl.create_default_context(cafile=str(remote.ca_file) if remote.ca_file else None)


def _certificate_fault(remote: RemoteDefinition, connection: socket.socket, host: str) -> str:
    if not remote.url.startswith("https://"):
        return ""
    try:
        context = trusting(remote)
    except OSError as error:
        return f"certificates of {remote.ca_file} cannot be used: {error.strerror or error}"
    with contextlib.suppress(OSError):  # what else fails in a handshake is not the certificate's fault
        try:
            context.wrap_socket(connection, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in _BAD_CERTIFICATE:
                return f"certificate of {remote.url} does not hold: {error.verify_message}"
    return ""


def _place(remote: RemoteDefinition) -> tuple[str, int] | None:
    options = remote.options
    if any(options.get(name) for name in _DETOURS):
        return None
    if not remote.url:
        known = remote.type in _PORTS and options.get("host")
        return (options["host"], int(options.get("port") or _PORTS[remote.type])) if known else None
    parts = urlsplit(remote.url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(parts.hostname):
        return None  # the proxy, not we, reaches it
    return parts.hostname, parts.port or _PORTS[parts.scheme]
