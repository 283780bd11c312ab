"""The content of definitions.json: what a broker loads at boot, so that it has the topology before anyone connects."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from datauploader.contracts.address import CONSUMER, Station
from datauploader.messaging.blueprint import EXCHANGE_ARGUMENTS, consumed, facility, sign_ins
from datauploader.messaging.rights import ANYTHING, NOBODY, THREE_WORDS, BrokerUser, Rights, rights
from datauploader.messaging.topology import (
    ANSWERS,
    BACK,
    BROKER_EVENTS,
    CLAIMS,
    EVENTS,
    LOG,
    PARKED,
    QUESTIONS,
    RETRY_DELAYS_S,
    SIGN_INS,
    retry_name,
)

__all__ = ["BrokerUser", "definitions", "plug_in_definitions"]

Document = dict[str, Any]

_RETRIES = tuple(retry_name(seconds) for seconds in RETRY_DELAYS_S)
_WAY_BACK = retry_name(RETRY_DELAYS_S[0])
"""The exchange by way of which parked messages are given back to their queues."""
_MOST_CONNECTIONS, _MOST_CHANNELS = 40, 400
"""Of one broker user; two services with a few connections each, those that the broker believes alive, and a person."""
_SPARE_QUEUES, _SPARE_CONNECTIONS = 1000, 200
"""Of the virtual host, beyond what its users need."""

_UNUSED: Document = {"expires": 30 * 24 * 3600 * 1000}
"""A queue that nobody reads for 30 days goes, so that an abandoned plug-in does not fill the broker."""
_POLICIES: tuple[tuple[str, str, Document], ...] = (
    ("log", f"^{re.escape(LOG)}$", {"max-age": "30D"}),
    ("work", r"^(catalog\.work|(watcher|transfer)\..+)(?<!\.parked)$", {"max-length": 1_000_000}),
    ("harvesters", r"^harvester\..+(?<!\.parked)$", _UNUSED),
    ("consumers", r"^consumer\..+(?<!\.parked)$", _UNUSED),
)
"""What an operator may want to change without deleting a queue; limits can only lower the arguments'."""


def definitions(stations: Iterable[Station], users: Sequence[BrokerUser] = (), *, vhost: str = "/") -> Document:
    """Write the whole document for these stations and users; users without a password hash get their rights only."""
    plug_ins = [consumed(user.queue) for user in users if user.role in ("harvester", "consumer")]
    blueprint = sum(plug_ins, facility(stations)) + sign_ins()
    shape = {"vhost": vhost, "durable": True, "auto_delete": False}
    # what all users together can make, whatever their rights
    most = {
        "max-queues": len(blueprint.queues) + _SPARE_QUEUES,
        "max-connections": len(users) * _MOST_CONNECTIONS + _SPARE_CONNECTIONS,
    }
    return {
        "vhosts": [{"name": vhost}],
        "parameters": [{"component": "vhost-limits", "name": "limits", "vhost": vhost, "value": most}],
        "users": [_user(user) for user in users if user.password_hash],
        "permissions": [_permission(user, vhost) for user in users],
        "topic_permissions": [one for user in users for one in _topic_permissions(user, vhost)],
        "policies": [
            {
                "vhost": vhost, "name": f"datauploader-{name}", "pattern": pattern, "apply-to": "queues", "priority": 1,
                "definition": definition,
            }
            for name, pattern, definition in _POLICIES
        ],
        "exchanges": [
            {
                "name": name, "type": "topic", "internal": False,
                "arguments": dict(EXCHANGE_ARGUMENTS.get(name, {})), **shape,
            }
            for name in blueprint.exchanges
        ]
        + [{"name": BROKER_EVENTS, "type": "topic", "internal": True, "arguments": {}, **shape}],
        "queues": [{"name": queue.name, "arguments": dict(queue.arguments), **shape} for queue in blueprint.queues],
        "bindings": [
            {
                "source": binding.exchange, "vhost": vhost, "destination": binding.queue, "destination_type": "queue",
                "routing_key": binding.key, "arguments": {},
            }
            for binding in blueprint.bindings
        ],
    }  # fmt: skip


