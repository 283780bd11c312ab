"""As much of ICAT's SOAP interface as python-icat asks for; it says the same as the REST interface in other words."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from fastapi import FastAPI, Request, Response

from datauploader_sandbox.icat.app import VERSION, Icat
from datauploader_sandbox.icat.errors import IcatError, bad_parameter
from datauploader_sandbox.icat.query import Query
from datauploader_sandbox.icat.rendering import Renderer
from datauploader_sandbox.icat.schema import SCHEMA, Attribute
from datauploader_sandbox.icat.store import Row
from datauploader_sandbox.icat.values import Date, write_date
from datauploader_sandbox.icat.wsdl import META, NAMESPACE, TYPES, type_name, write_wsdl

PATH = "/ICATService/ICAT"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"
_ENTITIES = {type_name(name): name for name in SCHEMA}
_JAVA = {
    "text": "String", "long": "Long", "double": "Double", "bool": "boolean", "date": "Date",
    "value-type": "ParameterValueType",
}  # fmt: skip
Node = ET.Element


def add_soap(app: FastAPI, icat: Icat) -> None:
    """Answer SOAP as well."""

    @app.get(PATH)
    async def describe(request: Request) -> Response:
        return Response(write_wsdl(str(request.url_for("describe"))), media_type="text/xml")

    @app.post(PATH)
    async def call(request: Request) -> Response:
        body = ET.fromstring(await request.body()).find(f"{{{_ENVELOPE}}}Body")
        assert body is not None, "a SOAP message without a body"
        name = body[0].tag.rpartition("}")[2]
        icat.requests[f"SOAP {name}"] += 1
        try:
            results = "".join(_operation(icat, name)(body[0]))
        except IcatError as error:
            return _envelope(_fault(error), 500)
        return _envelope(f'<n:{name}Response xmlns:n="{NAMESPACE}">{results}</n:{name}Response>', 200)


def _operation(icat: Icat, name: str) -> Callable[[Node], Iterator[str]]:
    sessions = icat.sessions

    def login(node: Node) -> Iterator[str]:
        credentials = {_text(entry, "key"): _text(entry, "value") for entry in node.iter("entry")}
        yield _result(sessions.login(_text(node, "plugin"), credentials))

    def nothing(act: Callable[[str], None]) -> Callable[[Node], Iterator[str]]:
        def do(node: Node) -> Iterator[str]:
            act(_text(node, "sessionId"))
            yield from ()

        return do

    def search(node: Node) -> Iterator[str]:
        user = sessions.user(_text(node, "sessionId"))
        answer = Query(icat.store, _text(node, "query")).ask(user, icat.most)
        renderer = Renderer(icat.store, user, icat.most)
        for one in answer.results:
            if isinstance(one, Row):
                yield _element("return", one.entity, renderer.row(one, answer.includes))
            elif isinstance(one, tuple):
                fields = "".join(_result(value, "fields") for value in one)
                yield f'<return xsi:type="n:fieldSet" xmlns:n="{NAMESPACE}">{fields}</return>'
            else:
                yield _result(one)

    def write(node: Node) -> Iterator[str]:
        user = sessions.user(_text(node, "sessionId"))
        beans = [_bean(one, whole=name == "update") for one in node if one.tag in {"bean", "beans"}]
        yield from map(_result, icat.store.write(user, json.dumps(beans)))

    return {
        "login": login,
        "logout": nothing(sessions.end),
        "refresh": nothing(sessions.refresh),
        "getUserName": lambda node: iter([_result(sessions.user(_text(node, "sessionId")))]),
        "getRemainingMinutes": lambda node: iter([_result(sessions.remaining_minutes(_text(node, "sessionId")))]),
        "getApiVersion": lambda _: iter([_result(VERSION)]),
        "getEntityNames": lambda _: map(_result, sorted(SCHEMA)),
        "getEntityInfo": lambda node: iter([_info(_text(node, "beanName"))]),
        "search": search,
        "create": write,
        "createMany": write,
        "update": write,
    }[name]


def _bean(node: Node, *, whole: bool = False) -> dict[str, Any]:
    """Read an entity; where it is written `whole`, what it does not mention becomes null."""
    entity = SCHEMA[_ENTITIES[node.attrib[f"{_INSTANCE}type"].rpartition(":")[2]]]
    return {entity.name: _contents(node, entity.name, whole=whole)}


def _contents(node: Node, name: str, *, whole: bool = False) -> dict[str, Any]:
    entity = SCHEMA[name]
    optional = (name for name, attribute in entity.attributes.items() if attribute.kind != "bool")
    contents: dict[str, Any] = dict.fromkeys(optional) if whole else {}
    for part in node:
        text = part.text or ""
        if part.tag in entity.attributes:
            contents[part.tag] = _value(entity.attributes[part.tag], text)
        elif part.tag in entity.ones:
            contents[part.tag] = {"id": int(_text(part, "id"))}
        elif part.tag in entity.manys and not whole:
            contents.setdefault(part.tag, []).append(_contents(part, entity.manys[part.tag][0]))
        elif part.tag == "id":
            contents["id"] = int(text)
    return contents


def _value(attribute: Attribute, text: str) -> Any:
    if attribute.kind == "date":
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return write_date(int(moment.timestamp() * 1000))
    if attribute.kind == "bool":
        return text == "true"
    return int(text) if attribute.kind == "long" else float(text) if attribute.kind == "double" else text


def _element(tag: str, entity: str, shown: dict[str, Any]) -> str:
    """Write a row as REST shows it; where nothing is included there is no element."""
    known, parts = SCHEMA[entity], []
    for name, value in shown.items():
        if name in known.ones:
            parts.append(_element(name, known.ones[name].target, value))
        elif name in known.manys:
            parts += [_element(name, known.manys[name][0], one) for one in value]
        else:
            parts.append(f"<{name}>{_written(value)}</{name}>")
    return f'<{tag} xsi:type="n:{type_name(entity)}" xmlns:n="{NAMESPACE}">{"".join(parts)}</{tag}>'


def _result(value: Any, tag: str = "return") -> str:
    if value is None:
        return f'<{tag} xsi:nil="true"/>'
    if isinstance(value, Date):
        return f'<{tag} xsi:type="xs:dateTime">{write_date(value)}</{tag}>'
    kind = {bool: "boolean", int: "long", float: "double", str: "string"}[type(value)]
    return f'<{tag} xsi:type="xs:{kind}">{_written(value)}</{tag}>'


def _info(name: str) -> str:
    if name == "Parameter":  # the common part of all of its kind
        ones = [("type", "ONE", "ParameterType", True)]
        fields = [*_attributes(SCHEMA["DatasetParameter"].attributes), *ones]
        return _described(fields, ())
    if name not in SCHEMA:
        raise bad_parameter(f"{name} is not an EntityBaseBean")
    known = SCHEMA[name]
    fields = [*_attributes(known.attributes)]
    fields += [(one, "ONE", target.target, target.required) for one, target in known.ones.items()]
    fields += [(many, "MANY", target, False) for many, (target, _) in known.manys.items()]
    return _described(fields, known.key)


def _attributes(attributes: dict[str, Attribute]) -> Iterator[tuple[str, str, str, bool]]:
    java = {kind: _JAVA[name] for name, kind in TYPES.items()}
    yield from ((name, "ATTRIBUTE", java[kind], True) for name, kind in META.items())
    yield from ((name, "ATTRIBUTE", _JAVA[one.kind], one.required) for name, one in attributes.items())


def _described(fields: list[tuple[str, str, str, bool]], key: tuple[str, ...]) -> str:
    names = "".join(f"<fieldNames>{name}</fieldNames>" for name in key)
    constraints = f"<constraints>{names}</constraints>" if names else ""
    told = "".join(
        f"<fields><name>{name}</name><notNullable>{_written(required)}</notNullable><relType>{relation}</relType>"
        f"<type>{kind}</type></fields>"
        for name, relation, kind, required in fields
    )
    return f"<return>{constraints}{told}</return>"


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def _text(node: Node, tag: str) -> str:
    return node.findtext(tag) or ""


def _fault(error: IcatError) -> str:
    return (
        f"<s:Fault><faultcode>s:Server</faultcode><faultstring>{escape(error.message)}</faultstring><detail>"
        f'<n:IcatException xmlns:n="{NAMESPACE}"><message>{escape(error.message)}</message>'
        f"<offset>{error.offset}</offset><type>{error.code}</type></n:IcatException></detail></s:Fault>"
    )


def _envelope(body: str, status: int) -> Response:
    text = (
        f'<s:Envelope xmlns:s="{_ENVELOPE}" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:xsi="{_INSTANCE.strip("{}")}"><s:Body>{body}</s:Body></s:Envelope>'
    )
    return Response(text, status, media_type="text/xml")
