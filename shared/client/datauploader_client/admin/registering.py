"""Add, remove and rotate: what belongs to a station or plug-in, in the files and at the running broker.

The order is always the same: see that the broker lets us in, write the files, load the definitions, then close or
delete what belongs to the one who is changed, by name. So an interrupted change is completed by running it again.
"""

import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import tomli_w

from datauploader.contracts.address import CONSUMER, Station
from datauploader.contracts.registry import topic
from datauploader.errors import BadRequest, ConfigurationError
from datauploader.messaging.blueprint import consumed, facility
from datauploader.messaging.rights import BrokerUser
from datauploader.messaging.topology import EVENTS, consumer_queue, harvester_queue
from datauploader.plugins.consumer import event_kind
from datauploader.runtime.registrations import RegisteredConsumer
from datauploader_client.admin.files import read_env, write_file
from datauploader_client.admin.management import BrokerManagement
from datauploader_client.admin.site import (
    ARCHIVE_SECRET,
    AUTHORITY,
    CONFIG,
    OWN_USERS,
    Site,
    alone,
    is_consumer,
    write_site,
)
from datauploader_client.new_harvester import check_name

_ON_LINUX, _ON_WINDOWS = "/etc/datauploader/datauploader.toml", r"C:\ProgramData\DataUploader\datauploader.toml"
_RESERVED = {*OWN_USERS, "guest", "anonymous"} - {"nexus"}


@dataclass(frozen=True, slots=True)
class Registration:
    """Somebody who signs in at the broker."""

    name: str
    kind: str
    """`station`, `harvester`, `consumer` or `server`."""
    file: str
    """Where the file is that its computer needs; "" where it needs none."""
    connections: int | None
    """How many it has open; None: the broker was not asked."""


