"""The metadata that a facility wants of a dataset: a JSON Schema as fields of a form, and as the check of answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs

from datauploader.contracts import Parameter
from datauploader.errors import ConfigurationError
from datauploader_gateway.errors import InvalidRequest

Kind = Literal["text", "long", "number", "integer", "boolean", "choice", "date"]
Value = str | float | int | bool

FIELD_PREFIX = "m."
"""What the names of its fields begin with in a form of a page."""
MOST_FIELDS = 100
LONGEST = 2000
"""Characters of one value."""
LONGEST_KEY = 200
_LONG = 200
"""A text that may be longer gets several lines."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form: a property of the schema."""

    key: str
    label: str
    kind: Kind
    help: str = ""
    units: str = ""
    required: bool = False
    default: str = ""
    options: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


class MetadataForm:
    """What is asked about a dataset."""

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        """Take the schema; None asks for nothing.

        Raises:
            ConfigurationError: it is not a JSON Schema, or a property has a type that no form can show.
        """
        self.schema = dict(schema) if schema is not None else None
        self._options: dict[str, dict[str, Value]] = {}
        self.fields: tuple[Field, ...] = ()
        if self.schema is None:
            return
        try:
            jsonschema_rs.meta.validate(self.schema)
            self._validator = jsonschema_rs.validator_for(self.schema, validate_formats=True, retriever=_nothing)
        except (jsonschema_rs.ValidationError, ValueError) as error:
            raise ConfigurationError(
                f"gateway.metadata_schema is not a JSON Schema: {str(error).splitlines()[0]}"
            ) from error
        required, properties = self.schema.get("required", []), self.schema.get("properties", {})
        if len(properties) > MOST_FIELDS:
            raise ConfigurationError(
                f"gateway.metadata_schema asks for more than {MOST_FIELDS} values; that is too many for a form"
            )
        self.fields = tuple(self._field(key, said, key in required) for key, said in properties.items())

    @classmethod
    def load(cls, path: Path | None) -> "MetadataForm":
        """Read the schema from a file; None asks for nothing.

        Raises:
            ConfigurationError: there is no such file, or no schema in it.
        """
        if path is None:
            return cls()
        try:
            schema = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"gateway.metadata_schema: {path} cannot be read as JSON: {error}") from error
        if not isinstance(schema, dict):
            raise ConfigurationError(f"gateway.metadata_schema: {path} holds no object; write a JSON Schema")
        return cls(schema)

    def validate_parameters(self, parameters: Sequence[Parameter]) -> None:
        """Check what a request says of its dataset.

        Raises:
            InvalidRequest: names what is missing or wrong.
        """
        if problems := self.problems({one.name: one.value for one in parameters}):
            said = "; ".join(f"{key}: {words}" if key else words for key, words in problems.items())
            raise InvalidRequest(
                f"dataset.parameters: {said}", hint="GET /api/v1/metadata-schema says what this facility asks for."
            )

    def problems(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Return what is wrong, by the property that it is wrong with; "" stands for the whole."""
        if self.schema is None:
            return {}
        found: dict[str, str] = {}
        for error in self._validator.iter_errors(dict(values)):
            kind = error.kind
            if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
                found.setdefault(str(kind.property), "this is required")
            else:
                key = str(error.instance_path[0]) if error.instance_path else ""
                found.setdefault(key, error.message[:300])
        return found

    def read(self, typed: Mapping[str, str]) -> tuple[tuple[Parameter, ...], dict[str, str]]:
        """Make parameters of what was typed into the form; return them, and what is wrong by its field."""
        found: list[Parameter] = []
        wrong: dict[str, str] = {}
        for field in self.fields:
            text = typed.get(field.key, "").strip()[:LONGEST]
            if not text:
                continue
            try:
                found.append(Parameter(name=field.key, value=self._value(field, text), units=field.units))
            except ValueError as error:
                wrong[field.key] = str(error)
        problems = self.problems({one.name: one.value for one in found})
        return tuple(found), {**problems, **wrong}

    def _value(self, field: Field, text: str) -> Value:
        match field.kind:
            case "choice":
                return self._options[field.key].get(text, text)
            case "boolean":
                return text == "true"
            case "number":
                return _number(text, float)
            case "integer":
                return _number(text, int)
        return text

    def _field(self, key: str, said: Mapping[str, Any], required: bool) -> Field:
        kind = _kind(key, said)
        if kind == "choice":
            self._options[key] = {_shown(option): option for option in said["enum"]}
        return Field(
            key=key,
            label=str(said.get("title") or key),
            kind=kind,
            help=str(said.get("description", "")),
            units=str(said.get("units") or said.get("unit") or "")[:60],
            required=required,
            default=_shown(said["default"]) if "default" in said else "",
            options=tuple(self._options.get(key, ())),
            least=said.get("minimum"),
            most=said.get("maximum"),
        )


def _kind(key: str, said: Mapping[str, Any]) -> Kind:
    if len(key) > LONGEST_KEY:
        raise ConfigurationError(
            f"gateway.metadata_schema: the name {key[:40]}… is longer than {LONGEST_KEY} characters"
        )
    if "enum" in said and all(isinstance(option, str | int | float) for option in said["enum"]):
        return "choice"
    match said.get("type"):
        case "number":
            return "number"
        case "integer":
            return "integer"
        case "boolean":
            return "boolean"
        case "string" if said.get("format") == "date":
            return "date"
        case "string":
            return "long" if said.get("maxLength", 0) > _LONG else "text"
    raise ConfigurationError(
        f"gateway.metadata_schema: {key} has the type {said.get('type')!r}, which no form can show; "
        "write string, number, integer, boolean or enum"
    )


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _number(text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        raise ValueError(
            "this is not a number; write it like 8.5" if kind is float else "this is not a whole number"
        ) from None
    if number - number != 0 or len(text) > 40:  # noqa: PLR2004 - digits that nobody measures
        raise ValueError("this number is too large")
    return number


def _nothing(uri: str) -> Any:
    """Fetch nothing: a schema stands in its file alone."""
    raise ValueError(f"{uri} is another document; write everything into one file")
