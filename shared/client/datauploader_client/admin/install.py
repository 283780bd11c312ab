"""Install a server: the answers of the one who installs become .env, the configuration and the first account."""

import ipaddress
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from datauploader.contracts.address import Station
from datauploader.errors import BadRequest, ConfigurationError
from datauploader_client.admin.accounts import add_account
from datauploader_client.admin.files import write_file
from datauploader_client.admin.site import (
    ACCOUNTS_FILE,
    AUTHORITY,
    CA,
    CONFIG,
    SANDBOX_SECRETS,
    Site,
    alone,
    prepare,
    write_site,
)  # fmt: skip

SANDBOX_STATION = "sandbox.xrd1.ws01"
SANDBOX_STORE = "storage"
"""The volume of docker-compose.yml with what the sandbox stores."""
TLS = ("acme", "files", "none")
GIVEN_SECRETS = ("VUO_SECRET", "ARCHIVE_SECRET_KEY", "OIDC_CLIENT_SECRET", "ACCOUNT_PASSWORD")
"""Secrets that whoever installs gives: lines of .env, and the first account's password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What only the facility knows; "" leaves a thing as it is, or as the examples have it."""

    station: str = ""
    """This server's own, as `facility.beamline.station`."""
    host: str = ""
    """The name under which people and stations reach the server."""
    tls: str = ""
    """Where certificates come from: `acme`, `files`, or `none` where the facility's own proxy has them."""
    acme_email: str = ""
    ca_file: Path | None = None
    timezone: str = ""
    data_dir: str = ""
    store_dir: str = ""
    """Where this server has what the storage has, for harvesters in containers."""
    endpoint: str = ""
    """Of the storage, S3."""
    bucket: str = ""
    access_key_id: str = ""
    office: str = ""
    """Address of the user office, VUO."""
    account: str = ""
    """Name of the first operator."""
    account_id: str = ""
    """Who that is in the user office."""
    secrets: Mapping[str, str] | None = None
    sandbox: bool = False


def install(site: Site, answers: Answers) -> Site:
    """Write everything; what is there and was not answered anew stays.

    Raises:
        BadRequest: an answer cannot be.
        ConfigurationError: a file cannot be written.
    """
    values = _values(site, answers)
    site = site.with_values(**values)
    registered = site.registrations
    site = site.registering(
        stations=tuple(dict.fromkeys((site.here, *registered.stations))),
        harvesters=tuple(dict.fromkeys((*registered.harvesters, *(("nexus",) if answers.sandbox else ())))),
        removed=tuple(one for one in registered.removed if one != site.here),
    )
    prepare(site.folder)
    with alone(site):
        if answers.ca_file:
            _take_authority(answers.ca_file, site.folder / "config" / CA)
        if answers.account:
            path, password = site.folder / ACCOUNTS_FILE, (answers.secrets or {}).get("ACCOUNT_PASSWORD", "")
            add_account(path, answers.account, password, user_id=answers.account_id, role="operator")
        _write_configuration(site, answers)
        site, _ = write_site(site)
    return site


def left_to_do(site: Site) -> list[str]:
    """Say what stands in no file yet and a facility cannot do without."""
    values, found = site.values, []
    if not values.get("VUO_SECRET"):
        found.append("VUO_SECRET in .env: the secret that the user office and the catalog service share")
    text = (site.folder / CONFIG).read_text(encoding="utf-8")
    if re.search(r'(?m)^[^#]*"https?://[^"]*\.example\.org', text):
        found.append(f"the addresses of example.org in {site.folder / CONFIG}")
    if values.get("CERTIFICATES") == "files":
        missing = [name for name in ("server.crt", "server.key") if not (site.folder / "certificates" / name).exists()]
        found += [f"the file {site.folder / 'certificates' / name}" for name in missing]
    return found


