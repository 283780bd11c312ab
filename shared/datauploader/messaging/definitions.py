"""The content of definitions.json: what a broker loads at boot, so that it has the topology before anyone connects."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datauploader.contracts.address import Station
from datauploader.messaging.blueprint import Blueprint, facility
from datauploader.messaging.topology import ANSWERS, EVENTS, LOG, PARKED, QUESTIONS, RETRY_LADDER_S, retry_name

Role = Literal["station", "catalog", "gateway", "harvester", "operations", "operator"]
Document = dict[str, Any]

_RETRIES = tuple(retry_name(seconds) for seconds in RETRY_LADDER_S)
_EXCHANGES = (EVENTS, QUESTIONS, ANSWERS, PARKED, *_RETRIES)
_NOBODY, _ANYTHING = "^$", ".*"
_WAY_BACK = retry_name(RETRY_LADDER_S[0])
"""The exchange by way of which parked messages are given back to their queues."""
_THREE_WORDS = r"[^.]+\.[^.]+\.[^.]+"


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """Somebody who signs in at the broker."""

    name: str
    role: Role
    station: Station | None = None
    """For the role `station`: the one station whose watcher and transfer this is."""
    harvester: str = ""
    """For the role `harvester`: the name of its queue, without `harvester.`."""
    password_hash: str = ""
    """What `rabbitmqctl hash_password` prints; "" leaves the user to the administrator."""


@dataclass(frozen=True, slots=True)
class _Rights:
    """Regular expressions: which queues are the user's own, and what it may say and hear on each exchange."""

    queues: str
    says: str = _NOBODY
    hears: str = _NOBODY
    asks: str = _NOBODY
    answers: str = _NOBODY


def definitions(stations: Iterable[Station], users: Sequence[BrokerUser] = (), *, vhost: str = "/") -> Document:
    """Write the whole document for these stations and users; users without a password hash get their rights only."""
    blueprint = facility(stations)
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(user) for user in users if user.password_hash],
        "permissions": [_permission(user, vhost) for user in users],
        "topic_permissions": [one for user in users for one in _topic_permissions(user, vhost)],
        "policies": _policies(vhost),
        **_objects(blueprint, vhost),
    }


def _objects(blueprint: Blueprint, vhost: str) -> Document:
    shape = {"vhost": vhost, "durable": True, "auto_delete": False}
    return {
        "exchanges": [
            {"name": name, "type": "topic", "internal": False, "arguments": {}, **shape} for name in blueprint.exchanges
        ],
        "queues": [{"name": queue.name, "arguments": dict(queue.arguments), **shape} for queue in blueprint.queues],
        "bindings": [
            {
                "source": binding.exchange, "vhost": vhost, "destination": binding.queue, "destination_type": "queue",
                "routing_key": binding.key, "arguments": {},
            }
            for binding in blueprint.bindings
        ],
    }  # fmt: skip


def _policies(vhost: str) -> list[Document]:
    """Write what an operator may want to change without deleting a queue; limits can only lower the arguments'."""

    def policy(name: str, pattern: str, definition: Document) -> Document:
        return {
            "vhost": vhost, "name": f"datauploader-{name}", "pattern": pattern, "apply-to": "queues", "priority": 1,
            "definition": definition,
        }  # fmt: skip

    return [
        policy("log", f"^{re.escape(LOG)}$", {"max-age": "30D"}),
        policy("work", r"^(catalog\.work|(watcher|transfer)\..+)(?<!\.parked)$", {"max-length": 1_000_000}),
        policy("harvesters", r"^harvester\..+(?<!\.parked)$", {"expires": 30 * 24 * 3600 * 1000}),
    ]


def _user(user: BrokerUser) -> Document:
    tags = ["monitoring"] if user.role == "operator" else []
    return {
        "name": user.name,
        "password_hash": user.password_hash,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
    }


