"""Who may say, hear, ask and answer what: the broker's permissions are made of this, and each reader compares with it.

The broker asks for a right where somebody publishes; it does not where it moves a message itself (RabbitMQ: dead letter
exchanges, alternate exchanges, bindings between exchanges, CC and BCC). So a reader asks again (`provenance`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self, cast, get_args

from datauploader.contracts.address import CONSUMER, HARVESTER, Station
from datauploader.contracts.files import FileStored
from datauploader.contracts.registry import topic
from datauploader.contracts.uploads import UploadRequested
from datauploader.messaging.topology import Queue, consumer_queue, harvester_queue

Role = Literal["station", "catalog", "gateway", "harvester", "consumer", "operations", "operator", "administrator"]

_WHICH = ("station", "harvester")
"""Roles that say which one."""

NOBODY, ANYTHING = "^$", ".*"
THREE_WORDS = r"[^.]+\.[^.]+\.[^.]+"


HARVESTERS_HEAR = tuple(f"*.*.*.{topic(kind)}" for kind in (UploadRequested, FileStored))
"""What is stored, and where its upload was asked to bring it."""


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """Somebody who signs in at the broker."""

    name: str
    role: Role
    station: Station | None = None
    """For the role `station`: the one station whose watcher and transfer this is."""
    harvester: str = ""
    """For the role `harvester`: the name of its queue, without `harvester.`."""
    hears: tuple[str, ...] = HARVESTERS_HEAR
    """For the roles `harvester` and `consumer`: the topics that its queue is bound to."""
    reads_log: bool = False
    """For the role `consumer`: it may read the event log, in which every topic is."""
    password_hash: str = ""
    """What `rabbitmqctl hash_password` prints; "" leaves the user to the administrator."""

    @classmethod
    def parse(cls, name: str, role: str) -> Self:
        """Read `station:facility.beamline.station`, `harvester:NAME`, `consumer:EVENT,EVENT`, or another role alone.

        Raises:
            ValueError: it is none.
        """
        kind, _, which = role.partition(":")
        if kind == "consumer" and which and _is_consumers(name):
            return cls.of_consumer(name.removeprefix(f"{CONSUMER}."), which.split(","))
        if not name or kind not in get_args(Role) or (kind in _WHICH) != bool(which) or kind == "consumer":
            raise ValueError(f"{name}:{role} is not a user of the broker; write it like ws01:station:elettra.xrd1.ws01")
        station = Station.parse(which) if kind == "station" else None
        return cls(name, cast("Role", kind), station, which if kind == "harvester" else "")

    @classmethod
    def of_consumer(cls, name: str, kinds: Iterable[str], *, reads_log: bool = False, password_hash: str = "") -> Self:
        """Make a consumer's user: its queue hears events of these kinds from everywhere, such as `file.stored.v1`."""
        hears = tuple(f"*.*.*.{kind}" for kind in kinds)
        return cls(f"{CONSUMER}.{name}", "consumer", hears=hears, reads_log=reads_log, password_hash=password_hash)

    @property
    def queue(self) -> Queue:
        """A harvester's or a consumer's queue."""
        if self.role == "consumer":
            return consumer_queue(self.name.removeprefix(f"{CONSUMER}."), self.hears)
        return harvester_queue(self.harvester or self.name, self.hears)

    @property
    def answers(self) -> str:
        """How the names of the queues begin where this user's answers arrive."""
        return f"answers.{self.station.key if self.station else self.name}."


@dataclass(frozen=True, slots=True)
class Rights:
    """Regular expressions, whole: which queues a user makes and reads, and which keys it uses on each exchange."""

    queues: str
    """Its consumers' queues; under these names it retries and parks."""
    reads: str = NOBODY
    """Further queues that it reads."""
    makes: str = NOBODY
    """Queues that it makes and binds."""
    says: str = NOBODY
    hears: str = NOBODY
    asks: str = NOBODY
    answers: str = NOBODY
    """Keys of the questions that it answers."""
    replies: str = NOBODY
    """Queues of those who ask it."""
    claims: str = NOBODY
    reads_log: bool = True


