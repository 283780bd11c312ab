"""The diagnosis: everything that is wrong, and of which part of the facility; pure, made from what was seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from datauploader.contracts.address import Station
from datauploader.contracts.rest.health import CheckBody
from datauploader.contracts.rest.stations import ServiceReport, StationStatus
from datauploader.contracts.stations import MoverElsewhere
from datauploader.messaging.port import BusHealth
from datauploader.messaging.topology import ASTRAY, STATION_SERVICES
from datauploader_gateway.projection.projection_status import ago
from datauploader_gateway.projection.reader import FACILITY_SERVICES, WATCHER

NEARLY_FULL = 0.05
"""A disk with a smaller part of it free is told of; without its size, one with less than LITTLE_BYTES."""
LITTLE_BYTES = 2_000_000_000
OLD_S = 1800.0
"""A file whose receipt is missing for so long is told of."""
DEEP = 1000
"""A queue with so many messages is told of."""
EXPIRES_SOON = timedelta(days=21)
EXPIRES_NOW = timedelta(days=7)
"""A certificate that ends sooner is told of, and told of as urgent."""

Kind = Literal[
    "broker", "redis", "catalogue", "service", "station", "mover", "harvester", "storage", "identity provider"
]
KINDS: tuple[Kind, ...] = (
    "broker", "redis", "service", "catalogue", "identity provider", "storage", "station", "mover", "harvester"
)  # fmt: skip
"""What the parts of a facility are, in the order in which they are shown."""


AWAY = "away"
"""The sign of a part that does not answer, whatever shows that."""
REFUSED = "refused"
"""The sign of a part that the broker does not let in."""
LATE = 1.3
"""Reports that all services of a station miss at once are missed after so many intervals; those of one after three."""


class QueueBody(BaseModel):
    """A queue of the broker: what waits, who consumes it, and what its consumer gave up on."""

    name: str
    there: bool
    waiting: int
    """Messages that no consumer has been given yet."""
    consumers: int
    parked: int


class Trouble(BaseModel):
    """One thing that is wrong: in a few words, and what there is to say about it."""

    about: str
    """`check`, `station`, `storage`, `mover`, `queue`, `parked` or `sign-in`."""
    name: str
    what: str
    detail: str = ""
    kind: Kind = "service"
    """What kind of part it is wrong with."""
    part: str = ""
    """The name of that part."""
    sign: str = ""
    """What is wrong with it, in a word that stays the same while numbers and times change."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Sign-ins of a part that the broker has refused; of `broker`, those under names that are nobody's."""

    kind: Kind
    part: str
    names: tuple[str, ...]
    times: int
    for_s: float
    """How long ago the first of them was."""
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a facility at one moment."""

    checks: Sequence[CheckBody] = ()
    stations: Sequence[StationStatus] = ()
    queues: Sequence[QueueBody] = ()
    public_certificate_until: datetime | None = None
    """When the certificate of the address that browsers use ends."""
    catalog_answers: bool = True
    """The catalog service has answered when it was asked last."""
    broker: BusHealth = field(default_factory=lambda: BusHealth(ok=True))
    refused: Sequence[Refused] = ()


def troubles(seen: Seen, now: datetime) -> list[Trouble]:
    """List everything that is wrong, what concerns most people first."""
    found = [_of_check(check, seen) for check in seen.checks if not check.ok]
    for name, until in (("broker", seen.broker.certificate_until), ("gateway", seen.public_certificate_until)):
        found += _of_certificate(name, until - now) if until else ()
    of_queues = [trouble for queue in seen.queues for trouble in _of_queue(queue)]
    found += [trouble for trouble in of_queues if trouble.about == "parked"]
    found += _of_storages(seen.stations)
    found += [trouble for station in seen.stations for trouble in _of_reports(station)]
    found += [trouble for trouble in of_queues if trouble.about != "parked"]
    return [*map(_of_refused, seen.refused), *_unconnected(found), *found]


def _of_refused(refused: Refused) -> Trouble:
    whence = f" from {', '.join(refused.hosts)}" if refused.hosts else ""
    if refused.kind == "broker":
        who, wrong = f"somebody who says to be {', '.join(map(repr, refused.names))}", "wrong name or password"
        detail = "No part of this facility has such a name: a mistake in a configuration, or somebody who guesses."
    else:
        whole = {"station": f"station {refused.part}", "service": f"the {refused.part} service"}
        who, wrong = whole.get(refused.kind, f"the {refused.kind} {refused.part}"), "wrong password"
        detail = (
            f"Bring it the file with the right one, or make a new one: ./admin rotate {refused.names[0]}. "
            "If it works all the same, somebody else uses its name."
        )
    return Trouble(
        about="sign-in", name=refused.part, what=f"{who} signs in at the broker with a {wrong}{whence}",
        detail=f"Refusals: {refused.times} in {ago(refused.for_s)}. {detail}",
        kind=refused.kind, part=refused.part, sign=REFUSED,
    )  # fmt: skip


def _unconnected(found: Sequence[Trouble]) -> Iterator[Trouble]:
    """Tell of stations all of whose services consume nothing, before their reports are missed."""
    signs: dict[str, set[str]] = {}
    for trouble in found:
        if trouble.kind == "station":
            signs.setdefault(trouble.part, set()).add(trouble.sign)
    for station, those in signs.items():
        if those.issuperset(STATION_SERVICES) and AWAY not in those:
            what = f"station {station} is not connected to the broker"
            yield Trouble(
                about="station", name=station, what=what, detail=_REFUSED, kind="station", part=station, sign=AWAY
            )


_CHECKS: Mapping[str, tuple[Kind, str, str, str]] = {
    "broker": ("broker", "broker", "away", "the broker cannot be reached"),
    "redis": ("redis", "redis", "away", "Redis does not work"),
    "view": ("service", "gateway", "view", "the status of uploads is not up to date"),
    "outbox": ("service", "gateway", "outbox", "the gateway cannot send its messages"),
    "queues": ("service", "gateway", "queues", "the queues cannot be looked at"),
    "catalogue": ("catalogue", "catalogue", "away", "the catalogue does not answer"),
    "catalog service": ("service", "catalog", "trouble", "the catalog service reports a problem"),
    "catalogue updates": ("catalogue", "catalogue", "updates", "the catalogue does not accept some uploads"),
    "identity provider": ("identity provider", "identity provider", "away", "the identity provider does not work"),
}  # fmt: skip


def _of_check(check: CheckBody, seen: Seen) -> Trouble:
    kind, part, sign, what = _CHECKS.get(check.name, ("service", "gateway", check.name, f"{check.name} has a problem"))
    if check.name == "broker" and seen.broker.connected:
        blocked = seen.broker.blocked
        sign = "blocked" if blocked else "trouble"
        what = "the broker accepts no messages" if blocked else "messages do not pass through the broker as they should"
    if check.name == "catalogue" and not seen.catalog_answers:
        kind, part, what = "service", "catalog", "the catalog service does not answer"
    return Trouble(about="check", name=check.name, what=what, detail=check.detail, kind=kind, part=part, sign=sign)


def _of_certificate(name: str, left: timedelta) -> Iterator[Trouble]:
    if left > EXPIRES_SOON:
        return
    whose = "the broker" if name == "broker" else "the web address"
    days = f"{left.days} day{'s' if left.days != 1 else ''}"
    if left < timedelta(0):
        what = f"the certificate of {whose} has expired"
    else:
        what = f"the certificate of {whose} expires in {days if left.days else 'less than a day'}"
    urgent = "Renew it now" if left < EXPIRES_NOW else "Renew it"
    kind, part = ("broker", "broker") if name == "broker" else ("service", "gateway")
    yield Trouble(
        about="check", name=f"certificate of {whose}", what=what, kind=kind, part=part, sign="certificate",
        detail=f"{urgent}: nobody can connect with an expired one. How is in docs/deployment.md, section TLS.",
    )  # fmt: skip


_LOOK = "Check that the workstation is on, that its service is running, and that it can reach the broker."
_LOOK_AT_IT = "Check that its computer is on, that the service is running there, and that it can reach the broker."
_REFUSED = (
    "It is not running, cannot reach the broker, or is refused by it (password, certificate): "
    "`datauploader doctor` on its computer says which."
)


def _of_storages(stations: Sequence[StationStatus]) -> Iterator[Trouble]:
    """Say of each storage what its stations say, once."""
    said: dict[str, dict[str, list[str]]] = {}
    for station in stations:
        for service in station.services:
            for storage in service.storages:
                if storage.trouble and not service.silent:
                    said.setdefault(storage.remote, {}).setdefault(storage.trouble, []).append(station.station)
    for remote, sentences in said.items():
        where = sorted({station for told in sentences.values() for station in told})
        yield Trouble(
            about="storage", name=remote, what=f"the storage {remote} does not accept files from {', '.join(where)}",
            detail=" ".join(sentences), kind="storage", part=remote, sign="away",
        )  # fmt: skip


def _of_reports(status: StationStatus) -> Iterator[Trouble]:
    """Say what the reports under one address tell: those of its own services, and those of the facility's."""
    station = Station.parse(status.station)
    of_facility = [service for service in status.services if service.service in FACILITY_SERVICES]
    own = [service for service in status.services if service.service not in FACILITY_SERVICES]
    kind: Kind = "harvester" if station.is_plug_in else "station"
    name = station.station if station.is_plug_in else status.station
    for service in of_facility:
        if service.silent:
            what = _unheard(f"{service.service} of {status.station}", service)
            yield Trouble(
                about="station", name=status.station, what=what, detail=_LOOK_AT_IT, kind="service",
                part=service.service, sign="away",
            )  # fmt: skip
        else:
            yield from _of_service(status.station, service, "service", service.service)
    if not status.silent and len(own) > 1 and all(one.age_s > LATE * one.interval_s for one in own):
        last = min(own, key=lambda one: one.age_s)
        yield Trouble(
            about="station", name=status.station, what=_unheard(f"{kind} {name}", last), detail=_LOOK, kind=kind,
            part=name, sign=AWAY,
        )  # fmt: skip
    if status.silent:
        alone = any(not service.silent for service in own)
        yield Trouble(
            about="station", name=status.station, what=_silence(f"{kind} {name}", status.station, own),
            detail=_LOOK_AT_IT if kind == "harvester" else _LOOK, kind=kind, part=name,
            sign=WATCHER if alone else AWAY,
        )  # fmt: skip
    for service in own:
        if service.silent and not status.silent:
            what = _unheard(f"{service.service} of {status.station}", service)
            yield Trouble(
                about="station", name=status.station, what=what, detail=_LOOK_AT_IT, kind=kind, part=name,
                sign=service.service,
            )  # fmt: skip
        elif not service.silent:
            yield from _of_service(status.station, service, kind, name)
            yield from _of_movers(status.station, service.movers)


