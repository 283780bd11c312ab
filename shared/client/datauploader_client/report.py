"""One file for whoever is asked for help: versions, settings, checks and the end of the log, without secrets."""

import json
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from datauploader.errors import ConfigurationError
from datauploader.runtime.config import Settings, load
from datauploader.runtime.logging import is_secret
from datauploader.runtime.service import Check
from datauploader.runtime.settings_index import settings_in_use

LINES = 2000
"""The last lines of the log that are told."""
HIDDEN = "***"
_SHORTEST = 6
"""Characters of a secret that is searched for in what others have written; shorter ones are words of any text."""
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s\"]+(?=@)")


def write_report(path: Path, checks: Sequence[Check]) -> None:
    """Write the report.

    Raises:
        OSError: the file cannot be written.
    """
    shown: dict[str, Any] = {}
    secrets: set[str] = set()
    for name, kind in settings_in_use().items():
        try:
            loaded = load(kind)
        except ConfigurationError as error:
            shown[name] = {"problem": str(error)}
        else:
            shown[name] = _without_secrets(loaded.model_dump(mode="json"))
            secrets |= {secret for secret in _secrets(loaded) if len(secret) >= _SHORTEST}
    document = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": sys.platform,
        "python": sys.version,
        "versions": {one.name: one.version for one in sorted(distributions(), key=lambda one: one.name.lower())},
        "checks": [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in checks],
        "settings": shown,
        "log": _log(),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    path.write_text(_IN_ADDRESS.sub(HIDDEN, text), encoding="utf-8")


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: HIDDEN if is_secret(key) and inner else _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list | tuple) else value


def _secrets(value: Any, *, secret: bool = False) -> Iterator[str]:
    """Yield every secret text in settings, and the password of an address, as it is and as JSON writes it."""
    if isinstance(value, SecretStr):
        yield from _secrets(value.get_secret_value(), secret=True)
    elif isinstance(value, BaseModel):
        yield from _secrets(dict(value))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets(inner, secret=secret or is_secret(str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner, secret=secret)
    elif secret and isinstance(value, str):
        password = urlsplit(value).password or "" if "://" in value else ""
        for text in (value, password, unquote(password)):
            yield from (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])


def _log() -> list[str]:
    try:
        place = load(Settings).log_file
    except ConfigurationError:
        return []
    if place is None:
        return ["log_file is not set: the log went to where the service was started"]
    try:
        with place.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, LINES)]
    except OSError as error:
        return [f"{place} cannot be read: {error.strerror}"]
