"""The files of a facility's server: `.env` beside docker-compose.yml, and the folder of the site with what it mounts.

Each folder of the site is mounted whole, because a container goes on to see the former file where a single one is
mounted and an editor replaces it. Which folder has what for whom is in docs/deployment.md.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from datauploader.contracts.address import CONSUMER, Station
from datauploader.errors import ConfigurationError, StateInUse
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.messaging.rights import Role
from datauploader.reliability.process_lock import FolderLock
from datauploader.runtime.registrations import Registrations
from datauploader_client.admin.accounts import NO_ACCOUNTS
from datauploader_client.admin.files import parse_env, quoted, read_env, render_env, write_file
from datauploader_client.admin.foreign import with_foreign

OWN_USERS: Mapping[str, tuple[Role, str]] = {
    "catalog": ("catalog", "BROKER_CATALOG_PASSWORD"),
    "gateway": ("gateway", "BROKER_GATEWAY_PASSWORD"),
    "operations": ("operations", "BROKER_OPERATIONS_PASSWORD"),
    "operator": ("operator", "BROKER_OPERATOR_PASSWORD"),
    "administrator": ("administrator", "BROKER_ADMINISTRATOR_PASSWORD"),
    "nexus": ("harvester", "BROKER_NEXUS_PASSWORD"),
}
"""Broker users of the server itself, and the lines of .env with their passwords."""
SECRETS = (*(line for _, line in OWN_USERS.values()), "BROKER_STATION_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD")
SANDBOX_SECRETS = ("VUO_SECRET", "ARCHIVE_SECRET_KEY")
"""Secrets that a real facility gets from others, and only the sandbox makes."""
CONFIG, ACCOUNTS_FILE = "config/datauploader.toml", "accounts/accounts.toml"
REGISTRATIONS, DEFINITIONS, REDIS_RULES = "config/registrations.json", "broker/definitions.json", "redis/users.acl"
_FORMER = {
    "datauploader.toml": CONFIG, "accounts.toml": ACCOUNTS_FILE, "definitions.json": DEFINITIONS,
    "redis.acl": REDIS_RULES, "tls": "certificates",
}  # fmt: skip
"""Where files lay in sites of the release before, and where they lie now."""
CA = "ca.crt"
"""The certificate of the facility's own authority, as it is called everywhere."""
AUTHORITY = f"/etc/datauploader/{CA}"
"""Where containers and stations see it."""
ARCHIVE_SECRET = "DATAUPLOADER_REMOTES__ARCHIVE__SECRETS__SECRET_ACCESS_KEY"  # noqa: S105 - the name of a line
"""The line of a station's file with the secret of the remote `archive`."""
_FOLDERS = (
    "config", "accounts", "broker", "redis", "certificates", "stations", "harvesters", "consumers", "monitoring",
)  # fmt: skip
_WITHIN = "amqp://rabbitmq:5672"
"""The broker's address for a plug-in that runs beside it."""


_CONSUMERS = f"{CONSUMER}."


def is_consumer(name: str) -> bool:
    """Tell whether an account at the broker is a consumer's."""
    return name.startswith(_CONSUMERS) and name.count(".") == 1


def _kind(name: str) -> str:
    """Tell what a plug-in is, which is also the second half of its container's name."""
    return "consumer" if is_consumer(name) else "harvester"


@dataclass(frozen=True, slots=True)
class Site:
    """What a server's files say: the values of .env, and the registrations."""

    root: Path
    """The folder with docker-compose.yml."""
    env: Path
    values: Mapping[str, str]
    registrations: Registrations

    @property
    def folder(self) -> Path:
        """The folder of the site."""
        return self.root / (self.values.get("SITE_DIR") or "deploy/site")

    @property
    def here(self) -> str:
        """This server's own station."""
        return self.values.get("STATION_USER", "")

    @property
    def ca_file(self) -> Path | None:
        """The certificate of the facility's own authority; CA_FILE is where containers see it."""
        name = self.values.get("CA_FILE", "")
        return self.folder / "config" / PurePosixPath(name).name if name else None

    def file_of(self, name: str) -> Path:
        """Return the file that a station or a plug-in elsewhere needs."""
        if is_consumer(name):
            return self.folder / "consumers" / f"{name.removeprefix(_CONSUMERS)}.env"
        return self.folder / ("stations" if "." in name else "harvesters") / f"{name}.env"

    def targets_of(self, name: str) -> Path:
        """Return the file that tells Prometheus where a plug-in in a container is asked."""
        return self.folder / "monitoring" / f"{name.removeprefix(_CONSUMERS)}-{_kind(name)}.targets.yml"

    def with_values(self, **values: str) -> "Site":
        """Return the same with other lines of .env."""
        return replace(self, values=dict(self.values) | values)

    def registering(self, **lists: Sequence[object]) -> "Site":
        """Return the same with other registrations."""
        return replace(self, registrations=self.registrations.model_copy(update=lists))


