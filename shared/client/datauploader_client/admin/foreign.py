"""What somebody has added to definitions.json by hand stays there: users, queues and policies of other names."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from datauploader.messaging.topology import BROKER_EVENTS, SIGN_INS

Entry = Mapping[str, Any]

_OUR_QUEUES = ("catalog.", "gateway.", "watcher.", "transfer.", "answers.", "datauploader.", SIGN_INS)
_OUR_EXCHANGES, _OUR_POLICIES, _OUR_VHOST = "datauploader.", "datauploader-", "/"


def with_foreign(made: dict[str, Any], former: Mapping[str, Any], *, users: Collection[str]) -> dict[str, Any]:
    """Add to new definitions what the former ones have that is none of ours; `users` are ours, present and removed."""
    harvesters = {f"harvester.{name}" for name in users}
    consumers = {name for name in users if name.startswith("consumer.")}

    def our_queue(name: str) -> bool:
        owner = name.removesuffix(".parked")  # a consumer's user is called as its queue is
        return name.startswith(_OUR_QUEUES) or owner in consumers or owner in harvesters

    ours: Mapping[str, Callable[[Entry], bool]] = {
        "vhosts": lambda one: one["name"] == _OUR_VHOST,
        "parameters": lambda one: one["component"] == "vhost-limits" and one.get("vhost") == _OUR_VHOST,
        "users": lambda one: one["name"] in users,
        "permissions": lambda one: one["user"] in users,
        "topic_permissions": lambda one: one["user"] in users,
        "policies": lambda one: one["name"].startswith(_OUR_POLICIES),
        "exchanges": lambda one: one["name"].startswith((_OUR_EXCHANGES, BROKER_EVENTS)),
        "queues": lambda one: our_queue(one["name"]),
        "bindings": lambda one: (
            one["source"].startswith((_OUR_EXCHANGES, BROKER_EVENTS)) and our_queue(one["destination"])
        ),
    }
    kept = {
        section: [one for one in entries if section not in ours or not ours[section](one)]
        for section, entries in former.items()
        if isinstance(entries, list)
    }
    return dict(former) | made | {name: [*made.get(name, []), *entries] for name, entries in kept.items() if entries}
