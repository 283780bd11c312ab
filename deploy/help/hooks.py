"""What is done to docs/ on the way to the help: links, lists as GitHub reads them, scripts in files of their own."""

import hashlib
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOOKS = {
    "services/gateway/datauploader_gateway/http/static/icon.svg": "assets/icon.svg",
    "deploy/help/style.css": "assets/help.css",
}
ELSEWHERE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "bench/RESULTS.md": "project/results.md",
}
"""Pages of the help that do not lie in docs/, and where they are put."""
UNUSED = ("404.html", "sitemap.xml", "sitemap.xml.gz", "assets/javascripts/lunr")
"""The gateway has its own page for what is not there; the search speaks English."""
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
MARK = re.compile(r"(?m)^ *<!-- (?:not )?run: .*? -->\n")
"""Says for the tests which of them runs the commands above (`tests/wire/test_commands.py`)."""
MARKER = re.compile(r"(?:[-*+]|\d+\.) +")
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
CANONICAL = re.compile(r'<link rel="canonical"[^>]*>')


def on_config(config: Any) -> Any:
    """Put the pages of a folder where the navigation names the folder."""
    config.nav = expanded(config.nav, Path(config.docs_dir))
    return config


def expanded(nav: Any, docs: Path) -> Any:
    """Return the navigation with the pages of each folder in it, README.md first."""
    if isinstance(nav, list):
        return [expanded(one, docs) for one in nav]
    if isinstance(nav, dict):
        return {title: expanded(one, docs) for title, one in nav.items()}
    if not nav.endswith("/"):
        return nav
    names = sorted((path.name for path in (docs / nav).glob("*.md")), key=lambda name: (name != "README.md", name))
    return [nav + name for name in names]


def on_files(files: Any, config: Any) -> Any:
    """Add what lies outside of docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - the tests read this file where mkdocs is not

    for source, name in (ELSEWHERE | LOOKS).items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Have a page read as it does in the repository."""
    if page.file.src_uri.startswith(("adr/", "project/")):
        page.meta["search"] = {"boost": 0.3}  # whoever searches wants to do something, mostly
    return relinked(relisted(MARK.sub("", markdown)), page.file.src_uri)


def relinked(text: str, name: str) -> str:
    """Turn links between files of the repository into links between pages; what is no page becomes plain text."""
    back = {page: source for source, page in ELSEWHERE.items()}
    source = back.get(name, f"docs/{name}")

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        path, mark, anchor = target.partition("#")
        if "://" in path or not path:
            return found[0]
        meant = normpath(str(PurePosixPath(source).parent / path))
        if (ROOT / meant).is_dir():
            meant += "/README.md"
        if meant not in ELSEWHERE and not meant.startswith("docs/") and (ROOT / meant).exists():
            return words
        at = ELSEWHERE.get(meant, meant.removeprefix("docs/"))
        return f"[{words}]({relpath(at, PurePosixPath(name).parent.as_posix())}{mark}{anchor})"

    return LINK.sub(link, text)


def relisted(text: str) -> str:
    """Indent lists by four and set them off from text above: Python's Markdown asks for both, GitHub's does not."""
    lines: list[str] = []
    columns: list[int] = []  # where the text of each open item begins in the source
    fenced = False
    apart = True  # whether an item that begins now is set off, or is one more of a list
    for line in text.splitlines():
        bare = line.lstrip()
        column = len(line) - len(bare)
        marker = None if fenced else MARKER.match(bare)
        while bare and columns and column < columns[-1] and not fenced:
            columns.pop()
        if marker and not apart and lines[-1]:
            lines.append("")
        lines.append(bare and " " * (column + (4 * len(columns) - columns[-1] if columns else 0)) + bare)
        apart = bool(marker) or (apart and bool(bare) and column > 0)
        if marker:
            columns.append(column + len(marker[0]))
        fenced ^= bare.startswith("```")
    return "\n".join(lines) + "\n"


def on_post_build(config: Any) -> None:
    """Take out of the finished pages what a strict policy of the browser forbids, and what nobody needs."""
    site = Path(config.site_dir)
    for name in UNUSED:
        path = site / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (*site.rglob("*.map"), *site.rglob("*.scss")):
        path.unlink()
    for path in site.rglob("*.html"):
        above = relpath(site, path.parent)
        page = CANONICAL.sub("", path.read_text("utf-8")).replace('role="dialog"', 'role="dialog" aria-label="Search"')
        path.write_text(SCRIPT.sub(lambda found: external(found[1], site, above), page), "utf-8", newline="\n")  # noqa: B023
    for licence in distribution("mkdocs-material").files or ():
        if licence.name == "LICENSE":
            shutil.copy(str(licence.locate()), site / "assets" / "LICENSE-mkdocs-material.txt")


def external(code: str, site: Path, above: str) -> str:
    """Put the code of a page into a file of its own, and return what calls it."""
    name = f"assets/javascripts/inline-{hashlib.sha256(code.encode()).hexdigest()[:12]}.js"
    (site / name).write_text(code, "utf-8", newline="\n")
    return f'<script src="{above}/{name}"></script>'
