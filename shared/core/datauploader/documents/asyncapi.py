"""The AsyncAPI 3.0 document: every event as a channel, and which service sends and hears it."""

from importlib.metadata import version
from typing import Any

from datauploader.contracts.address import Station, matches
from datauploader.contracts.envelope import CONTENT_TYPE, SCHEMA_BASE
from datauploader.contracts.model import EventData
from datauploader.contracts.questions import QUESTIONS
from datauploader.contracts.registry import EVENTS, topic, type_name
from datauploader.messaging import topology

_STATION = Station(facility="f", beamline="b", station="s")
_ADDRESS = "{facility}.{beamline}.{station}."
_WORDS = {
    "facility": "The facility, such as `elettra`.",
    "beamline": "The beamline, such as `xrd1`.",
    "station": "The workstation, such as `ws01`.",
}
_ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,200}$", "description": "The same fact has the same id."},
        "source": {"type": "string", "description": "urn:datauploader:<facility>:<beamline>:<station>:<service>"},
        "type": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "subject": {"type": "string", "description": "The upload's id, or the station where there is none."},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "description": f"{SCHEMA_BASE}<noun>.<verb>.v<major>.json"},
        "correlationid": {"type": "string", "description": "The id of the event that everything began with."},
        "causationid": {"type": "string", "description": "The id of the event that caused this one."},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
        "statefile": {"type": "string", "description": "The number of the state file that said it."},
        "staterun": {"type": "string", "description": "Names one opening of that file."},
        "statenumber": {"type": "string", "description": "Rises with every event of that file."},
        "sequence": {
            "type": "string",
            "pattern": "^[0-9]{1,16}$",
            "description": "Of two events of one service the later one has the greater number, whatever its clock did.",
        },
        "data": {"type": "object"},
    },
}


def asyncapi() -> dict[str, Any]:
    """Make the document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DataUploader",
            "version": version("ceric-datauploader-core"),
            "description": (
                "Events travel through one durable topic exchange as CloudEvents 1.0 in structured mode. Bind a queue "
                "of your own; nobody needs to know. Ignore fields that you do not know: optional ones may be added. "
                "The same event may come twice; its id is then the same."
            ),
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic(kind): _channel(kind) for kind in EVENTS} | _question_channels(),
        "operations": _operations(),
        "components": {
            "messages": {topic(kind): _message(kind) for kind in EVENTS},
            "schemas": {"envelope": _ENVELOPE},
        },
    }


def _channel(kind: type[EventData]) -> dict[str, Any]:
    exchange = {"name": topology.EVENTS, "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": _ADDRESS + topic(kind),
        "title": kind.name,
        "description": _first_line(kind),
        "messages": {topic(kind): {"$ref": f"#/components/messages/{topic(kind)}"}},
        "parameters": {word: {"description": text} for word, text in _WORDS.items()},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _message(kind: type[EventData]) -> dict[str, Any]:
    data = {"type": "object", "properties": {"type": {"const": type_name(kind)}, "data": {"$ref": _file(topic(kind))}}}
    return {
        "name": type_name(kind),
        "title": topic(kind),
        "summary": _first_line(kind),
        "contentType": CONTENT_TYPE,
        "deprecated": kind.deprecated,
        "payload": {"allOf": [{"$ref": "#/components/schemas/envelope"}, data]},
    }


def _file(name: str) -> str:
    return f"./schemas/{name}.json"


_ADDRESSES = (
    "Who asks a service of one station adds `.<facility>.<beamline>.<station>`; "
    "a station that asks one of the facility adds its own."
)


def _question_channels() -> dict[str, Any]:
    found = {}
    for question, answer in QUESTIONS.items():
        service = question.name.split(".", maxsplit=1)[0]
        found[question.name] = {
            "address": topology.question_key(service, None),
            "title": question.name,
            "description": f"{_first_line(question)} {_ADDRESSES}",
            "messages": {
                "question": {"payload": {"$ref": _file(f"{question.name}.question")}, "summary": _first_line(question)},
                "answer": {"payload": {"$ref": _file(f"{question.name}.answer")}, "summary": _first_line(answer)},
            },
        }
    return found


def _operations() -> dict[str, Any]:
    """Say for each queue of the facility which events it is given."""
    found: dict[str, Any] = {}
    for queue in topology.facility_queues([_STATION]):
        service = queue.name.split(".", maxsplit=1)[0]
        for kind in EVENTS:
            if any(matches(pattern, f"{_STATION.key}.{topic(kind)}") for pattern in queue.bindings):
                found[f"{service} receives {topic(kind)}"] = {
                    "action": "receive",
                    "channel": {"$ref": f"#/channels/{topic(kind)}"},
                    "summary": f"{service} hears of it" + (", and must" if kind in queue.required_for else ""),
                }
    return found