@lru_cache(maxsize=4096)
def rights(user: BrokerUser) -> Rights:
    """Say what a user may; `operations` and `administrator` are no services, and say nothing."""
    if user.role == "station":
        assert user.station is not None, f"the broker user {user.name} needs a station"
        key = re.escape(user.station.key)
        return Rights(  # under its own three words; what the catalogue says, it cannot say
            _whole(rf"(watcher|transfer)\.{key}"),
            reads=_whole(rf"(watcher|transfer)\.({key}\.claim|asked\.{key})|answers\.{key}\.[0-9]+"),
            says=rf"^{key}\.((file\.(?!catalogued\.))|upload\.|transfer\.|station\.|audit\.reported\.)",
            asks=rf"^(watcher|transfer|catalog|gateway)\.questions\.{key}$",
            answers=rf"^(watcher|transfer)\.questions\.{key}$",
            replies=rf"^answers\.([^.]+\.[0-9a-f]+|{key}\.[0-9]+)$",
            claims=_whole(rf"(watcher|transfer)\.{key}\.claim"),
            reads_log=False,
        )
    if user.role in ("harvester", "consumer"):
        return _plug_in_rights(user)
    own_answers = rf"answers\.{re.escape(user.name)}\.[0-9a-f]+"
    if user.role == "catalog":
        return Rights(
            _whole(r"catalog\.work"),
            makes=_whole(rf"catalog\.work(\.parked|\.claim)?|catalog\.asked(\.stations)?|{own_answers}"),
            says=rf"^{THREE_WORDS}\.(dataset\.(?!described\.)[a-z-]+|investigation\.annotated|file\.catalogued"
            r"|audit\.requested|station\.reported)\.",
            hears=ANYTHING,
            asks=r"^((watcher|transfer)\.questions\.|gateway\.questions$)",
            answers=rf"^catalog\.questions(\.{THREE_WORDS})?$",
            replies=r"^answers\.",
            claims=_whole(r"catalog\.work\.claim"),
        )
    if user.role == "gateway":
        return Rights(
            _whole(r"gateway\.view"),
            makes=_whole(rf"gateway\.view(\.parked)?|gateway\.asked(\.stations)?|{own_answers}"),
            says=rf"^{THREE_WORDS}\.(upload\.(requested|controlled)|(dataset|investigation)\.described|station\.reported"
            r"|audit\.requested)\.",
            hears=ANYTHING,
            asks=r"^[a-z-]+\.questions(\.|$)",
            answers=rf"^gateway\.questions(\.{THREE_WORDS})?$",
            replies=r"^answers\.",
        )
    if user.role == "operator":
        return Rights(ANYTHING, says=ANYTHING, hears=ANYTHING, asks=ANYTHING, answers=ANYTHING, replies=ANYTHING)
    return Rights(NOBODY)


def _plug_in_rights(user: BrokerUser) -> Rights:
    name = re.escape(user.queue.name.partition(".")[2])
    if user.role == "harvester":
        says = rf"^({THREE_WORDS}\.metadata|[^.]+\.{HARVESTER}\.{name}\.station\.reported)\."
        return Rights(_whole(rf"harvester\.{name}"), says=says)
    says = rf"^[^.]+\.{CONSUMER}\.{name}\.station\.reported\."
    return Rights(_whole(rf"{CONSUMER}\.{name}"), says=says, reads_log=user.reads_log)


def _is_consumers(name: str) -> bool:
    return bool(re.fullmatch(rf"{CONSUMER}\.[^.]+", name))


@lru_cache(maxsize=4096)
def _by_name(name: str) -> BrokerUser:
    if name in ("catalog", "gateway"):
        return BrokerUser.parse(name, name)
    if _is_consumers(name):
        return BrokerUser(name, "consumer")
    try:
        return BrokerUser(name, "station", Station.parse(name.replace("/", "")))
    except ValueError:
        return BrokerUser(name, "harvester")


def _whole(alternatives: str) -> str:
    return f"^({alternatives})$"


class Speakers:
    """Which broker user is which service: by its name, unless the facility says otherwise.

    `catalog` and `gateway` are those services, three words are the station of that name, `consumer.NAME` is that
    consumer, anything else is a harvester.
    One's own user is believed whatever it says: on a broker with one user for all, that is everybody.
    """

    def __init__(self, named: Mapping[str, str] | None = None, *, me: str = "") -> None:
        """Know users of other names by their roles, written as in `topology export`.

        Raises:
            ValueError: a role cannot be read.
        """
        self._named = {name: BrokerUser.parse(name, role) for name, role in (named or {}).items()}
        self._me = me

    def who(self, name: str) -> BrokerUser:
        """Return the user of this name with its role."""
        return self._named.get(name) or _by_name(name)

    def may_say(self, name: str, key: str) -> bool:
        """Tell whether events under this key are this user's words."""
        return self._may(name, key, "says")

    def may_ask(self, name: str, key: str) -> bool:
        """Tell whether questions under this key are this user's."""
        return self._may(name, key, "asks")

    def may_answer(self, name: str, key: str) -> bool:
        """Tell whether questions under this key are answered by this user."""
        return self._may(name, key, "answers")

    def _may(self, name: str, key: str, what: Literal["says", "asks", "answers"]) -> bool:
        if not name:
            return False
        return name == self._me or bool(re.search(getattr(rights(self.who(name)), what), key))
