"""What was answered to the first questions, checked one by one; paths are looked at, no more."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

LONGEST = 4096
"""Characters of an answer."""
MOST_FOLDERS = 50
LONGEST_NAME = 100
"""Characters of a person's name."""
SHORTEST_PASSWORD = 8
"""Characters of a password that protects an account of this program."""
_WORD = re.compile(r"[a-z0-9_-]{1,63}")
_MAIL = re.compile(r"[^@\s;]+@[^@\s;]+\.[^@\s;]+")


class WrongAnswers(Exception):
    """Some answers cannot be used; `problems` has a sentence for each of their fields."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


class AnswerReader:
    """Reads answers one after the other, and collects what is wrong with them."""

    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = form
        self.problems: dict[str, str] = {}

    def text(self, name: str) -> str:
        """Return an answer that may be empty."""
        text = self._form.get(name, "").strip()
        if len(text) > LONGEST:
            return self.wrong(name, f"This has more than {LONGEST} characters.")
        if any(not character.isprintable() for character in text):
            return self.wrong(name, "This contains a character that cannot be displayed, such as a line break.")
        return text

    def need(self, name: str) -> str:
        """Return an answer that must not be empty."""
        return self.text(name) or self.wrong(name, "This is required.")

    def word(self, name: str) -> str:
        """Return a word of a station's address."""
        text = self.need(name)
        if text and not _WORD.fullmatch(text):
            return self.wrong(name, "Use only lower-case letters, digits, '-' and '_', at most 63 characters.")
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
            return self.wrong(name, "Enter the full address, starting with https://.")
        return text

    def secure_url(self, name: str) -> str:
        """Return a web address that nobody can listen in on."""
        text = self.url(name)
        parts = urlsplit(text)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            return self.wrong(name, "The address must start with https://, because sign-in data is sent to it.")
        return text

    def mail(self, name: str) -> str:
        """Return a mail address."""
        text = self.need(name)
        if text and not _MAIL.fullmatch(text):
            return self.wrong(name, "Enter one mail address, for example data@facility.eu.")
        return text

    def name(self, name: str) -> str:
        """Return what a person calls themselves."""
        text = self.need(name)
        if len(text) > LONGEST_NAME:
            return self.wrong(name, f"Use at most {LONGEST_NAME} characters.")
        return text

    def new_password(self, name: str) -> str:
        """Return a password that is made up here, exactly as it was typed."""
        text, typed = self.need(name), self._form.get(name, "")
        if text and text != typed:
            return self.wrong(name, "The password must not begin or end with a space.")
        if text and len(text) < SHORTEST_PASSWORD:
            return self.wrong(name, f"Use at least {SHORTEST_PASSWORD} characters.")
        return text

    def number(self, name: str, most: int) -> str:
        """Return a whole number as text."""
        text = self.need(name)
        if text and not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most):
            return self.wrong(name, f"Enter a whole number from 1 to {most}.")
        return text

    def path(self, name: str, text: str, is_there: Callable[[Path], bool], missing: str) -> str:
        """Return an absolute path that is there."""
        path = Path(text)
        try:
            if not path.is_absolute():
                return self.wrong(name, f"{text}: enter the full path, for example {Path.home() / 'data'}.")
            if not is_there(path):
                return self.wrong(name, f"{text}: {missing}")
        except (OSError, ValueError) as error:
            return self.wrong(name, f"{text}: {error}")
        return str(path)

    def folders(self, name: str) -> list[str]:
        """Return folders, one a line."""
        lines = [line.strip() for line in self._form.get(name, "").splitlines() if line.strip()]
        if not lines:
            self.wrong(name, "Enter at least one folder to upload from.")
        if len(lines) > MOST_FOLDERS or any(len(line) > LONGEST for line in lines):
            self.wrong(name, f"Enter at most {MOST_FOLDERS} folders, each with at most {LONGEST} characters.")
            return []
        return [self.path(name, line, Path.is_dir, "this folder does not exist.") for line in lines]

    def wrong(self, name: str, sentence: str) -> str:
        """Note what is wrong with an answer, unless something else is already; return nothing in its place."""
        self.problems.setdefault(name, sentence)
        return ""
