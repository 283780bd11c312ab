"""Commands for whoever runs a facility's server: add and remove stations and plug-ins, change passwords."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from datauploader.contracts.address import CONSUMER
from datauploader.errors import BadRequest, ConfigurationError
from datauploader.wording import count
from datauploader_client.admin import accounts
from datauploader_client.admin.certificates import CertificateCopy
from datauploader_client.admin.files import read_env
from datauploader_client.admin.install import GIVEN_SECRETS, Answers, install, left_to_do
from datauploader_client.admin.management import BrokerManagement
from datauploader_client.admin.registering import Registering
from datauploader_client.admin.site import ACCOUNTS_FILE, ARCHIVE_SECRET, CA, Site, read_site
from datauploader_client.cli import screen
from datauploader_client.cli.asking import ask_answers
from datauploader_client.cli.options import AsJson

app = typer.Typer(no_args_is_help=True)

OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Write the files only; the broker loads them when it starts.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A station, facility.beamline.station, or a plug-in.")]
MessagesOption = Annotated[
    bool, typer.Option("--with-messages", help="Delete its queues even if messages are waiting in them.")
]


CERTIFICATES_LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Which server is meant."""

    folder: Path
    env: Path | None
    management: str


@app.callback()
def choose(
    context: typer.Context,
    *,
    folder: Annotated[
        Path,
        typer.Option(envvar="DATAUPLOADER_ADMIN_FOLDER", help="The folder with docker-compose.yml and .env."),
    ] = Path(),
    env: Annotated[Path | None, typer.Option(help="Another file than .env of that folder.")] = None,
    management: Annotated[
        str,
        typer.Option(
            envvar="DATAUPLOADER_ADMIN_MANAGEMENT",
            help="Address of RabbitMQ's management API; if not given, the one that .env publishes on this machine.",
        ),
    ] = "",
) -> None:
    """Administer a facility's server: stations, harvesters, consumers, passwords."""
    context.obj = Place(folder.resolve(), env.resolve() if env else None, management)


@contextmanager
def _registering(context: typer.Context, *, offline: bool) -> Iterator[Registering]:
    place: Place = context.obj
    site = read_site(place.folder, place.env)
    if not site.here:
        raise ConfigurationError(f"{site.env} names no station, so nothing is installed here: run ./install first")
    if offline:
        yield Registering(site, None)
        return
    with open_management(site, place.management) as broker:
        yield Registering(site, broker)


def open_management(site: Site, address: str) -> BrokerManagement:
    """Speak to the broker of this site as its administrator."""
    bind = site.values.get("MANAGEMENT_BIND", "")
    host = bind if bind not in ("", "0.0.0.0") else "127.0.0.1"  # noqa: S104 - where Compose publishes it
    url = address or f"http://{host}:{site.values.get('MANAGEMENT_PORT') or 15672}"
    password = site.values.get("BROKER_ADMINISTRATOR_PASSWORD", "")
    return BrokerManagement(url, "administrator", password, ca_file=site.ca_file)


@app.command("install")
def install_(
    context: typer.Context,
    *,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="A facility in a box, to try it: nothing is asked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; what is not given stays open.")] = False,
    station: Annotated[str, typer.Option(help="This server's own station, facility.beamline.station.")] = "",
    host: Annotated[str, typer.Option(help="Name under which people and stations reach this server.")] = "",
    tls: Annotated[
        str, typer.Option(help="Certificates: acme (fetched), files (given), none (a proxy of yours has them).")
    ] = "",
    acme_email: Annotated[str, typer.Option(help="Where the certificate authority writes to.")] = "",
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) of the facility's own authority, to be trusted as well.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="The facility's time zone, such as Europe/Rome.")] = "",
    data_dir: Annotated[str, typer.Option(help="Folder of this machine that this server's station watches.")] = "",
    store_dir: Annotated[
        str, typer.Option(help="Folder of this machine with what the storage has, for harvesters in containers.")
    ] = "",
    endpoint: Annotated[str, typer.Option(help="Address of the S3 storage.")] = "",
    bucket: Annotated[str, typer.Option(help="Bucket there, and a path in it where wanted.")] = "",
    access_key_id: Annotated[str, typer.Option(help="Name of the key to it.")] = "",
    office: Annotated[str, typer.Option(help="Address of the user office (VUO).")] = "",
    account: Annotated[str, typer.Option(help="Name of the first operator's account.")] = "",
    account_id: Annotated[str, typer.Option(help="Who that is in the user office; if not given, the name.")] = "",
    secrets: Annotated[
        Path | None,
        typer.Option(help=f"File of lines NAME=value, with any of {', '.join(GIVEN_SECRETS)}."),
    ] = None,
) -> None:
    """Write all that this server needs, asking for what only the facility knows; what is there already stays."""
    place: Place = context.obj
    site = read_site(place.folder, place.env)
    answers = Answers(
        station=station, host=host, tls=tls, acme_email=acme_email, ca_file=ca_file, timezone=timezone,
        data_dir=data_dir, store_dir=store_dir, endpoint=endpoint, bucket=bucket, access_key_id=access_key_id,
        office=office, account=account, account_id=account_id, secrets=_secrets(secrets), sandbox=sandbox,
    )  # fmt: skip
    if not (sandbox or yes):
        answers = ask_answers(site, answers)
    site = install(site, answers)
    screen.say(f"{site.env} and {site.folder} are written.")
    for sentence in left_to_do(site):
        screen.warn(f"Still to do: {sentence}.")
    profile = " --profile sandbox" if sandbox else ""
    screen.say(f"Then start it: docker compose{profile} up -d --build --wait")


