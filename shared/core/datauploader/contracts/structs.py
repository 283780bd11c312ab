"""What stands in events by the hundred: structs, which take a tenth of the time of models to make, read and write."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Self, TypedDict, TypeVar

import msgspec
from pydantic import BaseModel, GetCoreSchemaHandler, ValidatorFunctionWrapHandler, WrapValidator, create_model
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from datauploader.contracts.model import EventData, WireModel

S = TypeVar("S", bound="WireStruct")

_UNREADABLE = (msgspec.MsgspecError, RecursionError)


class WireStruct(msgspec.Struct, frozen=True, dict=True, omit_defaults=True):
    """A wire model that stands in lists: a frozen value whose fields are annotated as those of `WireModel`.

    Whoever makes one is believed. What comes from outside is checked: pydantic reads one by one what it is given in
    JSON or as dictionaries, and a `ListEvent` looks at all of its list together.

    A default of None is not written. Any other is, and has to be a factory: of plain defaults msgspec writes none.
    """

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` has written, in this release or an earlier one."""
        found: Self = _decoder(cls).decode(text)
        return found

    @classmethod
    def read_all(cls, texts: Iterable[str]) -> list[Self]:
        """Read many, each as `to_json` has written it."""
        found: list[Self] = _list_decoder(cls).decode(f"[{','.join(texts)}]")
        return found

    def to_json(self) -> bytes:
        """Write it as it travels."""
        return _ENCODER.encode(self)

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return one with other values of some fields."""
        return msgspec.structs.replace(self, **update)

    def check(self) -> None:
        """Compare each value with its annotation.

        Raises:
            ValidationError: one does not keep to it.
        """
        _model_of(type(self)).model_validate(msgspec.to_builtins(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, as_model: ValidatorFunctionWrapHandler) -> object:
            return value if isinstance(value, cls) else cls(**vars(as_model(value)))

        return core_schema.no_info_wrap_validator_function(
            read,
            handler.generate_schema(_model_of(cls)),
            serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins),
        )


def checked_together(kind: type[S], most: int, check: Callable[[tuple[S, ...]], None]) -> WrapValidator:
    """Have a list of structs, which are there already, go to `check` alone, and not one by one through pydantic."""

    def read(value: object, one_by_one: ValidatorFunctionWrapHandler) -> object:
        known = type(value) is tuple and 0 < len(value) <= most and set(map(type, value)) == {kind}
        files: tuple[S, ...] = value if known else one_by_one(value)  # type: ignore[assignment] # as `known` says
        check(files)
        return files

    return WrapValidator(read)


class ListEvent(EventData):
    """The data of an event with a list of structs, `files`."""

    @classmethod
    @override
    def from_json(cls, data: bytes) -> Self:
        try:
            found = _parts_decoder(cls).decode(data)
        except _UNREADABLE:  # pydantic takes more, and says what is wrong with the rest
            return super().from_json(data)
        return cls.model_validate(found)

    @override
    def to_json(self) -> bytes:
        return _ENCODER.encode({name: value for name, value in self.__dict__.items() if value is not None})


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    raise NotImplementedError


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


@cache
def _decoder(kind: type[WireStruct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _list_decoder(kind: type[WireStruct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[kind])  # type: ignore[valid-type] # known when it runs


@cache
def _parts_decoder(kind: type[ListEvent]) -> msgspec.json.Decoder[Any]:
    """Return what reads the list as structs, and what stands beside it as plain values."""
    parts = {name: info.annotation if name == "files" else Any for name, info in kind.model_fields.items()}
    return msgspec.json.Decoder(TypedDict(kind.__name__, parts, total=False))  # type: ignore[operator] # made when it runs


@cache
def _model_of(kind: type[WireStruct]) -> type[WireModel]:
    """Return the model with the same fields, by which pydantic checks values and publishes a JSON Schema."""
    fields: dict[str, Any] = {
        field.name: (field.type, ... if field.required else _default(field)) for field in msgspec.structs.fields(kind)
    }
    return create_model(kind.__name__, __base__=WireModel, __module__=kind.__module__, __doc__=kind.__doc__, **fields)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