class Registering:
    """Changes one site, and the broker that runs with it."""

    def __init__(self, site: Site, broker: BrokerManagement | None) -> None:
        """Change this site; without a broker only its files, which the broker loads when it starts."""
        self._site, self._broker = site, broker

    def apply(self) -> None:
        """Write all files anew from what is registered, and load the definitions."""
        self._change(self._site)

    def disabled_feature_flags(self) -> list[str]:
        """Name the broker's stable feature flags that its next release may miss; none without a broker."""
        return self._broker.disabled_feature_flags() if self._broker is not None else []

    def add_station(self, text: str, folders: Sequence[str] = ()) -> Site:
        """Register a station; one that is registered already stays as it is.

        With the folders that it watches its configuration is written, anew where there is one.

        Raises:
            BadRequest: this is no name of a station, or no folder of its computer.
            ConfigurationError: this server's configuration, which has the storages, cannot be read.
        """
        name = _station(text)
        configuration = _configuration(self._site, folders) if folders else {}
        known = self._site.registrations
        removed = tuple(one for one in known.removed if one != name)
        site = self._change(
            self._site.registering(stations=tuple(dict.fromkeys((*known.stations, name))), removed=removed)
        )
        if configuration:
            _write_configuration(site, name, configuration, windows=not _all_absolute(folders, PurePosixPath))
        return site

    def add_harvester(self, name: str, *, within: bool = False) -> Site:
        """Register a harvester; `within`: it runs in a container beside the broker.

        Raises:
            BadRequest: this is no name of a harvester.
        """
        check_name(name, "harvester", reserved=_RESERVED)
        known = self._site.registrations
        removed = tuple(one for one in known.removed if one != self._address(name))
        site = self._site.registering(harvesters=tuple(dict.fromkeys((*known.harvesters, name))), removed=removed)
        return self._change(site, within=(name,) if within else ())

    def add_consumer(self, name: str, events: Sequence[str], *, reads_log: bool = False, within: bool = False) -> Site:
        """Register a consumer, or change which events one gets that is registered.

        Raises:
            BadRequest: this is no name of a consumer.
            ConfigurationError: one of the events does not exist.
        """
        check_name(name, "consumer")
        kinds = tuple(dict.fromkeys(topic(event_kind(one)) for one in events))
        new, known = RegisteredConsumer(name=name, events=kinds, reads_log=reads_log), self._site.registrations
        site = self._site.registering(
            consumers=(*(one for one in known.consumers if one.name != name), new),
            removed=tuple(one for one in known.removed if one != self._address(new.account)),
        )
        site = self._change(site, within=(new.account,) if within else ())
        if self._broker is not None:
            queue = BrokerUser.of_consumer(name, kinds).queue
            self._broker.keep_bindings(queue.name, EVENTS, queue.bindings)
            if not reads_log and any(one.reads_log for one in known.consumers if one.name == name):
                self._broker.close_connections(new.account, "the administrator has changed what it may hear")
        return site

    def remove(self, name: str, *, with_messages: bool = False) -> list[str]:
        """Remove a station or plug-in: its user, its connections, its file, its queues; again where it is removed.

        Returns:
            The queues that were left because messages wait in them.

        Raises:
            BadRequest: it is not registered, or is this server's own.
        """
        known = self._site.registrations
        key = self._address(name)
        if name == self._site.here or name in OWN_USERS.keys() - known.harvesters:
            raise BadRequest(f"{name} belongs to this server and cannot be removed", "docs/deployment.md says why.")
        if name not in known.accounts and key not in known.removed:
            listed = ", ".join(known.accounts) or "none"
            raise BadRequest(f"{name} is not registered", f"Registered are: {listed}.")
        broker = self._required()
        site = self._site.registering(
            stations=tuple(one for one in known.stations if one != name),
            harvesters=tuple(one for one in known.harvesters if one != name),
            consumers=tuple(one for one in known.consumers if one.account != name),
            removed=tuple(dict.fromkeys((*known.removed, key))),
        )
        self._change(site)
        if name in OWN_USERS:  # the account of nexus belongs to the compose file
            return []
        for path in (site.file_of(name), site.file_of(name).with_suffix(".toml"), site.targets_of(name)):
            path.unlink(missing_ok=True)
        broker.delete_user(name)
        broker.close_connections(name, "removed by the administrator")
        left = []
        for queue in _queues(name):
            if not broker.has_queue(queue):
                continue
            if not with_messages and broker.holds_messages(queue):
                left.append(queue)
            else:
                broker.delete_queue(queue)
        return left

    def rotate(self, name: str) -> Site:
        """Give a user a new password, and close the connections that were opened with the former one.

        Raises:
            BadRequest: there is no such user.
        """
        known = self._site.registrations
        users = [*known.accounts, *(one for one in OWN_USERS if one not in known.harvesters)]
        if name not in users:
            raise BadRequest(f"{name} is not registered", f"Registered are: {', '.join(users)}.")
        configuration = self._site.file_of(name).with_suffix(".toml")
        password = secrets.token_urlsafe(32)
        site = self._change(self._site, passwords={name: password})
        if configuration.exists():  # that of a station on Windows has the password as well
            text = configuration.read_text(encoding="utf-8")
            write_file(configuration, re.sub(rf"(?<=//{re.escape(name)}:)[^@]*(?=@)", password, text), 0o600)
        if self._broker is not None:
            self._broker.close_connections(name, "the administrator has changed the password")
        return site

    def with_other_keys(self) -> list[str]:
        """Name the stations whose files have another key to the storage than .env: a former one, or their own."""
        key, known = self._site.values.get("ARCHIVE_SECRET_KEY"), self._site.registrations.stations
        held = {name: read_env(self._site.file_of(name)).get(ARCHIVE_SECRET) for name in known}
        return [name for name, word in held.items() if key and word and word != key]

    def listed(self) -> list[Registration]:
        """List who signs in at the broker, with their open connections where it is asked."""
        known, site = self._site.registrations, self._site
        own = [Registration(name, "server", "", self._open(name)) for name in OWN_USERS if name not in known.harvesters]
        kinds = [(name, "station") for name in known.stations]
        kinds += [(name, "harvester") for name in known.harvesters]
        kinds += [(one.account, "consumer") for one in known.consumers]
        return [
            Registration(
                name, kind, "" if name in (site.here, *OWN_USERS) else str(site.file_of(name)), self._open(name)
            )
            for name, kind in kinds
        ] + own  # fmt: skip

    def _open(self, name: str) -> int | None:
        return None if self._broker is None else len(self._broker.connections(name))

    def _change(self, site: Site, *, passwords: dict[str, str] | None = None, within: Sequence[str] = ()) -> Site:
        with alone(site):
            if self._broker is not None:
                self._broker.check()
            site, document = write_site(site, passwords, within=within)
            if self._broker is not None:
                self._broker.load(document)
            self._site = site
            return site

    def _required(self) -> BrokerManagement:
        if self._broker is None:
            raise BadRequest(
                "removing needs the running broker, which would go on to know the user",
                "Start it, and leave --offline out.",
            )
        return self._broker

    def _address(self, name: str) -> str:
        """Return the three words under which a broker's user reports how it is."""
        facility = self._site.values.get("FACILITY") or "facility"
        if is_consumer(name):
            return Station.of_consumer(facility, name.removeprefix(f"{CONSUMER}.")).key
        return name if "." in name else Station.of_harvester(facility, name).key


