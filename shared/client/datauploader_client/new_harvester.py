"""The beginning of a harvester: a folder that works at once, to be changed into what one needs."""

import json
import re
from collections.abc import Collection, Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import get_args

from datauploader.errors import BadRequest
from datauploader.messaging.definitions import BrokerUser, harvester_definitions
from datauploader.messaging.rights import Role
from datauploader.wording import safe

_EXECUTABLE = (".sh",)
_END = ".tmpl"
_AFTER = "after.md"
"""What stands at the end of both READMEs."""


def broker_definitions(name: str, vhost: str) -> str:
    """Write what a broker needs for a harvester, as a file to import.

    Raises:
        BadRequest: no harvester can have this name.
    """
    check_name(name)
    user = BrokerUser(name, "harvester", harvester=name)
    return json.dumps(harvester_definitions(user, vhost=vhost), indent=2) + "\n"


def check_name(name: str, *, reserved: Collection[str] = ()) -> None:
    """Refuse a name that no harvester can have, because a user, a queue and a package are called by it.

    Raises:
        BadRequest: it is not written so, or is a service's or one of the `reserved` ones.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name) or name in {*get_args(Role), *reserved}:
        raise BadRequest(
            f"{safe(name)} cannot be the name of a harvester",
            "Write small letters, digits, - and _, a letter first, such as spec; not what a service is called.",
        )


def write_harvester(name: str, folder: Path, *, command: bool) -> list[str]:
    """Write the folder of a harvester in Python, or of one that starts a program; return the names of its files.

    Raises:
        BadRequest: the name cannot be, or the folder holds something.
    """
    check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadRequest(f"{folder} exists already", "Remove it, or name another folder with --into.")
    service, module = f"{name}-harvester", f"{name}_harvester".replace("-", "_")
    words = {
        "NAME": name, "SERVICE": service, "MODULE": module, "VERSION": version("ceric-datauploader-core"),
        "RUN": "harvester.toml" if command else service,
    }  # fmt: skip
    found: dict[str, str] = {}
    for kind in ("command" if command else "python", "common"):
        for path, text in _templates(files("datauploader_client") / "templates" / kind):
            place = re.sub("^dot-", ".", path).replace("NAME_harvester", module).replace("NAME", name)
            found[place] = re.sub("@([A-Z]+)@", lambda hit: words[hit[1]], text)
    found["README.md"] += found.pop(_AFTER)
    found["broker.json"] = broker_definitions(name, "/")
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
