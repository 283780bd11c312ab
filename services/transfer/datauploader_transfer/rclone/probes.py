"""Asks a storage what rclone does not tell: is anybody there, does its certificate hold, when to come back, its time.

rclone's WebDAV and S3 backends repeat a refused request up to ten times within a second or less and drop the
header Retry-After (measured with 1.75.2), so one request of our own asks for it. S3 refuses whoever's clock is more
than 15 minutes off, and the answer to a HEAD, with which rclone begins, has no body to say so: the header Date does.
"""

import contextlib
import socket
import ssl
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from datauploader_transfer.domain.failures import SKEWED
from datauploader_transfer.domain.remotes import RemoteDefinition

__all__ = ["LONGEST_S", "clock_fault", "probe_tcp", "requested_pause_s", "retry_after_s"]

_PORTS = {"sftp": 22, "ftp": 21, "smb": 445, "https": 443, "http": 80}
_DETOURS = ("ssh", "socks_proxy", "http_proxy")
"""Options with which rclone takes another way than straight to the host."""
_CONNECT_WITHIN_S = 3.0
_BAD_CERTIFICATE = {9, 10, 18, 19, 20, 21, 62, 64}
"""OpenSSL's numbers for: not yet or no longer valid, signed by nobody known, for another name or address (x509_vfy.h).
In other doubts rclone decides, which may be less strict."""
LONGEST_S = 3600.0
"""No pause is longer, whatever a server says: an hour is enough for any, and a mistaken one costs no night."""

_REFUSALS = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_ANSWER_WITHIN_S = 5.0
_MOST_APART_S = 600.0
"""From here on a clock may be what a storage refuses us for; S3 allows 900 s."""


def probe_tcp(remote: RemoteDefinition, *, hand_shaking: bool = False) -> str:
    """Return why nothing listens at the storage's address; "" where it does, or where none is known.

    With `hand_shaking` also why its certificate does not hold: the S3 backend tries that again for minutes without
    a word, and others say it by themselves.
    """
    try:
        place = _place(remote)
        if place is not None:
            with socket.create_connection(place, timeout=_CONNECT_WITHIN_S) as connection:
                return _certificate_fault(remote, connection, place[0]) if hand_shaking else ""
    except (ValueError, OverflowError):
        return ""  # a port or a name that cannot be one: rclone says so, with the remote
    except OSError as error:
        return f"dial tcp {remote.url or remote.options['host']}: {error.strerror or error}"
    return ""


def _trusting(remote: RemoteDefinition) -> ssl.SSLContext:
    """Return what our own requests trust: the same as rclone's.

    Raises:
        OSError: the remote's `ca_file` cannot be used.
    """
    return ssl.create_default_context(cafile=str(remote.ca_file) if remote.ca_file else None)


def _certificate_fault(remote: RemoteDefinition, connection: socket.socket, host: str) -> str:
    if not remote.url.startswith("https://"):
        return ""
    try:
        context = _trusting(remote)
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


def requested_pause_s(remote: RemoteDefinition) -> float | None:
    """Return the seconds of pause that a storage asks for; None where it asks for none or cannot be asked."""
    answer = _asked(remote)
    if answer is None or answer.status_code not in _REFUSALS:
        return None
    return retry_after_s(answer.headers.get("Retry-After", ""), datetime.now(UTC))


def retry_after_s(header: str, now: datetime) -> float | None:
    """Return the seconds that a header Retry-After asks for, at most an hour; None where it asks for nothing.

    RFC 9110, 10.2.3: a number of seconds, or a moment.
    """
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), LONGEST_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(0.0, seconds.total_seconds()), LONGEST_S)


def clock_fault(remote: RemoteDefinition) -> str:
    """Say how far this computer's clock is from that of an S3 storage, where that is a reason to be refused."""
    answer = _asked(remote) if remote.type == "s3" else None
    if answer is None:
        return ""
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return ""
    ahead_s = (datetime.now(UTC) - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds()
    if abs(ahead_s) < _MOST_APART_S:
        return ""
    return f"{SKEWED}: it is {abs(ahead_s) / 60:.0f} minutes {'ahead of' if ahead_s > 0 else 'behind'} the storage's"


def _asked(remote: RemoteDefinition) -> httpx.Response | None:
    if not remote.url.startswith(("http://", "https://")):
        return None
    user, password = remote.options.get("user"), remote.secrets.get("pass")
    # limits are often set by user
    auth = (user, password.get_secret_value()) if remote.type == "webdav" and user and password else None
    try:
        with httpx.Client(auth=auth, timeout=_ANSWER_WITHIN_S, verify=_trusting(remote)) as client:
            return client.head(remote.url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return None
