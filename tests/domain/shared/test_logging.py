"""What a log line shows, and what it never shows."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from datauploader.logging import configure


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("as_json", [True, False])
def test_an_unexpected_error_does_not_tell_the_secrets_around_it(as_json: bool) -> None:
    """The traceback says where, and not what the variables held, in files and on a terminal."""
    out = io.StringIO()
    configure("gateway", as_json=as_json, stream=out)
    password = "the canary's password"

    def fails(secret: str) -> None:
        raise KeyError(len(secret))

    try:
        fails(password)
    except KeyError:
        structlog.get_logger().exception("request_failed")
    assert "KeyError" in out.getvalue()
    assert password not in out.getvalue()
