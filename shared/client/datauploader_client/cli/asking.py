"""The questions of `datauploader admin install`, with what is known already as the answer that Enter gives."""

import sys
from dataclasses import replace
from pathlib import Path

import typer

from datauploader.errors import BadRequest
from datauploader_client.admin.install import Answers
from datauploader_client.admin.site import Site


def ask_answers(site: Site, given: Answers) -> Answers:
    """Ask for everything that was not given, on a terminal.

    Raises:
        BadRequest: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise BadRequest("there is nobody to ask", "Give what is needed as options, and --yes.")
    known = site.values
    host = given.host or _ask("Name of this server, as in https://NAME", known.get("PUBLIC_HOST", ""))
    tls = given.tls or _ask(
        "Certificates: acme (fetched by itself), files (you have them), none (a proxy of yours has them)",
        known.get("CERTIFICATES") or "acme",
    )
    secrets = dict(given.secrets or {})
    answers = replace(
        given,
        station=given.station or _ask("This server's own station, facility.beamline.station", site.here),
        host=host,
        tls=tls,
        acme_email=given.acme_email
        or (_ask("Mail address for the certificate authority", known.get("ACME_EMAIL", "")) if tls == "acme" else ""),
        ca_file=given.ca_file or _path(_ask("File with the certificate of your own authority, if you have one", "")),
        timezone=given.timezone or _ask("Time zone, such as Europe/Rome", known.get("TIMEZONE", "")),
        data_dir=given.data_dir or _ask("Folder that this server watches itself, if any", known.get("DATA_DIR", "")),
        store_dir=given.store_dir
        or _ask("Folder of this server with what the storage has, for harvesters, if any", known.get("STORE_DIR", "")),
        endpoint=given.endpoint or _ask("Address of the S3 storage, https://…", ""),
        bucket=given.bucket or _ask("Bucket there", ""),
        access_key_id=given.access_key_id or _ask("Name of the key to it", ""),
        office=given.office or _ask("Address of the user office (VUO), https://…", ""),
        account=given.account or _ask("Name of the first operator's account", ""),
        secrets=secrets,
    )
    asked = {"ARCHIVE_SECRET_KEY": "Secret of the key to the storage", "VUO_SECRET": "Secret shared with VUO"}
    for name, words in asked.items():
        if not secrets.get(name) and not known.get(name):
            secrets[name] = _ask(words, "", hidden=True)
    if answers.account and not secrets.get("ACCOUNT_PASSWORD"):
        secrets["ACCOUNT_PASSWORD"] = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return answers


def _ask(what: str, known: str, *, hidden: bool = False) -> str:
    return str(typer.prompt(what, default=known, show_default=bool(known), hide_input=hidden, err=True)).strip()


def _path(text: str) -> Path | None:
    return Path(text) if text else None
