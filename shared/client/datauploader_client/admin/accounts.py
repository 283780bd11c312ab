"""Local accounts: the gateway reads their file again when it changes."""

import json
import tomllib
from pathlib import Path

from datauploader.errors import BadRequest, ConfigurationError
from datauploader_client.admin.files import write_file

NO_ACCOUNTS = """\
# Local accounts of the gateway, beside those of the user office; a change counts a second after it was written.
# `datauploader admin add-account NAME` adds one. Without a password an entry only gives a role to somebody.
# [[account]]
# name = "anna"
# user_id = "1234"              # who this is in the user office
# password = "$argon2id$…"      # an argon2 hash
# role = "operator"             # user, staff (of the beamlines below) or operator
# beamlines = ["elettra.xrd1"]
"""
LEAST = 12
"""Characters of a password, at least."""


def add_account(path: Path, name: str, password: str, *, user_id: str, role: str) -> bool:
    """Add an entry to the accounts; tell whether it was new: one of this name stays as it is.

    Raises:
        BadRequest: the password is too short.
        ConfigurationError: the file is wrong, or no hash can be made here.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else NO_ACCOUNTS
    try:
        known = tomllib.loads(text).get("account", [])
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the accounts file {path} is not valid TOML: {error}") from error
    if any(one.get("name") == name for one in known):
        return False
    if len(password) < LEAST:
        raise BadRequest(f"the password of {name} has fewer than {LEAST} characters")
    fields = {"name": name, "user_id": user_id or name, "password": _hash(password), "role": role}
    entry = "".join(f"{key} = {json.dumps(word, ensure_ascii=False)}\n" for key, word in fields.items())
    write_file(path, f"{text.rstrip()}\n\n[[account]]\n{entry}", 0o644)
    return True


def _hash(password: str) -> str:
    try:
        from argon2 import PasswordHasher  # noqa: PLC0415 - workstations do without it
    except ImportError:
        raise ConfigurationError(
            "passwords cannot be hashed here: run this in the gateway's image, as ./admin does, or install "
            "ceric-datauploader-gateway beside it"
        ) from None
    return PasswordHasher().hash(password)
