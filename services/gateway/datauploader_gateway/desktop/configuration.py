"""The configuration that the answers to the first questions become."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from datauploader_gateway.auth.accounts import hash_password
from datauploader_gateway.desktop.answers import AnswerReader, WrongAnswers
from datauploader_gateway.desktop.place import DesktopFolder

STORAGE = "storage"
"""The name of the one remote."""
KINDS = {"local": "A folder of this computer", "webdav": "WebDAV", "s3": "S3", "sftp": "SFTP"}
CATALOGUES = {
    "vuo": "VUO",
    "scicat": "SciCat",
    "icat": "ICAT",
    "folder": "A folder (for a facility without a catalogue)",
}
SCICAT_SIGN_IN = {
    "": "With SciCat tokens only",
    "login": "With SciCat accounts",
    "ldap": "With the facility's directory (LDAP)",
}
FOLDER = "catalogue_folder"
"""The question which folder is the catalogue."""
MARK = "catalogue.json"
"""The file by which a folder is known as a catalogue (docs/catalogues/folder.md)."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the answers become."""

    document: dict[str, Any]
    """The configuration of all services."""
    accounts: str = ""
    """The content of the accounts file; "" where people sign in with the catalogue."""
    mark: Path | None = None
    """The file that makes an empty folder a catalogue; None where there is nothing to make."""

    def make_mark(self) -> None:
        """Make the chosen folder a catalogue, unless it is one.

        Raises:
            WrongAnswers: nothing can be written there.
        """
        if self.mark is None:
            return
        try:
            self.mark.write_text("{}\n", encoding="utf-8")
        except OSError as error:
            why = f"{self.mark.parent}: nothing can be written to this folder: {error.strerror}."
            raise WrongAnswers({FOLDER: why}) from error


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
        "catalogue": "vuo", "storage": "local",
        "facility": "facility", "beamline": "beamline", "station": name or "station",
        "webdav_vendor": "other", "s3_provider": "Other", "sftp_port": "22",
        "sftp_known_hosts": str(known_hosts) if known_hosts.exists() else "",
    }  # fmt: skip


def configuration(form: Mapping[str, str], place: DesktopFolder) -> Configuration:
    """Turn answers into the configuration of all services.

    Raises:
        WrongAnswers: some of them cannot be used.
    """
    reader = AnswerReader(form)
    kind = reader.text("catalogue")
    table = _catalogue(reader, kind)  # in the order of the page, because it leads to the first wrong answer
    remote, roots = _remote(reader), reader.folders("folders")
    document: dict[str, Any] = {
        **{name: reader.word(name) for name in ("facility", "beamline", "station")},
        "broker": "memory://" + (place.state / "events.log").as_posix(),
        "state_dir": str(place.state),
        "log_level": "WARNING",
        "remotes": {STORAGE: remote},
        "watcher": {"roots": roots},
        "gateway": {"redis": "memory://"},
    }
    if kind == "folder":
        return _with_folder(reader, table, document, place)
    if reader.problems:
        raise WrongAnswers(reader.problems)
    return Configuration(document | {"catalog": {"adapter": kind, kind: table}})


def _catalogue(reader: AnswerReader, kind: str) -> dict[str, str]:
    """Read how to reach the catalogue; what was not answered is left out."""
    table: dict[str, str] = {}
    match kind:
        case "vuo":
            table = {"base_url": reader.secure_url("catalogue_url"), "secret": reader.need("catalogue_secret")}
        case "scicat":
            table = {
                "base_url": reader.secure_url("scicat_url"), "username": reader.need("scicat_user"),
                "password": reader.need("scicat_password"), "contact_email": reader.mail("scicat_contact"),
                "people_login": reader.text("scicat_people"),
            }  # fmt: skip
            if table["people_login"] not in SCICAT_SIGN_IN:
                reader.wrong("scicat_people", "Choose how people sign in.")
        case "icat":
            table = {
                "base_url": reader.secure_url("icat_url"), "plugin": reader.need("icat_plugin"),
                "username": reader.need("icat_user"), "password": reader.need("icat_password"),
                "facility": reader.need("icat_facility"), "base_dir": "/{name}/{visit}",
                "people_plugin": reader.text("icat_people"),
                "dataset_page": reader.text("icat_page") and reader.url("icat_page"),
            }  # fmt: skip
            if table["dataset_page"] and "{dataset_id}" not in table["dataset_page"]:
                reader.wrong("icat_page", "Write {dataset_id} in the address, where the id of the dataset belongs.")
        case "folder":
            table = {
                "root": _catalogue_folder(reader), "name": reader.name("account_name"),
                "password": reader.new_password("account_password"),
            }  # fmt: skip
        case _:
            reader.wrong("catalogue", "Choose a catalogue.")
    return {name: text for name, text in table.items() if text}


def _catalogue_folder(reader: AnswerReader) -> str:
    """Read which folder is the catalogue, or becomes it."""
    text = reader.need(FOLDER)
    others = f"this folder has files in it, and is no catalogue. Choose an empty folder, or one with the file {MARK}."
    for is_right, sentence in ((Path.is_dir, "this folder does not exist; create it first."), (_can_be_used, others)):
        text = text and reader.path(FOLDER, text, is_right, sentence)
    return text


def _can_be_used(folder: Path) -> bool:
    return (folder / MARK).exists() or not any(folder.iterdir())


def _with_folder(
    reader: AnswerReader, table: Mapping[str, str], document: dict[str, Any], place: DesktopFolder
) -> Configuration:
    """Have a folder as the catalogue, and one local account, because a folder has no accounts of its own.

    Raises:
        WrongAnswers: some of the answers cannot be used.
    """
    root = table.get("root", "")
    remote = document["remotes"][STORAGE]
    taken = document["watcher"]["roots"] + ([remote["base"]] if remote.get("type") == "local" else [])
    if root and any(Path(root).is_relative_to(folder) for folder in taken if folder):
        reader.wrong(FOLDER, f"{root}: choose a folder outside the storage and the folders to upload from.")
    if reader.problems:
        raise WrongAnswers(reader.problems)
    document["catalog"] = {"adapter": "folder", "create_investigations": True}
    document["folder_catalogue"] = {"root": root}
    document["gateway"] |= {"accounts": str(place.accounts), "vuo": False}
    account = {"name": table["name"], "user_id": table["name"], "password": hash_password(table["password"])}
    mark = Path(root) / MARK
    return Configuration(document, tomli_w.dumps({"account": [account]}), None if mark.exists() else mark)


def _remote(reader: AnswerReader) -> dict[str, Any]:
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
