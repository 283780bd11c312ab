"""The help that is built from docs/: whole, offline, in order, and what the documents in the repository say."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import markdown
import pytest
import yaml
from markdown_it import MarkdownIt

TREE = Path(__file__).parents[2]
DOCS = TREE / "docs"
MKDOCS = TREE / "deploy" / "help" / "mkdocs.yml"
HOOKS: dict[str, Any] = runpy.run_path(str(TREE / "deploy" / "help" / "hooks.py"))
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "node_modules" not in path.parts]
DOCUMENTS = [
    *(path.relative_to(TREE).as_posix() for path in PAGES),
    *("README.md", *HOOKS["ELSEWHERE"]),
]
COUNTED = ("li", "ul", "ol", "table", "td", "th", "h1", "h2", "h3", "pre", "a")


def in_order(nav: Any) -> Iterator[str]:
    """Find the pages of a navigation."""
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from in_order(one)


def test_every_page_of_docs_has_its_place_in_the_help() -> None:
    """Whoever writes a page says where people find it."""
    nav = yaml.safe_load(MKDOCS.read_text("utf-8").partition("\nnav:\n")[2].partition("\ntheme:")[0])
    listed = list(in_order(HOOKS["expanded"](nav, DOCS)))
    pages = {path.relative_to(DOCS).as_posix() for path in PAGES} | set(HOOKS["ELSEWHERE"].values())
    said = "give it a line under `nav` in deploy/help/mkdocs.yml, and a name of a few words"
    assert sorted(pages - set(listed)) == [], f"these pages are not in the help: {said}"
    assert sorted(set(listed) - pages) == [], "the help lists pages that are not there: take their lines out"
    assert len(listed) == len(set(listed)), "a page stands in the help twice"


def prose(text: str) -> str:
    """Take the code out of a document."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^( *)```.*?^ *```$", "", text))


def anchors(text: str) -> set[str]:
    """Name the headings of a document as GitHub and the help do."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_of_a_document_leads_to_a_file_and_a_heading(name: str) -> None:
    """Links are relative, so that they work in the repository and in the help."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose((TREE / name).read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        meant = (TREE / name).parent / path if path else TREE / name
        if "://" in link:
            continue
        if not meant.exists() or (anchor and anchor not in anchors(meant.read_text("utf-8"))):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_reads_in_the_help_as_it_does_in_the_repository(name: str) -> None:
    """The two kinds of Markdown differ in lists; what is not read alike is seen as a paragraph of dashes."""
    text = (TREE / name).read_text("utf-8")
    there = MarkdownIt("commonmark").enable("table").render(text)
    extensions = ["tables", "toc", "pymdownx.superfences"]
    here = markdown.markdown(HOOKS["relisted"](text), extensions=extensions)
    for tag in COUNTED:
        assert len(re.findall(rf"<{tag}[ >]", here)) == len(re.findall(rf"<{tag}[ >]", there)), f"<{tag}>"


def test_links_between_files_become_links_between_pages() -> None:
    """A page outside of docs/ is in the help as well, a folder is its README, and code is no page."""
    relinked = HOOKS["relinked"]
    assert relinked("[a](adr/0001-x.md#y)", "tour.md") == "[a](adr/0001-x.md#y)"
    assert relinked("[a](../CONTRIBUTING.md)", "developing.md") == "[a](project/contributing.md)"
    assert relinked("[a](docs/security.md)", "project/changelog.md") == "[a](../security.md)"
    assert relinked("[a](reference/schemas)", "tour.md") == "[a](reference/schemas/README.md)"
    assert relinked("[the `x`](../deploy/tasks.py)", "tour.md") == "the `x`"
    assert relinked("[a](#b) [c](https://d.org/e)", "tour.md") == "[a](#b) [c](https://d.org/e)"
    assert relinked("[a](nowhere.md)", "tour.md") == "[a](nowhere.md)", "mkdocs complains of it"


def test_the_help_loads_nothing_from_elsewhere_and_runs_no_code_between_its_lines(help_site: Path) -> None:
    """A facility without a way out of its network sees the same; the policy of the gateway's pages holds."""
    pages = list(help_site.rglob("*.html"))
    assert len(pages) >= len(DOCUMENTS) - 1
    for path in pages:
        page = path.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=[\"']?([^\"'\s>]+)", page)
        assert not [one for one in loaded if re.match(r"(?:\w+:)?//", one)], path
        assert not re.findall(r"<script>|<style|\sstyle=|\son\w+=", page), path
    for path in help_site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?(?:\w+:)?//|@import", path.read_text("utf-8")), path


def test_the_search_knows_every_page(help_site: Path) -> None:
    """Its index is a file beside the pages."""
    index = json.loads((help_site / "search" / "search_index.json").read_text("utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"first-upload/", "operations/", "reference/routes/", "project/changelog/"} <= found
    assert len(found) >= len(DOCUMENTS) - 1


def test_what_is_read_by_machines_is_beside_it(help_site: Path) -> None:
    """OpenAPI, AsyncAPI and the schemas, and the licence of the theme."""
    for name in ("openapi.json", "asyncapi.json", "schemas/file.stored.v1.json"):
        assert (help_site / "reference" / name).read_bytes() == (DOCS / "reference" / name).read_bytes()
    assert "Permission is hereby granted" in (help_site / "assets/LICENSE-mkdocs-material.txt").read_text("utf-8")