def mover_name(mover: MoverElsewhere) -> str:
    """Name a mover: its computer, and its run, because several may run there."""
    return f"{mover.host} {mover.name}".strip()


def _of_movers(station: str, movers: Sequence[MoverElsewhere]) -> Iterator[Trouble]:
    """Say what transfer says of those who move files in its place; one that is gone may have been ended."""
    for mover in movers:
        if mover.trouble and not mover.gone:
            what = f"the mover on {mover.host or 'another computer'} that works for {station} has a problem"
            yield Trouble(
                about="mover", name=mover_name(mover), what=what, detail=mover.trouble, kind="mover",
                part=mover_name(mover), sign="trouble",
            )  # fmt: skip


def _silence(whole: str, station: str, services: Sequence[ServiceReport]) -> str:
    if not services:
        return f"{whole} has never reported"
    watchers = [service for service in services if service.service == WATCHER]
    last = min(watchers or services, key=lambda service: service.age_s)
    alone = bool(watchers) and any(not service.silent for service in services)
    who = f"the watcher of {station}" if alone else whole
    return _unheard(who, last)


def _unheard(who: str, last: ServiceReport) -> str:
    since = ago(last.age_s)
    return f"{who} was stopped {since} ago" if last.state == "stopping" else f"{who} has not reported for {since}"