def _secrets(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    if not path.is_file():
        raise BadRequest(f"{path} does not exist", "Write the secrets into a file that only you can read.")
    found = read_env(path)
    if unknown := found.keys() - set(GIVEN_SECRETS):
        raise BadRequest(f"{path} has {', '.join(sorted(unknown))}", f"It may have {', '.join(GIVEN_SECRETS)}.")
    return found


@app.command()
def add_account(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")],
    *,
    role: Annotated[str, typer.Option(help="user or operator.")] = "user",
    user_id: Annotated[str, typer.Option(help="Who this is in the user office; if not given, the name.")] = "",
) -> None:
    """Add a local account; the password is asked for, or read from standard input."""
    place: Place = context.obj
    if role not in ("user", "operator"):
        raise BadRequest(f"{role!r} is not a role", "Choose user or operator; staff needs beamlines, see the file.")
    site = read_site(place.folder, place.env)
    path = site.folder / ACCOUNTS_FILE
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} does not exist: run ./install first")
    if not accounts.add_account(path, name, screen.ask("Password", hidden=True), user_id=user_id, role=role):
        raise BadRequest(f"{path} has an account {name} already", "Change its lines there, or choose another name.")
    screen.say(f"{name} can sign in.")


@app.command()
def apply(context: typer.Context, *, offline: OfflineOption = False) -> None:
    """Write all files anew from .env and the registrations, and load the broker's definitions; after an upgrade."""
    with _registering(context, offline=offline) as registering:
        registering.apply()
        flags, others = registering.disabled_feature_flags(), registering.with_other_keys()
    if flags:
        screen.warn(
            f"RabbitMQ has feature flags that are not enabled ({', '.join(flags)}). Before its next upgrade: "
            "docker compose exec rabbitmq rabbitmqctl enable_feature_flag all"
        )
    _warn_of_keys(others)
    screen.say("Everything is written." if offline else "Everything is written, and the broker has it.")


@app.command("list")
def list_(context: typer.Context, *, offline: OfflineOption = False, json: AsJson = False) -> None:
    """Show who may sign in at the broker, and how many connections each has open."""
    with _registering(context, offline=offline) as registering:
        found, others = registering.listed(), registering.with_other_keys()
    if json:
        rows = [{"name": one.name, "kind": one.kind, "file": one.file, "connections": one.connections} for one in found]
        screen.as_json({"registrations": rows})
        return
    known = ("" if one.connections is None else str(one.connections) for one in found)
    screen.table(
        ("Name", "Kind", "Connections", "File"),
        [(one.name, one.kind, number, one.file) for one, number in zip(found, known, strict=True)],
        right=("Connections",),
    )
    _warn_of_keys(others)


def _warn_of_keys(stations: Sequence[str]) -> None:
    if stations:
        screen.warn(
            f"The files of {', '.join(stations)} have another key to the storage archive than .env. Where it is a "
            f"former one, remove its line {ARCHIVE_SECRET}, run ./admin apply, and bring the file to its computer."
        )


@app.command()
def add_station(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The station, as facility.beamline.station.")],
    *,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="A folder of that computer that it watches; may be given more than once."),
    ] = None,
    offline: OfflineOption = False,
) -> None:
    """Register a station: its account and queues at the broker, and the files for its computer."""
    with _registering(context, offline=offline) as registering:
        site = registering.add_station(name, watch or ())
    _tell(site, name.replace("/", "."), "is registered", offline=offline)


@app.command()
def add_harvester(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The harvester, such as spec.")],
    *,
    offline: OfflineOption = False,
    beside: Annotated[
        bool, typer.Option("--beside-broker", help="It runs in a container of this server's Compose project.")
    ] = False,
) -> None:
    """Register a harvester: its account and queue at the broker, and the file with its environment."""
    with _registering(context, offline=offline) as registering:
        site = registering.add_harvester(name, within=beside)
    _tell(site, name, "is registered", offline=offline, within=beside)


