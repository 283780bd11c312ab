"""A hint that says "press X" sends people to a button: it must be on the page that they are sent to."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GATEWAY = ROOT / "services/gateway/datauploader_gateway"
TEMPLATES = GATEWAY / "http/templates"
OF_UPLOAD = (
    "layout.html",
    "upload.html",
    *(f"parts/{name}.html" for name in ("upload", "audits", "files", "describe")),
)
"""The page of an upload is made of these."""
_PRESS = re.compile(r"\b[Pp]ress (?:the )?([A-Z][\w ]*)")
_BUTTON = re.compile(r'<button[^>]*>(.*?)</button>|<a class="button[^>]*>(.*?)</a>', re.DOTALL)
_QUOTED = re.compile(r'"([A-Z][^"]*)"')
_JINJA = re.compile(r"{{.*?}}|{%.*?%}")


def labels(templates: tuple[str, ...]) -> set[str]:
    """Return what the buttons of these templates are called, and those that an upload has in some state."""
    found: set[str] = set()
    for name in templates:
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        for match in _BUTTON.finditer(text):
            inside = match[1] or match[2] or ""
            found |= {
                part.strip() for part in re.split(r"<[^>]+>", _JINJA.sub("\n", inside)) for part in part.split("\n")
            }
            found |= set(_QUOTED.findall(" ".join(_JINJA.findall(inside))))
    for call in ast.walk(ast.parse((GATEWAY / "http/labels.py").read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Button":
            found |= {one.value for one in ast.walk(call.args[1]) if isinstance(one, ast.Constant)}
    return {label for label in found if label}


def hints() -> Iterator[tuple[str, str]]:
    """Yield every file with a label that it tells people to press."""
    for folder in ("services", "shared", "harvesters", "consumers"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".py", ".html", ".txt") or not path.is_file() or path.parent.name == "cli":
                continue
            for match in _PRESS.finditer(path.read_text(encoding="utf-8")):
                yield path.relative_to(ROOT).as_posix(), match[1]


def of_upload(path: str) -> bool:
    """Tell whether what is said there is read on the page of an upload."""
    return "services/gateway/" not in path or "/projection/" in path or "/mail/" in path


def test_the_page_of_an_upload_has_buttons_and_hints_name_some() -> None:
    """Or the test below would be about nothing."""
    assert {"Retry", "Retry failed files", "Close dataset", "Complete anyway", "Edit"} <= labels(OF_UPLOAD)
    assert ("services/catalog/datauploader_catalog/worker.py", "Retry") in set(hints())


@pytest.mark.parametrize(("path", "text"), sorted(set(hints())))
def test_a_button_that_a_hint_names_is_on_the_page(path: str, text: str) -> None:
    """By its whole label, in the same letters."""
    everywhere = tuple(one.relative_to(TEMPLATES).as_posix() for one in TEMPLATES.rglob("*.html"))
    there = labels(OF_UPLOAD if of_upload(path) else everywhere)
    assert any(re.match(rf"{re.escape(label)}\b", text) for label in there), f"{text!r} is none of {sorted(there)}"
