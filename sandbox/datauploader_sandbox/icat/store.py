"""What the double remembers: rows by entity, unique by their keys; an array is written wholly or not at all."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from datauploader_sandbox.icat.errors import IcatError, bad_parameter
from datauploader_sandbox.icat.schema import SCHEMA, Entity, One
from datauploader_sandbox.icat.values import Date, check_value, read_value

ALL = "*"
"""The word of rules for every entity that is not named."""
_ACCESS = {"C": "CREATE", "U": "UPDATE", "D": "DELETE"}
_APPLICABLE = {"DatasetParameter": "Dataset", "DatafileParameter": "Datafile"}


class Rules:
    """Who may do what: letters of CRUD by user and entity, or those of `*` where an entity has none."""

    def __init__(self, letters: Mapping[str, Mapping[str, str]]) -> None:
        self.letters = {user: dict(entities) for user, entities in letters.items()}

    def allow(self, user: str, action: str, entity: str) -> bool:
        """Tell whether this user may create (C), read (R), update (U) or delete (D) rows of this entity."""
        entities = self.letters.get(user, {})
        return action in entities.get(entity, entities.get(ALL, ""))


@dataclass(slots=True)
class Row:
    """A row; what it refers to stands as the id in `values`."""

    entity: str
    id: int
    values: dict[str, Any]
    create_id: str
    create_time: Date
    mod_id: str
    mod_time: Date


@dataclass(slots=True)
class _Transaction:
    user: str
    undo: list[Callable[[], object]] = field(default_factory=list)


class Store:
    """Holds everything in memory; used from one thread."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.fold_case = False
        """Whether names are compared as MySQL does by default: without case and without spaces at the end."""
        self.refused_twins = 0
        """How often something was to be created that exists already."""
        self.rows: dict[str, dict[int, Row]] = {name: {} for name in SCHEMA}
        self._keys: dict[str, dict[tuple[Any, ...], int]] = {name: {} for name in SCHEMA}
        self._next = 7000

    def fold(self, value: Any) -> Any:
        """Return what stands for a value when it is compared."""
        return value.rstrip(" ").casefold() if self.fold_case and isinstance(value, str) else value

    def find(self, entity: str, row_id: Any) -> Row:
        """Return one row by its id."""
        if not isinstance(row_id, int) or isinstance(row_id, bool):
            raise bad_parameter(f"Badly formatted id: {row_id!r}")
        if row_id not in self.rows[entity]:
            raise IcatError("NO_SUCH_OBJECT_FOUND", f"{entity}[id:{row_id}] not found.")
        return self.rows[entity][row_id]

    def children(self, row: Row, many: str) -> list[Row]:
        """Return the rows that refer to this one."""
        entity, name = SCHEMA[row.entity].manys[many]
        return [child for child in self.rows[entity].values() if child.values.get(name) == row.id]

    def add(self, entity: str, row_id: int, **values: Any) -> Row:
        """Put a row of the seed in, past all rules."""
        kept = {name: read_value(entity, name, a, values.get(name)) for name, a in SCHEMA[entity].attributes.items()}
        kept |= {name: values[name] for name in SCHEMA[entity].ones}
        return self._insert(SCHEMA[entity], kept, _Transaction("seed"), row_id)

    def write(self, user: str, text: str) -> list[int]:
        """Create and update what a JSON document says, all or nothing; return the ids of what was created."""
        text = text.encode(
            "ascii", "replace"
        ).decode()  # icat.server takes the charset of its machine; here it has none
        try:
            top = json.loads(text)
        except ValueError as error:
            raise bad_parameter(f"{error} in json {text}") from None
        transaction, ids = _Transaction(user), []
        for offset, document in enumerate(top if isinstance(top, list) else [top]):
            try:
                created = self._write_one(document, transaction)
            except IcatError as error:
                for undo in reversed(transaction.undo):
                    undo()
                self.refused_twins += error.code == "OBJECT_ALREADY_EXISTS"
                error.offset = offset
                raise
            ids += [created] if created is not None else []
        return ids

    def remove(self, user: str, text: str) -> None:
        """Remove the entities of a JSON document, each with all that refers to it, all or nothing."""
        try:
            top = json.loads(text)
        except ValueError as error:
            raise bad_parameter(f"{error} in json {text}") from None
        named = [next(iter(one.items())) for one in (top if isinstance(top, list) else [top])]
        doomed = [row for name, contents in named for row in self._with_dependents(self.find(name, contents["id"]))]
        for row in doomed:
            self._require(user, "D", row.entity)
        for row in doomed:
            if self.rows[row.entity].pop(row.id, None) is not None:
                del self._keys[row.entity][self._key(SCHEMA[row.entity], row.values)]

    def _with_dependents(self, row: Row) -> Iterator[Row]:
        yield row
        for many in SCHEMA[row.entity].manys:
            for child in self.children(row, many):
                yield from self._with_dependents(child)

    def _write_one(self, document: Any, transaction: _Transaction) -> int | None:
        if not isinstance(document, dict) or len(document) != 1:
            raise bad_parameter(f"Entity must have one keyword followed by its values in json {document}")
        ((name, contents),) = document.items()
        if name not in SCHEMA:
            raise bad_parameter(f"No such type of entity: {name}")
        if not isinstance(contents, dict):
            raise bad_parameter(f"Unexpected array found in JSON {contents}")
        if "id" in contents:
            self._update(self.find(name, contents["id"]), contents, transaction)
            return None
        created: list[str] = []
        row = self._create(SCHEMA[name], contents, transaction, created)
        for one in created:  # after everything else, as ICAT does
            self._require(transaction.user, "C", one)
        return row.id

    def _create(
        self, entity: Entity, contents: dict[str, Any], transaction: _Transaction, created: list[str],
        parent: dict[str, int] | None = None,
    ) -> Row:  # fmt: skip
        values = {name: False for name, a in entity.attributes.items() if a.kind == "bool"}
        values |= self._read(entity, contents) | (parent or {})
        row = self._insert(entity, values, transaction)
        created.append(entity.name)
        for name, children in contents.items():
            if name in entity.manys:
                child, back = entity.manys[name]
                for one in children:
                    if "id" in one:
                        raise bad_parameter(f"Many to one related objects should have the id value set: {one}")
                    self._create(SCHEMA[child], one, transaction, created, {back: row.id})
        return row

    def _update(self, row: Row, contents: dict[str, Any], transaction: _Transaction) -> None:
        entity = SCHEMA[row.entity]
        self._require(transaction.user, "U", row.entity)
        values = row.values | self._read(entity, contents)
        moved = any(name in contents for name in entity.key if name in entity.ones)  # icat.server compares other ids
        if moved and not self.rules.allow(transaction.user, "D", row.entity):
            raise IcatError(
                "INSUFFICIENT_PRIVILEGES", f"DELETE access implied by UPDATE to this {row.entity} is not allowed."
            )
        before, stamp = row.values, (row.mod_id, row.mod_time)
        old, new = self._key(entity, before), self._key(entity, values)
        self._check(entity, values, row.id)
        keys = self._keys[entity.name]
        keys.pop(old)
        keys[new] = row.id
        row.values, row.mod_id, row.mod_time = values, transaction.user, _now()

        def undo() -> None:
            keys.pop(new)
            keys[old] = row.id
            row.values, (row.mod_id, row.mod_time) = before, stamp

        transaction.undo.append(undo)

    def _read(self, entity: Entity, contents: dict[str, Any]) -> dict[str, Any]:
        """Read attributes and references; what is in the other direction is left to the caller."""
        values: dict[str, Any] = {}
        for name, value in contents.items():
            if name in entity.attributes:
                values[name] = read_value(entity.name, name, entity.attributes[name], value)
            elif name in entity.ones:
                values[name] = None if value is None else self._refer(entity.ones[name], value)
            elif name != "id" and name not in entity.manys:
                raise bad_parameter(f"Field {name} not found in {entity.name}")
        return values

    def _refer(self, one: One, value: Any) -> int:
        if not isinstance(value, dict):
            raise bad_parameter(f"Badly formatted relationship object {value}")
        if "id" not in value:
            raise bad_parameter(f"One to many related objects should not have the id value set: {value}")
        return self.find(one.target, value["id"]).id

    def _insert(self, entity: Entity, values: dict[str, Any], transaction: _Transaction, row_id: int = 0) -> Row:
        self._check(entity, values)
        self._next += not row_id
        row_id = row_id or self._next
        now = _now()
        row = Row(entity.name, row_id, values, transaction.user, now, transaction.user, now)
        rows, keys, key = self.rows[entity.name], self._keys[entity.name], self._key(entity, values)
        rows[row_id], keys[key] = row, row_id
        transaction.undo.append(lambda: (rows.pop(row_id), keys.pop(key)))
        return row

    def _check(self, entity: Entity, values: dict[str, Any], row_id: int | None = None) -> None:
        if entity.name in _APPLICABLE:
            self._check_parameter(entity, values)
        for name, attribute in entity.attributes.items():
            check_value(entity.name, name, attribute, values.get(name))
        for name, one in entity.ones.items():
            if one.required and values.get(name) is None:
                raise IcatError("VALIDATION", f"{entity.name}: {name} cannot be null.")
        twin = self._keys[entity.name].get(self._key(entity, values))
        if twin is not None and twin != row_id:
            said = ", ".join(f"{name} = '{values[name]}'" for name in entity.key)
            raise IcatError("OBJECT_ALREADY_EXISTS", f"{entity.name} exists with {said}")

    def _check_parameter(self, entity: Entity, values: dict[str, Any]) -> None:
        if values.get("type") is None:
            raise IcatError("VALIDATION", "Type of parameter is not set")
        kind, parent = self.rows["ParameterType"][values["type"]], _APPLICABLE[entity.name]
        if not kind.values[f"applicableTo{parent}"]:
            raise IcatError("VALIDATION", f"Parameter of type {kind.values['name']} is not applicable to a {parent}")

    def _key(self, entity: Entity, values: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.fold(values.get(name)) for name in entity.key)

    def _require(self, user: str, action: str, entity: str) -> None:
        if not self.rules.allow(user, action, entity):
            raise IcatError("INSUFFICIENT_PRIVILEGES", f"{_ACCESS[action]} access to this {entity} is not allowed.")


def _now() -> Date:
    return Date(time.time_ns() // 1_000_000)
