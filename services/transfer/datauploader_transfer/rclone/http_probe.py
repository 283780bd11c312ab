"""Asks a storage that answers over HTTP what rclone does not tell: how long it wants to be left alone, and its time.

rclone's WebDAV and S3 backends repeat a refused request up to ten times within a second or less and drop the
header Retry-After (measured with 1.75.2), so one request of our own asks for it. S3 refuses whoever's clock is more
than 15 minutes off, and the answer to a HEAD, with which rclone begins, has no body to say so: the header Date does.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from datauploader_transfer.domain.failures import SKEWED
from datauploader_transfer.domain.remotes import RemoteDefinition
from datauploader_transfer.rclone.reachability import trusting

__all__ = ["LONGEST_S", "clock_fault", "requested_pause_s", "retry_after_s"]

LONGEST_S = 3600.0
"""No pause is longer, whatever a server says: an hour is enough for any, and a mistaken one costs no night."""

_REFUSALS = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_WITHIN_S = 5.0
_MOST_APART_S = 600.0
"""From here on a clock may be what a storage refuses us for; S3 allows 900 s."""


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
        with httpx.Client(auth=auth, timeout=_WITHIN_S, verify=trusting(remote)) as client:
            return client.head(remote.url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return None
