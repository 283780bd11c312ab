"""Files of a site: written whole or not at all, and the file .env that Compose reads."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from datauploader.errors import ConfigurationError


def write_file(path: Path, text: str, mode: int) -> None:
    """Write a file so that readers see the old content or the new, and nobody more than `mode` says.

    Run as root, the file belongs to the owner of its folder. What is the same already is not written.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        status = path.stat() if path.exists() else None
        if status and status.st_mode & 0o777 == mode and path.read_text(encoding="utf-8") == text:
            return
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).chmod(mode)
            owner = path.parent.stat()
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                os.chown(draft, owner.st_uid, owner.st_gid)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): run this as the owner of {path.parent}"
        ) from error


def read_env(path: Path) -> dict[str, str]:
    """Read the lines NAME=value; a missing file has none."""
    return parse_env(path.read_text(encoding="utf-8")) if path.exists() else {}


def parse_env(text: str) -> dict[str, str]:
    """Read the lines NAME=value of a text."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'") for name, value in pairs}


def render_env(template: str, values: Mapping[str, str]) -> str:
    """Write the template with these values, and after it the lines that it does not know.

    Raises:
        ConfigurationError: a value cannot stand in a line of the file.
    """
    rest = dict(values)
    lines = []
    for line in template.splitlines():
        name, equals, default = line.partition("=")
        is_setting = equals and not line.startswith("#")
        lines.append(f"{name}={quoted(name, rest.pop(name, '') or default)}" if is_setting else line)
    return "\n".join([*lines, *(f"{name}={quoted(name, value)}" for name, value in rest.items())]) + "\n"


def quoted(name: str, value: str) -> str:
    """Write a value as it stands in such a line, in quotation marks where it needs them.

    Raises:
        ConfigurationError: it cannot stand there.
    """
    if set(value) & set("'\n\r"):
        raise ConfigurationError(f"{name} has a quotation mark (') or the end of a line in it, which .env cannot hold")
    return f"'{value}'" if set(value) & set(' "#$\\') else value
