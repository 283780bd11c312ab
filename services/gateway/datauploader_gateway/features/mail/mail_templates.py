"""What mails say: a template for each occasion, with a block for the subject and one for the body."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError

from datauploader.errors import ConfigurationError
from datauploader.wording import count, size

KINDS = ("complete", "outgrown", "failed", "refused", "delayed", "restless", "rejected", "silent")
_BUILT_IN = Path(__file__).parent / "templates"
_LONGEST_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class MailText:
    """The text of a mail: subject and body, as plain text."""

    subject: str
    body: str


def clean(text: str) -> str:
    """Return text on one line: characters that control, hide or turn around become spaces."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text)


@cache
def _environment(folder: Path | None) -> Environment:
    """Return what reads the templates; each is compiled once, and again when its file has changed."""
    loaders: list[BaseLoader] = [FileSystemLoader(folder)] if folder else []
    # plain text needs no escapes; what comes from outside is cleaned instead
    made = Environment(  # noqa: S701 - mails are plain text
        loader=ChoiceLoader([*loaders, FileSystemLoader(_BUILT_IN)]), undefined=StrictUndefined,
        finalize=lambda value: clean(value) if isinstance(value, str) else value,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"size": size, "count": "{:,}".format, "files": lambda number: count(number, "file")}
    return made


class MailTemplates:
    """Mail templates: writes letters from the built-in templates and the facility's own."""

    def __init__(self, folder: Path | None) -> None:
        """Read the templates.

        Raises:
            ConfigurationError: one of the facility's own cannot be used.
        """
        self._environment = _environment(folder)
        for kind in KINDS:
            try:
                blocks = self._environment.get_template(f"{kind}.txt").blocks
            except TemplateError as error:
                raise ConfigurationError(f"the mail template {kind}.txt in {folder} cannot be used: {error}") from error
            if missing := {"subject", "body"} - set(blocks):
                raise ConfigurationError(f"the mail template {kind}.txt in {folder} lacks the block {missing.pop()}")

    def write(self, kind: str, context: Mapping[str, object]) -> MailText:
        """Write the letter of an occasion.

        Raises:
            TemplateError: the template asks for what there is not.
        """
        template = self._environment.get_template(f"{kind}.txt")
        subject, body = (
            "".join(template.blocks[block](template.new_context(dict(context)))) for block in ("subject", "body")
        )
        return MailText(" ".join(clean(subject).split())[:_LONGEST_SUBJECT], body.strip() + "\n")
