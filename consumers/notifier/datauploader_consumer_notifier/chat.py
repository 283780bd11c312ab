"""A chat's incoming webhook: one message in JSON, and what the answer means for whoever wanted to say it."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from datauploader.plugins.consumer import Park, Retry

LONGEST_TEXT = 2000
LATER = timedelta(minutes=1)
MOST_LATER_S = 3600.0
"""A chat that wants to be left alone for longer is asked again after this."""
_SHOWN = 200
"""Bytes of a refusal that a person sees."""
_REQUEST_TIMEOUT, _TOO_EARLY, _TOO_MANY, _SERVER_ERROR = 408, 425, 429, 500


def post_message(url: str, text: str, *, timeout_s: float) -> None:
    """Post one message; no error shows the address, which is a secret.

    Raises:
        Retry: the chat cannot be reached, fails, or wants to be asked later.
        Park: it refuses for good: the address or the message must be changed.
    """
    try:
        with (
            httpx.Client(timeout=timeout_s, follow_redirects=False) as client,
            client.stream("POST", url, json={"text": plain(text)}) as answer,
        ):
            if answer.is_success:
                return
            said = next(answer.iter_bytes(_SHOWN), b"").decode("utf-8", "replace")
    except httpx.TransportError as error:
        raise Retry(f"the chat cannot be reached ({type(error).__name__})", LATER) from None
    except (httpx.InvalidURL, httpx.DecodingError) as error:
        raise Park(f"the chat's webhook cannot be used ({type(error).__name__}): see url in [notifier]") from None
    code = answer.status_code
    if code >= _SERVER_ERROR or code in (_REQUEST_TIMEOUT, _TOO_EARLY, _TOO_MANY):
        raise Retry(f"the chat answered with HTTP status {code}", _asked_pause(answer.headers.get("Retry-After", "")))
    words = "".join(char if char.isprintable() else " " for char in said).strip()
    where = "leads elsewhere; give its new address" if answer.is_redirect else "refuses the message"
    raise Park(f"the chat's webhook {where} (HTTP status {code}{f': {words}' if words else ''})")


def plain(text: str) -> str:
    """Write a text such that no chat takes part of it for markup, a mention of everybody, or a second line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())[:LONGEST_TEXT]
    for char, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b")):
        line = line.replace(char, instead)
    return line


def _asked_pause(header: str) -> timedelta:
    """Read Retry-After, which is seconds or a date (RFC 9110, 10.2.3)."""
    try:
        if header.strip().isdecimal():
            seconds = float(header)
        else:
            seconds = (parsedate_to_datetime(header).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return LATER
    return timedelta(seconds=min(max(seconds, 0.0), MOST_LATER_S))
