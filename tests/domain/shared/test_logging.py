"""What a log line shows, and what it never shows."""

import io
import json
from pathlib import Path

import pytest
import structlog

from datauploader.runtime.logging import configure


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


def test_a_log_file_is_bounded_and_the_ones_before_it_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that nobody looks at for a year does not fill its disk."""
    monkeypatch.setattr("datauploader.runtime.logging.FILE_BYTES", 1000)
    configure("watcher", file=tmp_path / "log" / "datauploader.log")
    for number in range(200):
        structlog.get_logger().info("looked", number=number)
    files = sorted((tmp_path / "log").iterdir())
    assert [path.name for path in files] == ["datauploader.log", *(f"datauploader.log.{n}" for n in range(1, 6))]
    assert max(path.stat().st_size for path in files) <= 1000
    assert json.loads(files[0].read_text().splitlines()[-1])["number"] == 199


def test_a_program_without_a_console_has_no_log_unless_it_has_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of Windows that are started from a menu have no stderr."""
    monkeypatch.setattr("sys.stderr", None)
    configure("desktop")
    structlog.get_logger().warning("said")