@app.command()
def add_consumer(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The consumer, such as notifier.")],
    *,
    events: Annotated[
        str, typer.Option(help="The events that it gets, separated by commas, such as dataset.completed.v1.")
    ],
    log: Annotated[
        bool, typer.Option("--log", help="It may read the event log as well, in which all events of 30 days are.")
    ] = False,
    offline: OfflineOption = False,
    beside: Annotated[
        bool, typer.Option("--beside-broker", help="It runs in a container of this server's Compose project.")
    ] = False,
) -> None:
    """Register a consumer, or change its events: its account and queue at the broker, and the file for its process."""
    kinds = [one.strip() for one in events.split(",") if one.strip()]
    if not kinds:
        raise BadRequest("--events names no event", "Write some, such as dataset.completed.v1,dataset.refused.v1.")
    with _registering(context, offline=offline) as registering:
        site = registering.add_consumer(name, kinds, reads_log=log, within=beside)
    _tell(site, f"{CONSUMER}.{name}", "is registered", offline=offline, within=beside)


@app.command()
def remove_station(context: typer.Context, name: Name, *, with_messages: MessagesOption = False) -> None:
    """Remove a station: its account, connections, file, and the queues in which nothing waits."""
    with _registering(context, offline=False) as registering:
        left = registering.remove(name.replace("/", "."), with_messages=with_messages)
    screen.say(f"{name} is removed; it cannot sign in any more.")
    if left:
        screen.warn(
            f"Messages wait in {', '.join(left)}. Look at them on the operators' page of RabbitMQ, then run this again "
            "with --with-messages to delete them."
        )


@app.command()
def remove_harvester(context: typer.Context, name: Name, *, with_messages: MessagesOption = False) -> None:
    """Remove a harvester: its account, connections, file, and the queues in which nothing waits."""
    remove_station(context, name, with_messages=with_messages)


@app.command()
def remove_consumer(context: typer.Context, name: Name, *, with_messages: MessagesOption = False) -> None:
    """Remove a consumer: its account, connections, file, and the queues in which nothing waits."""
    account = f"{CONSUMER}.{name.removeprefix(f'{CONSUMER}.')}"
    remove_station(context, account, with_messages=with_messages)


@app.command()
def rotate(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A station, a harvester, consumer.NAME, or a service, such as catalog."),
    ],
    *,
    offline: OfflineOption = False,
) -> None:
    """Change a password, and close the connections that were opened with the former one."""
    with _registering(context, offline=offline) as registering:
        site = registering.rotate(name.replace("/", "."))
    _tell(site, name.replace("/", "."), "has a new password", offline=offline)


@app.command(hidden=True)
def certificates(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The name that the certificate is for.")],
    *,
    fetched: Annotated[Path, typer.Option(help="Caddy's storage.")],
    given: Annotated[Path, typer.Option(help="Folder with certificates that were given.")],
    to: Annotated[Path, typer.Option(help="Folder where the broker reads them.")],
    mode: Annotated[str, typer.Option(help="acme or files.")] = "acme",
) -> None:
    """Copy the certificate to the broker whenever it has changed, until this is stopped; runs in a container."""
    copy, stopped = CertificateCopy(host, fetched, given if mode == "files" else None, to), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    while True:
        if copy.copy_changed():
            screen.say(f"The broker has another certificate for {host}.")
        if stopped.wait(CERTIFICATES_LOOK_S):
            return


def _tell(site: Site, name: str, what: str, *, offline: bool, within: bool = False) -> None:
    screen.say(f"{name} {what}." + (" The broker learns of it when it starts." if offline else ""))
    path = site.file_of(name)
    if within:
        screen.say(
            f"Its container reads {os.path.relpath(path, site.root)}; docs/{path.parent.name}.md says how to start it."
        )
    elif path.exists():
        trusted = [path.parent / CA] if path.parent.name == "stations" and site.ca_file else []
        files = [path, *(one for one in (path.with_suffix(".toml"), *trusted) if one.exists())]
        where = " and ".join(os.path.relpath(one, site.root) for one in files)
        screen.say(f"Bring {where} to its computer ({count(len(files), 'file')}, docs/deployment.md says where to).")
    else:
        services = "watcher transfer" if name == site.here else _CONTAINERS.get(name, name)
        if services:
            screen.say(f"Start again what uses it: docker compose up -d {services}")


_CONTAINERS = {"operations": "gateway", "operator": "", "administrator": "", "nexus": "nexus-harvester"}
"""The containers that know a user's password, where they are called otherwise; "" where none does."""