def _of_service(station: str, service: ServiceReport, kind: Kind, part: str) -> Iterator[Trouble]:
    def trouble(what: str, detail: str, sign: str) -> Trouble:
        return Trouble(about="station", name=station, what=what, detail=detail, kind=kind, part=part, sign=sign)

    if service.others and service.service in STATION_SERVICES:
        hosts = " and ".join(sorted({service.host, *service.others}))
        yield trouble(f"two computers use the name {station}: {hosts}", "Give one of them another name.", "name")
    of_storages = {storage.trouble for storage in service.storages}
    said = [sentence for sentence in service.troubles if sentence not in of_storages]
    if said or (service.state == "degraded" and not service.troubles):
        yield trouble(f"{service.service} of {station} reports a problem", " ".join(said), "trouble")
    for root in service.roots:
        if not root.present:
            yield trouble(f"a folder of {station} is missing", f"{root.path}: connect or mount the drive.", "folder")
        elif _little(root.free_bytes, root.total_bytes):
            yield trouble(f"a disk of {station} is nearly full", f"{root.path}: free some space.", "disk")
    disk = service.state_disk
    if disk is not None and _little(disk.free_bytes, disk.total_bytes):
        what = f"the disk with the state of {service.service} on {station} is nearly full"
        yield trouble(what, "Free some space on it.", "state disk")
    if service.oldest_pending_s > OLD_S:
        what = f"a file of {station} has been waiting for {ago(service.oldest_pending_s)}"
        yield trouble(what, "No confirmation has arrived: check the queues, the storage and the catalogue.", "old file")


