"""The beginning of a plug-in: a folder that is written from templates, and works at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from datauploader.errors import BadRequest

_EXECUTABLE = (".sh",)
_END = ".tmpl"
_AFTER = "after.md"
"""What stands at the end of a README, whichever of several templates has its beginning."""


def write_package(
    folder: Path, kinds: Sequence[str], words: Mapping[str, str], *, also: Mapping[str, str]
) -> list[str]:
    """Write a folder from the templates of these kinds, and other files; return the names of all.

    Args:
        folder: where; it must be empty or missing.
        kinds: folders of templates.
        words: what stands for `@WORD@` in them; NAME and MODULE in the names of files as well.
        also: texts by the names of their files.

    Raises:
        BadRequest: the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadRequest(f"{folder} exists already", "Remove it, or name another folder with --into.")
    found: dict[str, str] = {}
    for kind in kinds:
        for path, text in _templates(files("datauploader_client") / "templates" / kind):
            place = re.sub("^dot-", ".", path).replace("MODULE", words["MODULE"]).replace("NAME", words["NAME"])
            found[place] = re.sub("@([A-Z]+)@", lambda hit: words[hit[1]], text)
    found["README.md"] += found.pop(_AFTER, "")
    found |= also
    for path, text in found.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        if target.suffix in _EXECUTABLE:
            target.chmod(0o755)
    return sorted(found)


def _templates(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _templates(one, f"{above}{one.name}/")
        elif one.name.endswith(_END):
            yield f"{above}{one.name.removesuffix(_END)}", one.read_text(encoding="utf-8")