def read_site(root: Path, env: Path | None = None) -> Site:
    """Read what is there; of a site of the release before, too.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    env = env or root / ".env"
    values = read_env(env)
    known = values.pop("STATIONS", "")
    site = Site(root, env, values, Registrations())
    path = site.folder / REGISTRATIONS
    try:
        if path.exists():
            return replace(site, registrations=Registrations.model_validate_json(path.read_bytes()))
        return site.registering(stations=tuple(Station.parse(text).key for text in json.loads(known or "[]")))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the registrations cannot be read from {path}: {error}") from error


def write_site(
    site: Site, passwords: Mapping[str, str] | None = None, *, within: Collection[str] = ()
) -> tuple[Site, dict[str, Any]]:
    """Write everything that follows from these values and registrations; return them completed, and the definitions.

    What is there already stays: secrets, and what somebody has added to the definitions. `passwords` are new ones; the
    plug-ins `within` run in containers beside the broker.

    Raises:
        ConfigurationError: something cannot be written.
    """
    new = dict(passwords or {})
    lines = {OWN_USERS[name][1]: word for name, word in new.items() if name in OWN_USERS}
    lines |= {"BROKER_STATION_PASSWORD": new[site.here]} if site.here in new else {}
    values = dict(site.values) | lines
    for name in SECRETS:
        values[name] = values.get(name) or secrets.token_urlsafe(32)
    site = replace(site, values=values)
    template = site.root / ".env.example"
    write_file(site.env, render_env(template.read_text(encoding="utf-8") if template.exists() else "", values), 0o600)
    site = replace(site, values=read_env(site.env))  # with the template's defaults
    prepare(site.folder)
    words = _passwords(site) | new
    document = _definitions(site, words)
    write_file(site.folder / DEFINITIONS, json.dumps(document, indent=1) + "\n", 0o644)
    write_file(site.folder / REDIS_RULES, redis_rules(site.values["REDIS_PASSWORD"]), 0o644)
    for name in site.registrations.accounts:
        if name not in (site.here, *OWN_USERS):
            inside = name in within or f"@{_WITHIN.partition('://')[2]}/" in _read(site.file_of(name))
            text = file_text(site, name, words[name], within=inside)
            write_file(site.file_of(name), _with_kept(site, name, text), 0o600)
            if inside:
                write_file(site.targets_of(name), _targets(name), 0o644)
    if site.ca_file:
        write_file(site.folder / "stations" / CA, _read(site.ca_file), 0o644)
    if not (site.folder / ACCOUNTS_FILE).exists():
        write_file(site.folder / ACCOUNTS_FILE, NO_ACCOUNTS, 0o644)
    # last, because the gateway reads it at once: what it names is there then
    write_file(site.folder / REGISTRATIONS, site.registrations.model_dump_json(indent=1) + "\n", 0o644)
    return site, document


def prepare(folder: Path) -> None:
    """Make the folders of a site, and move there what a former release kept elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # the files in it must be readable by the containers' users, the folder to nobody
    for former, now in _FORMER.items():
        if (folder / former).exists() and not (folder / now).exists():
            (folder / now).parent.mkdir(exist_ok=True, mode=0o755)
            (folder / former).rename(folder / now)
    for name in _FOLDERS:
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0o755)


@contextmanager
def alone(site: Site) -> Iterator[None]:
    """Keep others from changing the same site meanwhile.

    Raises:
        StateInUse: somebody does so now.
    """
    try:
        lock = FolderLock(site.folder, "admin")
    except StateInUse as error:
        raise StateInUse(
            f"somebody else changes the site {site.folder} at this moment; wait until it is done"
        ) from error
    try:
        yield
    finally:
        lock.release()


def file_text(site: Site, name: str, password: str, *, within: bool = False) -> str:
    """Write the environment of a station or plug-in elsewhere; its machine needs nothing else that is secret."""
    scheme, _, place = (_WITHIN if within else site.values["BROKER_PUBLIC_URL"]).partition("://")
    trusted = "" if within or site.ca_file is None or "cafile=" in place else f"?cafile={AUTHORITY}"
    address, _, query = place.partition("?")
    broker = f"{scheme}://{name}:{password}@{address.rstrip('/')}/%2F{f'?{query}' if query else trusted}"
    if is_consumer(name):
        (own,) = [one for one in site.registrations.consumers if one.account == name]
        return (
            f"# The consumer {own.name}: the environment of its process, mode 0600.\n"
            f"DATAUPLOADER_FACILITY={site.values['FACILITY']}\nDATAUPLOADER_BROKER={broker}\n"
            f"DATAUPLOADER_CONSUMERS_EVENTS={','.join(own.events)}\nCONSUMER_PASSWORD={password}\n"
        )
    if "." in name:
        station = Station.parse(name)
        words = (station.facility, station.beamline, station.station)
        head = f"# The station {name}: belongs into /etc/datauploader/station.env of its machine, mode 0600.\n"
        names = "".join(
            f"DATAUPLOADER_{key}={word}\n" for key, word in zip(("FACILITY", "BEAMLINE", "STATION"), words, strict=True)
        )
        trust = f"SSL_CERT_FILE={AUTHORITY}\n" if site.ca_file else ""
        return f"{head}{names}DATAUPLOADER_BROKER={broker}\nSTATION_PASSWORD={password}\n{trust}"
    head = f"# The harvester {name}: the environment of its process, mode 0600.\n"
    return (
        f"{head}DATAUPLOADER_FACILITY={site.values['FACILITY']}\nDATAUPLOADER_BROKER={broker}\n"
        f"HARVESTER_PASSWORD={password}\n"
    )


