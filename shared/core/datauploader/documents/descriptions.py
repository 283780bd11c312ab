"""The docstrings below fields, which Python throws away, read from the source for the generated documents."""

import ast
import inspect
import textwrap
from typing import Any

from pydantic import BaseModel


def field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Read what stands below each field of a model, inherited fields included."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind.__module__.startswith("datauploader"):
            found |= _own(kind)
    return found


def _own(kind: type[BaseModel]) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
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


def _reachable(model: type[BaseModel], found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    found[model.__name__] = model
    for field in model.model_fields.values():
        for kind in _models(field.annotation):
            if kind.__name__ not in found:
                _reachable(kind, found)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
