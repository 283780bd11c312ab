"""Logs: one JSON object a line for machines, coloured lines on a terminal, secrets and control characters never."""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

FILE_BYTES = 10 * 1024**2
"""A log file that has so many bytes is put aside as `.1`, the former one as `.2` and so on."""
FILES_KEPT = 5
_SECRET_WORDS = ("password", "secret", "token", "session", "cookie", "authorization", "credential")


def is_secret(name: str) -> bool:
    """Tell whether what is called so is kept from logs and reports."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def _hide_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for key in event:
        if is_secret(key) and event[key]:
            event[key] = "***"
    return event


def _escape(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Keep names from outside on one line and free of terminal codes."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event


def configure(
    service: str,
    *,
    level: str = "INFO",
    as_json: bool | None = None,
    stream: TextIO | None = None,
    file: Path | None = None,
) -> None:
    """Set logging up for the whole process; also for libraries that use the standard one.

    Args:
        service: stands in every line.
        level: the lowest level that is written.
        as_json: None decides by whether the stream is a terminal.
        stream: where lines go, stderr by default.
        file: where they go instead, to files of a bounded size.

    Raises:
        OSError: the file cannot be written.
    """
    out = stream or sys.stderr
    terminal = file is None and out is not None and out.isatty()  # a program of Windows without a console has no stderr
    machine = not terminal if as_json is None else as_json
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    render: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if machine
        # rich's own tracebacks would print local variables, and so passwords
        else [
            _escape,
            structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler = _handler(out, file)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("pika", "httpx", "httpcore", "watchdog", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def _handler(out: TextIO | None, file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(out) if out is not None else logging.NullHandler()
    file.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
