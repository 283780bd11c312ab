"""The documents that are made from the code, and committed, so that nobody has to run anything to read them."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import SCHEMA_BASE
from datauploader.contracts.questions import QUESTIONS
from datauploader.contracts.registry import EVENTS, topic
from datauploader.contracts.structs import WireStruct
from datauploader.documents.asyncapi import asyncapi
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.plugins.file_reader.executable import HarvesterOutput
from datauploader.runtime.settings_index import settings_classes, variable

_Kind = type[BaseModel] | type[WireStruct]
GROUP = "datauploader.documents"
"""Entry points of services with documents of their own: callables that return texts by their paths."""
REFERENCE = "docs/reference"
SCHEMAS = f"{REFERENCE}/schemas"
EXAMPLES = "tests/wire/golden"
"""One example of every event, to which the tests hold each release."""
PACKED_EXAMPLES = "shared/core/datauploader/documents/examples.json"
"""The same for those who have no source tree: `datauploader consumer try` hands them to a consumer."""
_LARGEST_OF_JAVASCRIPT = 2**53 - 1
_TABLE = ("| Variable | Key | Type | Default | |", "|---|---|---|---|---|")
_HEAD = """\
Every setting is an environment variable, or a key in the TOML file that `DATAUPLOADER_CONFIG` names; the environment
wins. Parts of a setting are written with two underscores, lists and tables as JSON. A secret (`SecretStr`, or one of
a remote's `secrets`) may stand in a file: `NAME_FILE` says which. `datauploader config check` says what is wrong. This
page is made from the code.
"""
_SCHEMAS = """\
# Schemas of messages

JSON Schemas (2020-12) of what travels: the data of each event, each question with its answer, and what the program of a
harvester prints. [messages.md](../messages.md) shows an example of every event. This page is made from the code.

| Schema | |
|---|---|"""
_MESSAGES = """\
# Messages

One full example of every event, as it travels: CloudEvents 1.0 in structured mode, here with line breaks. The routing
key is the station and the heading, such as `elettra.xrd1.ws01.file.stored.v1`. An optional field may be missing, and a
field may come that you do not know. [harvesters.md](../harvesters.md#anything-else-in-any-language) says how to listen;
[asyncapi.json](asyncapi.json) says the same to machines. This page is made from the examples to which each release is
held.

## Numbers of 64 bits

These fields hold whole numbers that can be beyond 2^53: {large}. So can the value of a parameter. `JSON.parse` of
JavaScript, and every reader that makes a floating-point number of them, rounds: `1750000000123456789` becomes
`1750000000123456800`. A rounded time is good enough to look at. When you say something about a file
(`metadata.extracted`), take its `file` over as it was in `file.stored`: a rounded one is not the version that you read.
In Node 22 or newer:

```js
const keep = (key, value, {{source}}) =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\\d+$/.test(source) ? BigInt(source) : value;
const say = (key, value) => (typeof value === "bigint" ? JSON.rawJSON(value) : value);

const event = JSON.parse(body, keep);
const answer = JSON.stringify(event, say);
```
"""


def documents(tree: Path) -> dict[str, str]:
    """Make every document; the names are paths below the top of the source tree, which has the examples of messages."""
    found = {f"{REFERENCE}/asyncapi.json": _json(asyncapi()), f"{REFERENCE}/configuration.md": configuration()}
    found[f"{REFERENCE}/messages.md"] = messages(tree / EXAMPLES)
    found[PACKED_EXAMPLES] = _json(dict(_examples(tree / EXAMPLES)))
    found |= (made := dict(schemas()))
    found |= {f"{SCHEMAS}/README.md": schema_index(made), "deploy/definitions.json": _json(example_definitions())}
    for entry in entry_points(group=GROUP):
        found |= entry.load()()
    return found


def drift(tree: Path) -> list[str]:
    """Name the documents of a source tree that are missing, different, or of something that is no more."""
    made = documents(tree)
    there = {f"{SCHEMAS}/{path.name}" for path in (tree / SCHEMAS).glob("*.json")}
    different = [
        name
        for name, text in made.items()
        if not (path := tree / name).exists() or path.read_text(encoding="utf-8") != text
    ]
    return sorted({*different, *(there - set(made))})


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def example_definitions() -> dict[str, Any]:
    """Make a broker's definitions for one station and one user of each role, to read and to compare with.

    A real broker's are made for its own stations and passwords: `./install` or `datauploader topology export`.
    """
    station = Station(facility="facility", beamline="beamline", station="station")
    users = (
        BrokerUser("catalog", "catalog"),
        BrokerUser("gateway", "gateway"),
        BrokerUser("operator", "operator"),
        BrokerUser("nexus", "harvester", harvester="nexus"),
        BrokerUser(station.key, "station", station=station),
    )
    return definitions([station], users)


def schemas() -> Iterator[tuple[str, str]]:
    """Make a JSON Schema for each event's data, two for each question, and one for what harvesters' programs print."""
    for kind in EVENTS:
        yield _schema(topic(kind), kind)
    for question, answer in QUESTIONS.items():
        yield _schema(f"{question.name}.question", question)
        yield _schema(f"{question.name}.answer", answer)
    yield _schema("harvester.output", HarvesterOutput)


def schema_index(found: Mapping[str, str]) -> str:
    """List the schemas, as Markdown."""
    rows = []
    for path, text in sorted(found.items()):
        name = path.rsplit("/", 1)[1]
        rows.append(f"| [{name}]({name}) | {json.loads(text).get('description', '').splitlines()[0]} |")
    return "\n".join([_SCHEMAS, *rows, ""])


def _schema(name: str, model: type[BaseModel]) -> tuple[str, str]:
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{SCHEMA_BASE}{name}.json"}
    return f"{SCHEMAS}/{name}.json", _json(dialect | described_schema(model))


def _examples(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in EVENTS:
        yield topic(kind), json.loads((folder / f"{topic(kind)}.json").read_text(encoding="utf-8"))


def messages(examples: Path) -> str:
    """Write one example of each event, as Markdown."""
    parts = [_MESSAGES.format(large=", ".join(f"`{name}`" for name in sorted(_large_numbers())))]
    events = dict(_examples(examples))
    for kind in EVENTS:
        name = topic(kind)
        event = events[name]
        parts.append(
            f"## {name}\n\n{_first_line(kind)} Its `data`: [{name}.json](schemas/{name}.json)\n\n"
            f"```json\n{_json(event)}```\n"
        )
    return "\n".join(parts)


def _large_numbers() -> set[str]:
    """Name the fields of events whose numbers can be larger than JavaScript keeps."""
    found = set()
    for kind in EVENTS:
        schema = described_schema(kind)
        for part in (schema, *schema.get("$defs", {}).values()):
            for name, field in part.get("properties", {}).items():
                limits = [one.get("maximum", 0) for one in (field, *field.get("anyOf", ()))]
                if max(limits) > _LARGEST_OF_JAVASCRIPT:
                    found.add(name)
    return found


def configuration() -> str:
    """Write the reference of all settings, as Markdown."""
    parts = [
        "# Configuration\n",
        _HEAD,
    ]
    for name, kind in settings_classes().items():
        place = f"the table `[{kind.section}]`" if kind.section else "the top level"
        parts.append(f"## {name}\n\n{_first_line(kind)} In the file: {place}.\n")
        parts += [*_TABLE, *_rows(kind, variable(kind, ""), ""), ""]
        # the fields that are lists or tables of models
        listed = [
            (field, part)
            for field, info in kind.model_fields.items()
            for part in (() if _table_of(info) else get_args(info.annotation))
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        for field, model in listed:
            parts.append(f"Each entry of `{field}`: {_first_line(model)}\n")
            parts += [*_TABLE, *_rows(model, "", ""), ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def _first_line(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _rows(kind: type[BaseModel], prefix: str, path: str) -> Iterator[str]:
    """Write one row for each field; a field that is a table itself is written field by field."""
    about = field_descriptions(kind)
    for name, info in kind.model_fields.items():
        key, place = f"{path}{info.alias or name}", f"{prefix}{name}".upper() if prefix else ""
        if inner := _table_of(info):
            yield from _rows(inner, f"{place}__" if place else "", f"{key}.")
            continue
        annotation: Any = _bare(info.annotation)
        plain = isinstance(annotation, type) and not hasattr(annotation, "__args__")
        type_ = annotation.__name__ if plain else str(annotation)
        type_ = re.sub(r"[\w.]+\.(\w+)", r"\1", type_)  # without the modules that the classes come from
        variable_cell = f"`{place}`" if place else ""
        cells = (variable_cell, f"`{key}`", f"`{type_}`", _default(info), info.description or about.get(name, ""))
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _table_of(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is one table, or none."""
    choices = [
        part
        for part in (info.annotation, *get_args(info.annotation))
        if isinstance(part, type) and part is not type(None)
    ]
    only = choices[0] if len(choices) == 1 else None
    is_list = get_origin(info.annotation) in (tuple, list, dict)
    return only if only is not None and issubclass(only, BaseModel) and not is_list else None


def _bare(annotation: Any) -> Any:
    """Return a type without what `Annotated` says of it and of the types within it."""
    if get_origin(annotation) is Annotated:
        return _bare(annotation.__origin__)
    if get_origin(annotation) is Literal or not (within := get_args(annotation)):
        return annotation
    bare = tuple(_bare(one) for one in within)
    if isinstance(annotation, UnionType):
        return reduce(or_, bare)
    return annotation.copy_with(bare) if hasattr(annotation, "copy_with") else get_origin(annotation)[bare]


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return "empty"
    if info.default is PydanticUndefined:
        return "**required**"
    if isinstance(info.default, SecretStr):
        return f"`{info.default.get_secret_value()}`" if info.default.get_secret_value() else "empty"
    if info.default is None or info.default in ("", ()):
        return "none" if info.default is None else "empty"
    text = info.default.as_posix() if isinstance(info.default, Path) else str(info.default)
    return f"`{text.lower() if isinstance(info.default, bool) else text}`"


def field_descriptions(model: _Kind) -> dict[str, str]:
    """Read what stands below each field of a model, inherited fields included."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, (BaseModel, WireStruct)) or not kind.__module__.startswith("datauploader"):
            continue
        if (
            issubclass(kind, BaseModel) and kind.__pydantic_generic_metadata__["args"]
        ):  # made by pydantic of a generic one, and written nowhere
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(below.value.value)
    return found


def described_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Make a model's JSON Schema (2020-12) with the descriptions of all fields, at any depth."""
    schema = model.model_json_schema()
    known = _reachable(model, {})
    for name, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
        for field, text in field_descriptions(known[name]).items():
            if field in part.get("properties", {}):
                part["properties"][field].setdefault("description", text)
    return schema


def _annotations(model: _Kind) -> list[Any]:
    if issubclass(model, WireStruct):
        return [field.type for field in msgspec.structs.fields(model)]
    return [field.annotation for field in model.model_fields.values()]


def _reachable(model: _Kind, found: dict[str, _Kind]) -> dict[str, _Kind]:
    found[model.__name__] = model
    for annotation in _annotations(model):
        for kind in _models(annotation):
            if kind.__name__ not in found:
                _reachable(kind, found)
    return found


def _models(annotation: Any) -> list[_Kind]:
    if isinstance(annotation, type) and issubclass(annotation, (BaseModel, WireStruct)):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
