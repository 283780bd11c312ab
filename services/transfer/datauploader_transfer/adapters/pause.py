"""Asks a storage that answers over HTTP how long it wants to be left alone: rclone does not tell.

Its WebDAV and S3 backends repeat a refused request up to ten times within a second or less and drop the
header Retry-After (measured with 1.75.2), so one request of our own asks for it.
"""

import ssl
from datetime import UTC, datetime

import httpx

from datauploader_transfer.domain.pauses import retry_after_s
from datauploader_transfer.domain.remotes import Remote

__all__ = ["wanted_pause"]

_REFUSALS = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_WITHIN_S = 5.0


def wanted_pause(remote: Remote) -> float | None:
    """Return the seconds of pause that a storage asks for; None where it asks for none or cannot be asked."""
    if not remote.url.startswith(("http://", "https://")):
        return None
    try:
        with httpx.Client(auth=_user(remote), timeout=_WITHIN_S, verify=ssl.create_default_context()) as client:
            answer = client.head(remote.url)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    if answer.status_code not in _REFUSALS:
        return None
    return retry_after_s(answer.headers.get("Retry-After", ""), datetime.now(UTC))


def _user(remote: Remote) -> tuple[str, str] | None:
    """Return the user and password of a WebDAV remote: limits are often set by user."""
    user, password = remote.options.get("user"), remote.secrets.get("pass")
    return (user, password.get_secret_value()) if remote.type == "webdav" and user and password else None
