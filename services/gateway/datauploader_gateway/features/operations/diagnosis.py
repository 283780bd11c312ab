"""The diagnosis: what is wrong, in the order in which an operator should look at it; pure, made from what was seen."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from datauploader.contracts.rest.health import CheckBody
from datauploader.contracts.rest.stations import ServiceReport, StationStatus
from datauploader.messaging.topology import ASTRAY
from datauploader_gateway.projection.projection_status import ago
from datauploader_gateway.projection.reader import WATCHER

NEARLY_FULL = 0.05
"""A disk with a smaller part of it free is told of; without its size, one with less than LITTLE_BYTES."""
LITTLE_BYTES = 2_000_000_000
OLD_S = 1800.0
"""A file whose receipt is missing for so long is told of."""
DEEP = 1000
"""A queue with so many messages is told of."""
ALONE = ("watcher", "transfer")
"""Services that a station has on one computer; a server may have several gateways."""
NAMED = 3
"""So many troubles are named in the sentence at the top."""


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
    """`check`, `station`, `queue` or `parked`."""
    name: str
    what: str
    detail: str = ""


def troubles(
    checks: Sequence[CheckBody], stations: Sequence[StationStatus], queues: Sequence[QueueBody]
) -> list[Trouble]:
    """List everything that is wrong, what concerns most people first."""
    found = [
        Trouble(about="check", name=check.name, what=f"{check.name} has a problem", detail=check.detail)
        for check in checks
        if not check.ok
    ]
    of_queues = [trouble for queue in queues for trouble in _of_queue(queue)]
    found += [trouble for trouble in of_queues if trouble.about == "parked"]
    found += [trouble for station in stations for trouble in _of_station(station)]
    return found + [trouble for trouble in of_queues if trouble.about != "parked"]


def summary(found: Sequence[Trouble]) -> str:
    """Say in one sentence how many things are wrong and what, or that all is well."""
    if not found:
        return "No problems found."
    named = "; ".join(trouble.what for trouble in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return f"{count}: {named}{more}."


_LOOK = "Check that the workstation is on, that its service is running, and that it can reach the broker."
_LOOK_AT_IT = "Check that its computer is on, that the service is running there, and that it can reach the broker."


def _of_station(station: StationStatus) -> Iterator[Trouble]:
    if station.silent:
        what = f"station {station.station} has never reported"
        if station.services:
            watchers = [service for service in station.services if service.service == WATCHER]
            last = min(watchers or station.services, key=lambda service: service.age_s)
            alone = bool(watchers) and any(not service.silent for service in station.services)
            who = f"the watcher of {station.station}" if alone else f"station {station.station}"
            since = ago(last.age_s)
            stopped = last.state == "stopping"
            what = f"{who} was stopped {since} ago" if stopped else f"{who} has not reported for {since}"
        yield Trouble(about="station", name=station.station, what=what, detail=_LOOK)
    for service in station.services:
        if service.silent and not station.silent:
            what = f"{service.service} of {station.station} has not reported for {ago(service.age_s)}"
            yield Trouble(about="station", name=station.station, what=what, detail=_LOOK_AT_IT)
        elif not service.silent:
            yield from _of_service(station.station, service)


def _of_service(station: str, service: ServiceReport) -> Iterator[Trouble]:
    def trouble(what: str, detail: str = "") -> Trouble:
        return Trouble(about="station", name=station, what=what, detail=detail)

    if service.others and service.service in ALONE:
        hosts = " and ".join(sorted({service.host, *service.others}))
        yield trouble(f"two computers use the name {station}: {hosts}", "Give one of them another name.")
    if service.troubles or service.state == "degraded":
        detail = " ".join(service.troubles)
        yield trouble(f"{service.service} of {station} reports a problem", detail)
    for root in service.roots:
        if not root.present:
            yield trouble(f"a folder of {station} is missing", f"{root.path}: connect or mount the drive.")
        elif _little(root.free_bytes, root.total_bytes):
            yield trouble(f"a disk of {station} is nearly full", f"{root.path}: free some space.")
    disk = service.state_disk
    if disk is not None and _little(disk.free_bytes, disk.total_bytes):
        yield trouble(
            f"the disk with the state of {service.service} on {station} is nearly full", "Free some space on it."
        )
    if service.oldest_pending_s > OLD_S:
        what = f"a file of {station} has been waiting for {ago(service.oldest_pending_s)}"
        yield trouble(what, "No confirmation has arrived: check the queues, the storage and the catalogue.")


def _of_queue(queue: QueueBody) -> Iterator[Trouble]:
    def trouble(what: str, detail: str, about: str = "queue") -> Trouble:
        return Trouble(about=about, name=queue.name, what=what, detail=detail)

    if queue.name == ASTRAY:
        messages = "message has no queue" if queue.parked == 1 else "messages have no queue"
        what = f"{queue.parked} {messages} any more"
        yield trouble(what, "Create the queue again, then replay or drop the messages.", "parked")
        return
    if not queue.there:
        yield trouble(f"the queue {queue.name} is missing", "Start its service, or run: datauploader topology apply")
    elif not queue.consumers:
        yield trouble(f"the queue {queue.name} has no consumer", "Start its service, and check its log.")
    if queue.waiting >= DEEP:
        yield trouble(
            f"{queue.waiting} messages are waiting in {queue.name}",
            "Its consumer is slow, or something that the consumer needs.",
        )
    if queue.parked:
        messages = "message is" if queue.parked == 1 else "messages are"
        what = f"{queue.parked} {messages} parked in {queue.name}"
        yield trouble(what, "Read the reason, fix the cause, then replay.", "parked")


def _little(free: int | None, total: int | None) -> bool:
    if free is None:
        return False
    return free < NEARLY_FULL * total if total else free < LITTLE_BYTES
