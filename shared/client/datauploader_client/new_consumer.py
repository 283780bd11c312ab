"""The beginning of a consumer: a folder that works at once, to be changed into what one needs."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from datauploader.contracts.registry import topic
from datauploader.documents.examples import example_text
from datauploader.messaging.definitions import BrokerUser, plug_in_definitions
from datauploader.plugins.consumer import event_kind
from datauploader_client.new_harvester import check_name
from datauploader_client.new_package import write_package


def consumer_definitions(name: str, events: Sequence[str], vhost: str, *, reads_log: bool = False) -> str:
    """Write what a broker needs for a consumer, as a file to import.

    Raises:
        BadRequest: no consumer can have this name.
        ConfigurationError: there is no such event.
    """
    check_name(name, "consumer")
    user = BrokerUser.of_consumer(name, [topic(event_kind(one)) for one in events], reads_log=reads_log)
    return json.dumps(plug_in_definitions(user, vhost=vhost), indent=2) + "\n"


def write_consumer(name: str, folder: Path, event: str) -> list[str]:
    """Write the folder of a consumer in Python that hears one kind of event; return the names of its files.

    Raises:
        BadRequest: the name cannot be, or the folder holds something.
        ConfigurationError: there is no such event.
    """
    broker, kind = consumer_definitions(name, [event], "/"), event_kind(event)
    words = {
        "NAME": name, "SERVICE": f"{name}-consumer", "MODULE": f"{name}_consumer".replace("-", "_"),
        "PREFIX": name.upper().replace("-", "_"), "SECTION": name.replace("-", "_"),
        "EVENT": event, "CLASS": kind.__name__, "VERSION": version("ceric-datauploader-core"),
    }  # fmt: skip
    also = {"broker.json": broker, "example.json": example_text(event)}
    return write_package(folder, ("consumer", "common"), words, also=also)
