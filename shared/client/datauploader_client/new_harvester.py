"""The beginning of a harvester: a folder that works at once, to be changed into what one needs."""

import json
import re
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from datauploader.errors import BadRequest
from datauploader.messaging.definitions import BrokerUser, plug_in_definitions
from datauploader.messaging.rights import Role
from datauploader.wording import safe
from datauploader_client.new_package import write_package


def broker_definitions(name: str, vhost: str) -> str:
    """Write what a broker needs for a harvester, as a file to import.

    Raises:
        BadRequest: no harvester can have this name.
    """
    check_name(name, "harvester")
    user = BrokerUser(name, "harvester", harvester=name)
    return json.dumps(plug_in_definitions(user, vhost=vhost), indent=2) + "\n"


def check_name(name: str, kind: str, *, reserved: Collection[str] = ()) -> None:
    """Refuse a name that no plug-in of this kind can have, because a user, a queue and a package are called by it.

    Raises:
        BadRequest: it is not written so, or is a service's or one of the `reserved` ones.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name) or name in {*get_args(Role), *reserved}:
        raise BadRequest(
            f"{safe(name)} cannot be the name of a {kind}",
            "Write small letters, digits, - and _, a letter first, such as spec; not what a service is called.",
        )


def write_harvester(name: str, folder: Path, *, command: bool) -> list[str]:
    """Write the folder of a harvester in Python, or of one that starts a program; return the names of its files.

    Raises:
        BadRequest: the name cannot be, or the folder holds something.
    """
    check_name(name, "harvester")
    service, module = f"{name}-harvester", f"{name}_harvester".replace("-", "_")
    words = {
        "NAME": name, "SERVICE": service, "MODULE": module, "VERSION": version("ceric-datauploader-core"),
        "RUN": "harvester.toml" if command else service,
    }  # fmt: skip
    broker = {"broker.json": broker_definitions(name, "/")}
    return write_package(folder, ("command" if command else "python", "harvester", "common"), words, also=broker)
