"""Writes the OpenAPI document as a page for people: every route with what it takes and answers, every model."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_HEAD = """\
# Every route of REST

Each route of the gateway with what it takes and what it answers; [rest.md](../rest.md) tells how they belong together,
and [what goes wrong](../rest.md#errors). [openapi.json](openapi.json) says the same to machines. An example shows the
form, with `…` for any text. This page is made from the code.
"""
_PARAMETERS = "| Parameter | In | Type | Default | |\n|---|---|---|---|---|"
_FIELDS = "| Field | Type | Default | |\n|---|---|---|---|"
_ANSWERS = "| Status | Content | |\n|---|---|---|"
_SUCCESS = "Successful Response"
"""What FastAPI says where a route says nothing of its own."""
_FIRST_OF_PROBLEMS = "400"

_Schema = Mapping[str, Any]


def routes_page(document: _Schema) -> str:
    """Write the page, as Markdown."""
    models: _Schema = document["components"]["schemas"]
    groups: dict[str, list[str]] = {}
    shown: set[str] = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_route(f"{method.upper()} {path}", operation, shown))
    parts = [_HEAD]
    for name, routes in groups.items():
        parts += [f"## Routes: {name}\n", *routes]
    parts.append("## Models\n")
    parts += [_model(name, model, models, example=name in shown) for name, model in models.items()]
    return "\n".join(parts)


def _route(name: str, operation: _Schema, shown: set[str]) -> str:
    """Write one route, and note the models that are a body or an answer by themselves."""
    lines = [f"### {name}\n", f"**{operation['summary']}.** {operation.get('description', '')}\n"]
    if given := operation.get("parameters"):
        lines.append(_PARAMETERS)
        for one in given:
            about = one.get("description", "")
            lines.append(_row(f"`{one['name']}`", one["in"], _type(one["schema"]), _default(one), about))
        lines.append("")
    if body := operation.get("requestBody"):
        schema = body["content"]["application/json"]["schema"]
        shown |= set(_models(schema))
        lines.append(f"Body: {_type(schema)}{'' if body.get('required') else ', or none'}\n")
    lines.append(_ANSWERS)
    problems = []
    for status, answer in operation["responses"].items():
        if status >= _FIRST_OF_PROBLEMS and "application/problem+json" in answer.get("content", {}):
            problems.append(f"{status}: {answer['description']}")
            continue
        about = answer["description"].removeprefix(_SUCCESS)
        for kind, content in (answer.get("content") or {"": {}}).items():
            shown |= set(_models(content.get("schema", {})))
            lines.append(_row(status, f"`{kind}`" if kind else "none", f"{_type(content.get('schema', {}))} {about}"))
    lines.append("")
    lines += [f"- {problem}" for problem in problems]
    return "\n".join([*lines, ""]) if problems else "\n".join(lines)


def _model(name: str, model: _Schema, models: _Schema, *, example: bool) -> str:
    lines = [f"### {name}\n", *([model["description"] + "\n"] if "description" in model else []), _FIELDS]
    for field, schema in model.get("properties", {}).items():
        default = _default({"required": field in model.get("required", ()), "schema": schema})
        lines.append(_row(f"`{field}`", _type(schema), default, schema.get("description", "")))
    if example:
        shown = json.dumps(_example({"$ref": f"#/{name}"}, models), indent=2, ensure_ascii=False)
        lines.append(f"\n```json\n{shown}\n```")
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _default(field: _Schema) -> str:
    if field.get("required"):
        return "**required**"
    default = field["schema"].get("default")
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _models(schema: _Schema) -> Iterator[str]:
    """Name the models that a schema is, or may be."""
    if "$ref" in schema:
        yield schema["$ref"].rsplit("/", 1)[1]
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _models(one)


def _type(schema: _Schema) -> str:
    """Say in a few words what may stand there."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(one) for one in choices)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    words = [schema.get("format") or schema.get("type", "")]
    bounds = (("minimum", "at least {}"), ("maximum", "at most {}"), ("maxLength", "at most {} characters"))
    words += [text.format(schema[key]) for key, text in bounds if key in schema]
    return ", ".join(word for word in words if word)


def _example(schema: _Schema, models: _Schema, within: tuple[str, ...] = ()) -> Any:
    """Make a value that the schema allows, lists with one entry each."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        fields = {} if name in within else models[name].get("properties", {})
        return {key: _example(field, models, (*within, name)) for key, field in fields.items()}
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _example(choices[0], models, within)
    if schema.get("type") == "array" and not schema.get("default"):
        return [_example(schema.get("items", {}), models, within)]
    said = (schema.get("default"), schema.get("const"), *schema.get("enum", ()))
    plain = {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": False, "object": {}, "null": None}
    otherwise = "2026-05-01T18:00:00Z" if schema.get("format") == "date-time" else "…"
    return next((one for one in said if one not in (None, "", {})), plain.get(schema.get("type", ""), otherwise))