def owner(queue: str) -> tuple[Kind, str]:
    """Say whose queue it is."""
    if queue == ASTRAY:
        return "broker", "broker"
    service, _, name = queue.partition(".")
    if service in FACILITY_SERVICES:
        return "service", service
    return ("station", name) if service in STATION_SERVICES else ("harvester", name)


def _of_queue(queue: QueueBody) -> Iterator[Trouble]:
    kind, part = owner(queue.name)
    service = queue.name.partition(".")[0]

    def trouble(what: str, detail: str, sign: str, about: str = "queue") -> Trouble:
        return Trouble(about=about, name=queue.name, what=what, detail=detail, kind=kind, part=part, sign=sign)

    if queue.name == ASTRAY:
        messages = "message has no queue" if queue.parked == 1 else "messages have no queue"
        what = f"{queue.parked} {messages} any more"
        yield trouble(what, "Create the queue again, then replay or drop the messages.", f"parked {ASTRAY}", "parked")
        return
    sign = service if kind == "station" else "view" if part == "gateway" else AWAY
    if not queue.there:
        what = f"the queue {queue.name} is missing"
        yield trouble(what, "Start its service, or run: datauploader topology apply", sign)
    elif not queue.consumers:
        what = f"{service} of {part}" if kind == "station" else f"the {kind} {part}"
        yield trouble(f"{what} is not connected: the queue {queue.name} has no consumer", _REFUSED, sign)
    if queue.waiting >= DEEP:
        what = f"{queue.waiting} messages are waiting in {queue.name}"
        detail = "Its consumer is slow, or something that the consumer needs."
        yield trouble(what, detail, f"waiting {service}")
    if queue.parked:
        messages = "message is" if queue.parked == 1 else "messages are"
        what = f"{queue.parked} {messages} parked in {queue.name}"
        yield trouble(what, "Read the reason, fix the cause, then replay.", f"parked {queue.name}", "parked")


def _little(free: int | None, total: int | None) -> bool:
    if free is None:
        return False
    return free < NEARLY_FULL * total if total else free < LITTLE_BYTES