def _values(site: Site, answers: Answers) -> dict[str, str]:
    known = site.values
    default = SANDBOX_STATION if answers.sandbox else ""
    text = answers.station or site.here or ".".join(known.get(name, "") for name in ("FACILITY", "BEAMLINE", "STATION"))
    try:
        station = Station.parse(text if text.strip(".") else default)
    except ValueError as error:
        raise BadRequest(
            f"no station can be called {text!r}: {str(error).splitlines()[0]}",
            "Say --station facility.beamline.station, each word of a-z, 0-9, _ and -.",
        ) from None
    found = {
        "FACILITY": station.facility, "BEAMLINE": station.beamline, "STATION": station.station,
        "STATION_USER": station.key,
    }  # fmt: skip
    if answers.host:
        found |= _addresses(answers, known)
    if answers.ca_file:
        found["CA_FILE"] = AUTHORITY
    given = {"TIMEZONE": answers.timezone, "DATA_DIR": answers.data_dir, "ACME_EMAIL": answers.acme_email}
    given["STORE_DIR"] = answers.store_dir
    given |= {name: word for name, word in (answers.secrets or {}).items() if name != "ACCOUNT_PASSWORD"}
    found |= {name: word for name, word in given.items() if word}
    if answers.sandbox:
        found |= {name: known.get(name) or secrets.token_urlsafe(32) for name in SANDBOX_SECRETS}
        found["STORE_DIR"] = known.get("STORE_DIR") or SANDBOX_STORE
    return found


def _addresses(answers: Answers, known: Mapping[str, str]) -> dict[str, str]:
    host, before = answers.host, known.get("CERTIFICATES") or ("none" if known.get("PUBLIC_HOST") else "acme")
    tls = answers.tls or before
    if urlsplit(f"https://{host}").hostname != host.lower() or not re.fullmatch(r"[A-Za-z0-9.-]+", host):
        raise BadRequest(f"{host!r} is not the name of a host", "Write it like upload.facility.eu, without https://.")
    if tls not in TLS:
        raise BadRequest(f"certificates come from {', '.join(TLS)}, not from {tls!r}")
    front = ipaddress.ip_network(known.get("FRONT_SUBNET") or FRONT)
    inside = tls != "none"
    profiles = [one for one in known.get("COMPOSE_PROFILES", "").split(",") if one not in ("", "tls")]
    return {
        "PUBLIC_URL": f"https://{host}", "PUBLIC_HOST": host, "BROKER_PUBLIC_URL": f"amqps://{host}:5671",
        "CERTIFICATES": tls if inside else "", "COMPOSE_PROFILES": ",".join([*profiles, *(["tls"] if inside else [])]),
        # who stands in front: Caddy, which has this address, or a proxy of this machine, which comes from the first
        "TRUSTED_PROXIES": json.dumps([str(front[2 if inside else 1])]),
        "CADDY_ADDRESS": str(front[2]), "AMQPS_BIND": "0.0.0.0" if inside else "",  # noqa: S104
    }  # fmt: skip


FRONT = "172.30.114.0/24"
"""The network that publishes ports, unless FRONT_SUBNET says otherwise; docker-compose.yml has the same."""


def _take_authority(source: Path, place: Path) -> None:
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {error}") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigurationError(f"{source} holds no certificate (PEM)")
    write_file(place, text, 0o644)


def _write_configuration(site: Site, answers: Answers) -> None:
    path = site.folder / CONFIG
    if not path.exists():
        shutil.copy(site.root / "deploy" / ("sandbox.toml" if answers.sandbox else "datauploader.example.toml"), path)
        path.chmod(0o644)
    text = path.read_text(encoding="utf-8")
    wanted = {
        "endpoint": answers.endpoint, "base": answers.bucket, "access_key_id": answers.access_key_id,
        "base_url": answers.office,
    }  # fmt: skip
    for name, word in wanted.items():
        if word:
            line, found = f"{name} = {json.dumps(word, ensure_ascii=False)}", re.compile(rf"(?m)^{name} = \S+")
            if not found.search(text):
                raise ConfigurationError(f"{path} has no line `{name} = …`: write it there by hand, or remove the file")
            text = found.sub(line.replace("\\", r"\\"), text, count=1)
    write_file(path, text, 0o644)