def _permission(user: BrokerUser, vhost: str) -> Document:
    """Say which queues and exchanges a user may make, write to and read from; never the default exchange.

    The default exchange reaches every queue by its name, past all topic permissions.
    """
    if user.role == "operator":
        return {"user": user.name, "vhost": vhost, "configure": _ANYTHING, "write": _ANYTHING, "read": _ANYTHING}
    if user.role == "operations":  # to look, give back and drop; neither to make or delete a queue, nor to speak
        return {
            "user": user.name, "vhost": vhost, "configure": _NOBODY, "write": f"^{re.escape(_WAY_BACK)}$",
            "read": r"^.+\.parked$",
        }  # fmt: skip
    rights = _rights(user)
    own = rf"{rights.queues}|answers\.{re.escape(user.name)}\.[0-9a-f]+"
    exchanges = "|".join(re.escape(name) for name in _EXCHANGES)
    readable = exchanges + ("" if user.role == "station" else f"|{re.escape(LOG)}")
    return {
        "user": user.name, "vhost": vhost, "configure": f"^({own})$",
        "write": f"^({own}|{exchanges})$", "read": f"^({own}|{readable})$",
    }  # fmt: skip


def _topic_permissions(user: BrokerUser, vhost: str) -> list[Document]:
    """Say which keys a user may publish with and bind to, on each exchange."""
    if user.role == "operator":
        return []
    if user.role == "operations":
        return [
            _topics(
                user,
                vhost,
                _WAY_BACK,
                rf"^(catalog\.work|gateway\.view|(watcher|transfer)\.{_THREE_WORDS}|harvester\.[^.]+)$",
                _NOBODY,
            )
        ]
    rights = _rights(user)
    own_answers = rf"^answers\.{re.escape(user.name)}\.[0-9a-f]+$"
    queues = f"^({rights.queues})$"
    table = [
        (EVENTS, rights.says, rights.hears),
        (QUESTIONS, rights.asks, rights.answers),
        (ANSWERS, r"^answers\.", own_answers),
        *((name, queues, _NOBODY) for name in _RETRIES),
        (PARKED, queues, queues),
    ]
    return [_topics(user, vhost, *row) for row in table]


def _topics(user: BrokerUser, vhost: str, exchange: str, write: str, read: str) -> Document:
    return {"user": user.name, "vhost": vhost, "exchange": exchange, "write": write, "read": read}


def _rights(user: BrokerUser) -> _Rights:
    if user.role == "station":
        assert user.station is not None, f"the broker user {user.name} needs a station"
        return _station_rights(re.escape(user.station.key))
    if user.role == "harvester":
        own = re.escape(user.harvester or user.name)
        says = rf"^{_THREE_WORDS}\.metadata\."
        return _Rights(rf"harvester\.{own}(\.parked)?", says=says, hears=_ANYTHING)
    if user.role == "catalog":
        return _Rights(
            r"catalog\.work(\.parked|\.owner)?|catalog\.questions(\.stations)?",
            says=rf"^{_THREE_WORDS}\.(dataset\.(?!described\.)[a-z-]+|investigation\.annotated|file\.catalogued|audit\.requested)\.",
            hears=_ANYTHING,
            asks=r"^((watcher|transfer)\.questions\.|gateway\.questions$)",
            answers=r"^catalog\.questions(\.\*\.\*\.\*)?$",
        )
    return _Rights(
        r"gateway\.view(\.parked)?|gateway\.questions(\.stations)?",
        says=rf"^{_THREE_WORDS}\.(upload\.(requested|controlled)|(dataset|investigation)\.described|station\.reported"
        r"|audit\.requested)\.",
        hears=_ANYTHING,
        asks=r"^[a-z-]+\.questions(\.|$)",
        answers=r"^gateway\.questions(\.\*\.\*\.\*)?$",
    )


def _station_rights(key: str) -> _Rights:
    """Let a station speak and hear under its own three words; what the catalogue says, it cannot say."""
    return _Rights(
        rf"(watcher|transfer)\.{key}(\.parked|\.owner)?|(watcher|transfer)\.questions\.{key}",
        says=rf"^{key}\.((file\.(?!catalogued\.))|upload\.|transfer\.|station\.|audit\.reported\.)",
        hears=rf"^{key}\.",
        asks=rf"^(watcher|transfer|catalog|gateway)\.questions\.{key}$",
        answers=rf"^(watcher|transfer)\.questions\.{key}$",
    )
