"""The first questions: what was answered is checked and becomes a configuration; paths are looked at, no more."""

import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from datauploader_gateway.desktop.place import DesktopFolder

LONGEST = 4096
"""Characters of an answer."""
MOST_FOLDERS = 50
STORAGE = "storage"
"""The name of the one remote."""
KINDS = {"local": "A folder of this computer", "webdav": "WebDAV", "s3": "S3", "sftp": "SFTP"}
_WORD = re.compile(r"[a-z0-9_-]{1,63}")


class WrongAnswers(Exception):
    """Some answers cannot be used; `problems` has a sentence for each of their fields."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


def examples() -> dict[str, str]:
    """Return paths as this computer's people write them."""
    if os.name == "nt":
        return {"folder": r"D:\data", "share": r"\\server\share\data"}
    return {"folder": "/data/beamline", "share": "/mnt/share"}


def defaults() -> dict[str, str]:
    """Return what the questions show at first."""
    name = re.sub(r"[^a-z0-9_-]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:63]
    known_hosts = Path.home() / ".ssh" / "known_hosts"
    return {
        "storage": "local", "facility": "facility", "beamline": "beamline", "station": name or "station",
        "webdav_vendor": "other", "s3_provider": "Other", "sftp_port": "22",
        "sftp_known_hosts": str(known_hosts) if known_hosts.exists() else "",
    }  # fmt: skip


def configuration(form: Mapping[str, str], place: DesktopFolder) -> dict[str, Any]:
    """Turn answers into the configuration of all services.

    Raises:
        WrongAnswers: some of them cannot be used.
    """
    reader = _Reader(form)
    document = {
        **{name: reader.word(name) for name in ("facility", "beamline", "station")},
        "broker": "memory://" + (place.state / "events.log").as_posix(),
        "state_dir": str(place.state),
        "log_level": "WARNING",
        "remotes": {STORAGE: _remote(reader)},
        "watcher": {"roots": reader.folders("folders")},
        "catalog": {
            "adapter": "vuo",
            "vuo": {"base_url": reader.secure_url("catalogue_url"), "secret": reader.need("catalogue_secret")},
        },
        "gateway": {"redis": "memory://"},
    }
    if reader.problems:
        raise WrongAnswers(reader.problems)
    return document


class _Reader:
    """Reads answers one after the other, and collects what is wrong with them."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = form
        self.problems: dict[str, str] = {}

    def text(self, name: str) -> str:
        """Return an answer that may be empty."""
        text = self._form.get(name, "").strip()
        if len(text) > LONGEST:
            return self._wrong(name, f"This has more than {LONGEST} characters.")
        if any(not character.isprintable() for character in text):
            return self._wrong(name, "This contains a character that cannot be displayed, such as a line break.")
        return text

    def need(self, name: str) -> str:
        """Return an answer that must not be empty."""
        return self.text(name) or self._wrong(name, "This is required.")

    def word(self, name: str) -> str:
        """Return a word of a station's address."""
        text = self.need(name)
        if text and not _WORD.fullmatch(text):
            return self._wrong(name, "Use only lower-case letters, digits, '-' and '_', at most 63 characters.")
        return text

    def url(self, name: str) -> str:
        """Return a web address."""
        text = self.need(name)
        try:
            parts = urlsplit(text)
            is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_web = False
        if text and not is_web:
            return self._wrong(name, "Enter the full address, starting with https://.")
        return text

    def secure_url(self, name: str) -> str:
        """Return a web address that nobody can listen in on."""
        text = self.url(name)
        parts = urlsplit(text)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            return self._wrong(name, "The address must start with https://, because sign-in data is sent to it.")
        return text

    def number(self, name: str, most: int) -> str:
        """Return a whole number as text."""
        text = self.need(name)
        if text and not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most):
            return self._wrong(name, f"Enter a whole number from 1 to {most}.")
        return text

    def path(self, name: str, text: str, is_there: Callable[[Path], bool], missing: str) -> str:
        """Return an absolute path that is there."""
        path = Path(text)
        try:
            if not path.is_absolute():
                return self._wrong(name, f"{text}: enter the full path, for example {Path.home() / 'data'}.")
            if not is_there(path):
                return self._wrong(name, f"{text}: {missing}")
        except (OSError, ValueError) as error:
            return self._wrong(name, f"{text}: {error}")
        return str(path)

    def folders(self, name: str) -> list[str]:
        """Return folders, one a line."""
        lines = [line.strip() for line in self._form.get(name, "").splitlines() if line.strip()]
        if not lines:
            self._wrong(name, "Enter at least one folder to upload from.")
        if len(lines) > MOST_FOLDERS or any(len(line) > LONGEST for line in lines):
            self._wrong(name, f"Enter at most {MOST_FOLDERS} folders, each with at most {LONGEST} characters.")
            return []
        return [self.path(name, line, Path.is_dir, "this folder does not exist.") for line in lines]

    def _wrong(self, name: str, sentence: str) -> str:
        self.problems.setdefault(name, sentence)
        return ""


def _remote(reader: _Reader) -> dict[str, Any]:
    """Read where the files go; what was not answered is left out."""
    kind = reader.text("storage")
    options: dict[str, str] = {}
    secrets: dict[str, str] = {}
    match kind:
        case "local":
            text = reader.need("local_folder")
            missing = "this folder does not exist; create it first."
            return {"type": kind, "base": text and reader.path("local_folder", text, Path.is_dir, missing)}
        case "webdav":
            options["url"] = reader.url("webdav_url")
            options |= {"vendor": reader.need("webdav_vendor"), "user": reader.text("webdav_user")}
            base = reader.text("webdav_folder")
            secrets["pass"] = reader.text("webdav_password")
        case "s3":
            options |= {"provider": reader.need("s3_provider"), "endpoint": reader.text("s3_endpoint")}
            options |= {"region": reader.text("s3_region"), "access_key_id": reader.need("s3_key")}
            base = reader.need("s3_bucket")
            secrets["secret_access_key"] = reader.need("s3_secret")
        case "sftp":
            options |= {"host": reader.need("sftp_host"), "port": reader.number("sftp_port", 65535)}
            options["user"] = reader.need("sftp_user")
            for name, option in (("sftp_key_file", "key_file"), ("sftp_known_hosts", "known_hosts_file")):
                text = reader.text(name)
                options[option] = text and reader.path(name, text, Path.is_file, "this file does not exist.")
            base = reader.text("sftp_folder")
            secrets["pass"] = reader.text("sftp_password")
        case _:
            reader.problems["storage"] = "Choose a storage for the files."
            return {}
    return {
        "type": kind,
        "base": base,
        "options": {name: text for name, text in options.items() if text},
        "secrets": {name: text for name, text in secrets.items() if text},
    }
