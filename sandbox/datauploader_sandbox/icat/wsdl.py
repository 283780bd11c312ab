"""Describes the double's SOAP interface as ICAT describes its own: operations, entities, and their errors."""

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import quoteattr

from datauploader_sandbox.icat.schema import SCHEMA, VALUE_TYPES, Entity

NAMESPACE = "http://icatproject.org"
OPERATIONS: dict[str, tuple[dict[str, str], str]] = {
    "login": ({"plugin": "xs:string", "credentials": "tns:credentials"}, "xs:string"),
    "logout": ({"sessionId": "xs:string"}, ""),
    "refresh": ({"sessionId": "xs:string"}, ""),
    "getUserName": ({"sessionId": "xs:string"}, "xs:string"),
    "getRemainingMinutes": ({"sessionId": "xs:string"}, "xs:double"),
    "getApiVersion": ({}, "xs:string"),
    "getEntityNames": ({}, "xs:string*"),
    "getEntityInfo": ({"beanName": "xs:string"}, "tns:entityInfo"),
    "search": ({"sessionId": "xs:string", "query": "xs:string"}, "xs:anyType*"),
    "create": ({"sessionId": "xs:string", "bean": "tns:entityBaseBean"}, "xs:long"),
    "createMany": ({"sessionId": "xs:string", "beans": "tns:entityBaseBean*"}, "xs:long*"),
    "update": ({"sessionId": "xs:string", "bean": "tns:entityBaseBean"}, ""),
}
"""By name: parameters and what is returned; a star is for any number."""
TYPES = {
    "text": "xs:string", "long": "xs:long", "double": "xs:double", "bool": "xs:boolean", "date": "xs:dateTime",
    "value-type": "tns:parameterValueType",
}  # fmt: skip
META = {"createId": "xs:string", "createTime": "xs:dateTime", "id": "xs:long", "modId": "xs:string"}
META |= {"modTime": "xs:dateTime"}
_OTHERS: dict[str, dict[str, str]] = {
    "entry": {"key": "xs:string", "value": "xs:string"},
    "credentials": {"entry": "tns:entry*"},
    "constraint": {"fieldNames": "xs:string*"},
    "entityField": {
        "comment": "xs:string", "name": "xs:string", "notNullable": "xs:boolean", "relType": "xs:string",
        "stringLength": "xs:int", "type": "xs:string",
    },
    "entityInfo": {"classComment": "xs:string", "constraints": "tns:constraint*", "fields": "tns:entityField*"},
    "fieldSet": {"fields": "xs:anyType*"},
    "IcatException": {"message": "xs:string", "offset": "xs:int", "type": "xs:string"},
}  # fmt: skip


def type_name(entity: str) -> str:
    """Return the name of an entity's type: its first letter is small."""
    return entity[0].lower() + entity[1:]


def write_wsdl(address: str) -> str:
    """Return the description of the service at an address."""
    types = [_complex(name, members) for name, members in _OTHERS.items()]
    types += [_complex("entityBaseBean", META, abstract=True)]
    types += [_complex("parameter", {"type": "tns:parameterType"}, base="entityBaseBean", abstract=True)]
    types += [_entity(entity) for entity in SCHEMA.values()]
    for name, (parameters, result) in OPERATIONS.items():
        types += [_complex(name, parameters), _complex(f"{name}Response", {"return": result} if result else {})]
        types += [f'<xs:element name="{one}" type="tns:{one}"/>' for one in (name, f"{name}Response")]
    values = "".join(f'<xs:enumeration value="{value}"/>' for value in VALUE_TYPES)
    return f"""<?xml version="1.0"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:tns="{NAMESPACE}" xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{NAMESPACE}" name="ICATService">
<types><xs:schema targetNamespace="{NAMESPACE}" elementFormDefault="unqualified">
<xs:simpleType name="parameterValueType"><xs:restriction base="xs:string">{values}</xs:restriction></xs:simpleType>
<xs:element name="IcatException" type="tns:IcatException"/>
{"".join(types)}
</xs:schema></types>
<message name="IcatException"><part name="fault" element="tns:IcatException"/></message>
{"".join(map(_messages, OPERATIONS))}
<portType name="ICAT">{"".join(map(_port_operation, OPERATIONS))}</portType>
<binding name="ICATPortBinding" type="tns:ICAT">
<soap:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>
{"".join(map(_bound_operation, OPERATIONS))}
</binding>
<service name="ICATService"><port name="ICATPort" binding="tns:ICATPortBinding">
<soap:address location={quoteattr(address)}/></port></service>
</definitions>"""


def _entity(entity: Entity) -> str:
    members = {name: TYPES[attribute.kind] for name, attribute in entity.attributes.items()}
    members |= {name: f"tns:{type_name(one.target)}" for name, one in entity.ones.items()}
    members |= {name: f"tns:{type_name(target)}*" for name, (target, _) in entity.manys.items()}
    base = "parameter" if entity.name.endswith("Parameter") else "entityBaseBean"
    if base == "parameter":
        members.pop("type")
    return _complex(type_name(entity.name), members, base=base)


def _complex(name: str, members: Mapping[str, str], *, base: str = "", abstract: bool = False) -> str:
    inside = f"<xs:sequence>{''.join(_members(members.items()))}</xs:sequence>"
    if base:
        inside = f'<xs:complexContent><xs:extension base="tns:{base}">{inside}</xs:extension></xs:complexContent>'
    return f'<xs:complexType name="{name}" abstract="{str(abstract).lower()}">{inside}</xs:complexType>'


def _members(members: Iterable[tuple[str, str]]) -> Iterable[str]:
    for name, kind in members:
        many = ' maxOccurs="unbounded" nillable="true"' if kind.endswith("*") else ""
        yield f'<xs:element name="{name}" type="{kind.rstrip("*")}" minOccurs="0"{many}/>'


def _messages(name: str) -> str:
    return "".join(
        f'<message name="{one}"><part name="parameters" element="tns:{one}"/></message>'
        for one in (name, f"{name}Response")
    )


def _port_operation(name: str) -> str:
    return (
        f'<operation name="{name}"><input message="tns:{name}"/><output message="tns:{name}Response"/>'
        '<fault name="IcatException" message="tns:IcatException"/></operation>'
    )


def _bound_operation(name: str) -> str:
    body = '<soap:body use="literal"/>'
    return (
        f'<operation name="{name}"><soap:operation soapAction=""/><input>{body}</input><output>{body}</output>'
        '<fault name="IcatException"><soap:fault name="IcatException" use="literal"/></fault></operation>'
    )
