"""Reads what a gateway of an older or newer release sent, with the very models that the gateway builds, tolerantly.

Of each model a subclass is made once that keeps fields which this release does not know, takes text for a word that it
does not know, and takes for empty what an older gateway leaves out; only a field that is `Needed` must be there.
"""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from datauploader.contracts.rest.model import NEEDED, RestModel

M = TypeVar("M", bound=BaseModel)

_EMPTY: dict[Any, Any] = {str: "", bool: False, int: 0, float: 0.0, tuple: (), list: []}


class _Keeping(BaseModel):
    model_config = ConfigDict(extra="allow")


def read_answer(model: type[M], sent: bytes | Mapping[str, Any]) -> M:
    """Read an answer, or the data of an event.

    Raises:
        ValidationError: it is none, lacks a field that is needed, or has a value of another type.
    """
    kind = cast("type[M]", _tolerant(model))
    return kind.model_validate_json(sent) if isinstance(sent, bytes) else kind.model_validate(sent)


@cache
def _tolerant(model: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        kind = _relaxed(info.annotation)
        if not info.is_required():
            default = info.get_default(call_default_factory=True)
            if isinstance(default, BaseModel):
                default = read_answer(type(default), default.model_dump())
        elif NEEDED in info.metadata or not issubclass(model, RestModel):
            default = ...  # a model of the events' contracts says itself what can be left out
        else:
            default = _empty(kind)
            kind = kind if default is not None else kind | None
        fields[name] = Annotated[kind, Field(repr=info.repr), *info.metadata], default
    return create_model(model.__name__, __base__=(model, _Keeping), __module__=model.__module__, **fields)


def _relaxed(kind: Any) -> Any:
    """Let a type take what another release may send in its place."""
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and not args and issubclass(kind, BaseModel):
        return _tolerant(kind)
    if origin is Literal:
        return str if all(isinstance(word, str) for word in args) else kind
    if origin is Annotated:
        return Annotated[_relaxed(args[0]), *args[1:]]
    if origin in (Union, UnionType):
        return Union[tuple(_relaxed(each) for each in args)]  # noqa: UP007 - its members are known only now
    return origin[tuple(_relaxed(each) for each in args)] if args else kind


def _empty(kind: Any) -> Any:
    """Return what a field holds that was left out; None where its type has nothing that is empty."""
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return origin.model_construct(
            **{name: _empty(info.annotation) for name, info in origin.model_fields.items() if info.is_required()}
        )
    return _EMPTY.get(origin)