def _with_kept(site: Site, name: str, text: str) -> str:
    """Add what the file has besides, such as settings of a consumer or a storage's key of the station's own."""
    written, kept = parse_env(text), read_env(site.file_of(name))
    if "." in name and not is_consumer(name) and site.values.get("ARCHIVE_SECRET_KEY"):
        kept = {ARCHIVE_SECRET: site.values["ARCHIVE_SECRET_KEY"]} | kept
    rest = {line: word for line, word in kept.items() if line not in written}
    return text + "".join(f"{line}={quoted(line, word)}\n" for line, word in rest.items())


def _targets(name: str) -> str:
    service = f"{name.removeprefix(_CONSUMERS)}-{_kind(name)}"
    return f'[{{targets: ["{service}:9464"], labels: {{job: {service}}}}}]\n'


def redis_rules(password: str) -> str:
    """Write the access rules: the gateway keeps to its own keys and to harmless commands; health may only ping."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return (
        "user default off resetpass resetkeys resetchannels -@all\n"
        "user health on nopass resetkeys resetchannels -@all +ping\n"
        f"user gateway on #{digest} resetchannels ~datauploader:* +@all -@admin -@dangerous -@scripting +info\n"
    )


def password_hash(password: str, known: str = "") -> str:
    """Hash as RabbitMQ does: four bytes of salt, then SHA-256 over salt and password, in base64; or keep one that fits.

    See https://www.rabbitmq.com/docs/passwords#computing-password-hash.
    """
    salt = base64.b64decode(known)[:4] if known else secrets.token_bytes(4)
    made = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return made if not known or hmac.compare_digest(made, known) else password_hash(password)


def _passwords(site: Site) -> dict[str, str]:
    """Return the password of each broker user: the server's own from .env, the others' from their files or new ones."""
    own = {name: site.values[line] for name, (_, line) in OWN_USERS.items()}
    own |= {site.here: site.values["BROKER_STATION_PASSWORD"]} if site.here else {}
    found = {}
    for name in site.registrations.accounts:
        kept = read_env(site.file_of(name))
        word = kept.get("STATION_PASSWORD") or kept.get("HARVESTER_PASSWORD") or kept.get("CONSUMER_PASSWORD")
        found[name] = word or secrets.token_urlsafe(32)
    return found | own


def _definitions(site: Site, passwords: Mapping[str, str]) -> dict[str, Any]:
    text = _read(site.folder / DEFINITIONS)
    try:
        former: dict[str, Any] = json.loads(text) if text else {}
    except ValueError as error:
        raise ConfigurationError(
            f"{site.folder / DEFINITIONS} is not valid JSON ({error}): mend or remove it"
        ) from error
    hashes = {user["name"]: user.get("password_hash", "") for user in former.get("users", [])}

    def user(name: str, role: Role, *, station: Station | None = None) -> BrokerUser:
        harvester = name if role == "harvester" else ""
        hashed = password_hash(passwords[name], hashes.get(name, ""))
        return BrokerUser(name, role, station=station, harvester=harvester, password_hash=hashed)

    stations = [Station.parse(name) for name in site.registrations.stations]
    users = [user(name, role) for name, (role, _) in OWN_USERS.items()]
    users += [user(station.key, "station", station=station) for station in stations]
    users += [user(name, "harvester") for name in site.registrations.harvesters if name not in OWN_USERS]
    users += [
        BrokerUser.of_consumer(
            one.name, one.events, reads_log=one.reads_log,
            password_hash=password_hash(passwords[one.account], hashes.get(one.account, "")),
        )
        for one in site.registrations.consumers
    ]  # fmt: skip
    gone = [Station.parse(name) for name in site.registrations.removed]
    return with_foreign(
        definitions(stations, users), former,
        users={one.name for one in users} | set(map(_account, gone)),
    )  # fmt: skip


def _account(gone: Station) -> str:
    """Return the broker's user of what was registered under this address."""
    if not gone.is_plug_in:
        return gone.key
    return f"{_CONSUMERS}{gone.station}" if gone.beamline == CONSUMER else gone.station


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