def _station(text: str) -> str:
    try:
        station = Station.parse(text)
    except ValueError as error:
        raise BadRequest(
            f"{text!r} cannot name a station: {str(error).splitlines()[0]}",
            "Write facility.beamline.station, each word of a-z, 0-9, _ and -.",
        ) from None
    if station.is_plug_in:
        raise BadRequest(f"no beamline is called {station.beamline}", f"It is added by: add-{station.beamline} NAME")
    return station.key


def _configuration(site: Site, folders: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a station: its folders, and the storages and the time zone of this server."""
    if not (_all_absolute(folders, PurePosixPath) or _all_absolute(folders, PureWindowsPath)):
        raise BadRequest(
            f"{', '.join(map(repr, folders))} cannot be folders of one computer",
            "Write each from the root on, such as /data/xrd1, or 'D:\\data' on Windows.",
        )
    path = site.folder / CONFIG
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    roots = {"roots": list(dict.fromkeys(folders))}
    document: dict[str, Any] = {"watcher": roots, "transfer": roots, "remotes": known.get("remotes", {})}
    if site.values.get("TIMEZONE"):
        document["timezone"] = site.values["TIMEZONE"]
    return document


def _all_absolute(folders: Sequence[str], kind: type[PurePath]) -> bool:
    return all(kind(folder).is_absolute() for folder in folders)


def _write_configuration(site: Site, name: str, document: dict[str, Any], *, windows: bool) -> None:
    """Write it to the other file of the station; on Windows that one has all, because services have no environment."""
    where = _ON_LINUX
    if windows:
        where = _ON_WINDOWS
        _take_in(document, read_env(site.file_of(name)))
    head = f"# The station {name}: belongs into {where} of its machine.\n\n"
    write_file(site.file_of(name).with_suffix(".toml"), head + tomli_w.dumps(document), 0o600)


def _take_in(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Add the settings of an environment to a configuration, but whom to trust, which Windows itself knows."""
    for name, word in environment.items():
        if not name.startswith("DATAUPLOADER_"):
            continue
        *tables, last = name.removeprefix("DATAUPLOADER_").lower().split("__")
        place = document
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = word.removesuffix(f"?cafile={AUTHORITY}")


def _queues(name: str) -> list[str]:
    """Name the queues that are a station's or a plug-in's alone."""
    if is_consumer(name) or "." not in name:
        own = consumer_queue(name.removeprefix(f"{CONSUMER}.")) if is_consumer(name) else harvester_queue(name, ())
        return [queue.name for queue in consumed(own).queues]
    shared = {queue.name for queue in facility([]).queues}
    return [queue.name for queue in facility([Station.parse(name)]).queues if queue.name not in shared]
