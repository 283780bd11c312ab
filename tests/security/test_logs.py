"""Names come from outside and stand in logs: one line stays one line, a terminal's codes stay text."""

import io
import json
import logging

import pytest
import structlog

from datauploader.runtime.logging import configure

HOSTILE = (
    'x\r\n{"event": "forged", "level": "info"}', "\x1b[2J\x1b]0;title\x07", "a\u202egnp.exe",
    "<script>alert(1)</script>", "\u2028\u2029\x85", "\0", "\udcff", '"}\n{"event": "forged"}',
)  # fmt: skip
SECRET = "canary-in-a-local-variable"

pytestmark = pytest.mark.attack("S22")


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_line_for_machines_is_one_object(name: str) -> None:
    """Through our own log, a library's, and an exception's message."""
    out = io.StringIO()
    configure("test", as_json=True, stream=out)
    structlog.get_logger().info("seen", path=name)
    logging.getLogger("library").warning("seen %s", name)
    structlog.get_logger().error("failed", exc_info=OSError(name))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "forged" not in {json.loads(line)["event"] for line in lines}
    out.getvalue().encode()


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_line_for_people_is_one_line_without_codes(name: str) -> None:
    """Nothing moves the cursor, turns the text round or begins a line."""
    out = io.StringIO()
    configure("test", as_json=False, stream=out)
    structlog.get_logger().info("seen", path=name)
    logging.getLogger("library").warning("seen %s", name)
    text = out.getvalue()
    assert len(text.splitlines()) == 2
    assert not set(text) & set("\x1b\x07\u202e\u2028\u2029\0\r\x85")


@pytest.mark.attack("S26")
@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_values(as_json: bool) -> None:
    """Where a secret lies in a variable when something fails, the log has the line and not the value."""
    out = io.StringIO()
    configure("test", as_json=as_json, stream=out)

    def fail(password: str) -> None:
        kept = password + SECRET
        raise RuntimeError(f"no way with {len(kept)} characters")

    try:
        fail(SECRET)
    except RuntimeError:
        structlog.get_logger().exception("failed", token=SECRET, session_id=SECRET)
    assert "no way with" in out.getvalue()
    assert SECRET not in out.getvalue()