def plug_in_definitions(user: BrokerUser, *, vhost: str = "/") -> Document:
    """Write what one plug-in needs beside what a broker has; an import of it adds, and takes nothing away.

    The user itself is not in it, because its password is the administrator's.
    """
    whole, own = definitions((), [user], vhost=vhost), {queue.name for queue in consumed(user.queue).queues}
    return {
        "permissions": whole["permissions"],
        "topic_permissions": whole["topic_permissions"],
        "queues": [queue for queue in whole["queues"] if queue["name"] in own],
        "bindings": [binding for binding in whole["bindings"] if binding["destination"] in own],
    }


_TAGS = {"operator": ["monitoring"], "administrator": ["administrator"]}
"""What users may see and do over the management API; all others nothing."""


def _user(user: BrokerUser) -> Document:
    bounded = user.role not in ("operator", "catalog", "gateway")
    return {
        "name": user.name,
        "password_hash": user.password_hash,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": _TAGS.get(user.role, []),
        "limits": {"max-connections": _MOST_CONNECTIONS, "max-channels": _MOST_CHANNELS} if bounded else {},
    }


def _permission(user: BrokerUser, vhost: str) -> Document:
    """Say which queues a user may make, and which queues and exchanges it may write to and read from.

    Never the default exchange, which reaches every queue by its name, past all topic permissions. Who may make a queue
    gives it what arguments he likes; who may read an exchange binds to it what he may write to. So those who run
    elsewhere, stations and plug-ins, may do neither.
    """
    if user.role == "operator":
        return {"user": user.name, "vhost": vhost, "configure": ANYTHING, "write": ANYTHING, "read": ANYTHING}
    if user.role == "administrator":  # to make users and queues, to see whether one is empty, to delete it
        consumers = rf"^{CONSUMER}\.[^.]+$"  # to take a binding away needs the right to write to its queue
        return {"user": user.name, "vhost": vhost, "configure": ANYTHING, "write": consumers, "read": ANYTHING}
    if (
        user.role == "operations"
    ):  # to look, give back, drop and hear of sign-ins; neither to make or delete a queue, nor to speak
        return {
            "user": user.name, "vhost": vhost, "configure": NOBODY, "write": f"^{re.escape(_WAY_BACK)}$",
            # the queues, not the exchange
            "read": rf"^(?!{re.escape(PARKED)}$).+\.parked$|^{re.escape(SIGN_INS)}$",
        }  # fmt: skip
    may = rights(user)
    queues = re.sub(r"\)\$$", r")(\.parked)?$", may.queues)
    read, written = [queues, may.reads, *([f"^{re.escape(LOG)}$"] if may.reads_log else [])], []
    for exchange, row in _keys(may).items():
        read += [f"^{re.escape(exchange)}$"] if row[1] != NOBODY else []
        written += [f"^{re.escape(exchange)}$"] if row[0] != NOBODY else []
    return {
        "user": user.name, "vhost": vhost, "configure": may.makes,
        "write": _any_of(may.makes, *written), "read": _any_of(may.makes, *read),
    }  # fmt: skip


def _any_of(*patterns: str) -> str:
    return "|".join(pattern for pattern in patterns if pattern != NOBODY)


def _topic_permissions(user: BrokerUser, vhost: str) -> list[Document]:
    """Say which keys a user may publish with and bind to, on each exchange."""
    if user.role in ("operator", "administrator"):
        return []
    if user.role == "operations":
        names = rf"^(catalog\.work|gateway\.view|(watcher|transfer)\.{THREE_WORDS}|(harvester|consumer)\.[^.]+)$"
        rows = {_WAY_BACK: (names, NOBODY)}
    else:
        rows = _keys(rights(user))
    return [
        {"user": user.name, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
        for exchange, (write, read) in rows.items()
    ]


def _keys(may: Rights) -> dict[str, tuple[str, str]]:
    """Return for each exchange the keys that are published with and those that are bound to."""
    binds = may.makes != NOBODY
    table = {
        EVENTS: (may.says, may.hears),
        QUESTIONS: (may.asks, may.answers if binds else NOBODY),
        ANSWERS: (may.replies, r"^answers\." if binds else NOBODY),
        PARKED: (may.queues, may.queues if binds else NOBODY),
        CLAIMS: (may.claims, may.claims if binds else NOBODY),
        BACK: (NOBODY, may.queues if binds else NOBODY),
    }
    return table | dict.fromkeys(_RETRIES, (may.queues, NOBODY))
