"""Queries of ICAT's, in its newer form; what the double does not know of it is BAD_PARAMETER.

SELECT … FROM entity alias [JOIN path alias …] [WHERE …] [ORDER BY …] [INCLUDE …] [LIMIT offset, number]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from datauploader_sandbox.icat.conditions import Condition, Conditions, Found, Operand, read_path
from datauploader_sandbox.icat.errors import IcatError, bad_parameter
from datauploader_sandbox.icat.schema import SCHEMA
from datauploader_sandbox.icat.store import Row, Store
from datauploader_sandbox.icat.tokens import Input

Includes = dict[str, Any]
"""By field: what is included there in turn."""
_AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "COUNT": len,
    "MIN": lambda values: min(values, default=None),
    "MAX": lambda values: max(values, default=None),
    "SUM": lambda values: sum(values) if values else None,
    "AVG": lambda values: sum(values) / len(values) if values else None,
}


@dataclass(slots=True)
class Answer:
    """What a query found: rows, values, or tuples of these; and what is to be shown with rows."""

    results: list[Any]
    includes: Includes


@dataclass(slots=True)
class _Join:
    alias: str
    source: str
    field: str
    outer: bool


@dataclass(slots=True)
class _Selected:
    text: str
    aggregate: str = ""
    distinct: bool = False


class Query:
    """One query, read and ready to be asked."""

    def __init__(self, store: Store, text: str) -> None:
        self._store = store
        self._input = given = Input(text)
        if not given.accept("SELECT"):
            raise bad_parameter("The double does not know the older form of queries, only SELECT ….")
        self._distinct = bool(given.accept("DISTINCT"))
        self._selected = self._list(self._read_selected)
        given.expect("FROM")
        self.entity, self._alias = self._read_entity()
        self._aliases = {self._alias: self.entity}
        self._joins = list(self._read_joins())
        self._condition: Condition | None = None
        if given.accept("WHERE"):
            self._condition = Conditions(store, self._aliases, given).read()
        self._order: list[tuple[Operand, bool]] = []
        if given.accept("ORDER"):
            given.expect("BY")
            self._order = self._list(self._read_order)
        self._includes: Includes = {}
        self._limit: tuple[int, int | None] = (0, None)
        while given.next.kind != "end":
            self._read_tail()

    def ask(self, user: str, most: int) -> Answer:
        """Answer the query as this user may; more than `most` results are refused."""
        if not self._store.rules.allow(user, "R", self.entity):
            counted = len(self._selected) == 1 and self._selected[0].aggregate == "COUNT"
            return Answer([0] if counted else [], {})
        found = [one for one in self._combine(self._joins) if self._condition is None or self._condition(one)]
        for path, descending in reversed(self._order):
            found = [one for one in found if path(one) is not None]
            found.sort(key=path, reverse=descending)
        results = self._results(found)
        offset, number = self._limit
        results = results[offset : None if number is None else offset + number]
        if len(results) > most:
            raise IcatError("VALIDATION", f"attempt to process more than {most} entities")
        return Answer(results, self._includes)

    def _results(self, found: list[Found]) -> list[Any]:
        paths = [(one, read_path(self._store, self._aliases, one.text)) for one in self._selected]
        if len(paths) == 1 and paths[0][0].aggregate:
            one, path = paths[0]
            values = [value for value in map(path, found) if value is not None]
            return [_AGGREGATES[one.aggregate](_unique(values) if one.distinct else values)]
        if any(one.aggregate for one, _ in paths):
            raise bad_parameter("The double gives an aggregate alone.")
        rows = [path(one) for one in found for _, path in paths] if len(paths) == 1 else [
            tuple(path(one) for _, path in paths) for one in found
        ]  # fmt: skip
        return _unique(rows) if self._distinct else rows

    def _combine(self, joins: list[_Join]) -> Iterator[Found]:
        """Yield the combinations of rows that the FROM clause makes."""
        for row in self._store.rows[self.entity].values():
            yield from self._joined({self._alias: row}, joins)

    def _joined(self, found: dict[str, Row | None], joins: list[_Join]) -> Iterator[Found]:
        if not joins:
            yield found
            return
        join, *rest = joins
        source = found[join.source]
        others: list[Row | None] = [] if source is None else self._step(source, join.field)
        if join.outer and not others:
            others = [None]
        for other in others:
            yield from self._joined({**found, join.alias: other}, rest)

    def _step(self, row: Row, name: str) -> list[Row | None]:
        known = SCHEMA[row.entity]
        if name in known.manys:
            return [*self._store.children(row, name)]
        held = row.values.get(name)
        return [] if held is None else [self._store.rows[known.ones[name].target][held]]

    def _list(self, read: Callable[[], Any]) -> list[Any]:
        some = [read()]
        while self._input.accept(","):
            some.append(read())
        return some

    def _read_selected(self) -> _Selected:
        aggregate = self._input.accept(*_AGGREGATES)
        distinct = False
        if brackets := self._input.accept("("):
            distinct = bool(self._input.accept("DISTINCT"))
            inner = self._input.accept("(")  # COUNT(DISTINCT(o)), as python-icat writes it
        text = self._input.expect_kind("name")
        for _ in range(bool(brackets) + bool(brackets and inner)):
            self._input.expect(")")
        return _Selected(text, aggregate, distinct)

    def _read_entity(self) -> tuple[str, str]:
        name = self._input.expect_kind("name")
        if name not in SCHEMA:
            raise bad_parameter(f"No information to determine type of {name} in the FROM clause")
        self._input.accept("AS")
        return name, self._input.expect_kind("name").upper()

    def _read_joins(self) -> Iterator[_Join]:
        given = self._input
        while kind := given.accept("JOIN", "LEFT", "INNER"):
            given.accept("OUTER")
            if kind != "JOIN":
                given.expect("JOIN")
            alias, *steps = given.expect_kind("name").split(".")
            given.accept("AS")
            new, source = given.expect_kind("name").upper(), alias.upper()
            for number, step in enumerate(steps):
                target = _target(self._aliases.get(source, ""), step)
                name = new if number + 1 == len(steps) else f"{new}.{number}"
                if name in self._aliases:
                    raise bad_parameter(f"JPQL indentification variable {new} has already been defined")
                self._aliases[name] = target
                yield _Join(name, source, step, outer=kind == "LEFT")
                source = name

    def _read_order(self) -> tuple[Operand, bool]:
        path = read_path(self._store, self._aliases, self._input.expect_kind("name"))
        return path, self._input.accept("ASC", "DESC") == "DESC"

    def _read_tail(self) -> None:
        given = self._input
        if given.expect("INCLUDE", "LIMIT") == "LIMIT":
            offset = int(given.expect_kind("integer"))
            given.expect(",")
            self._limit = offset, None if given.accept("*") else int(given.expect_kind("integer"))
            return
        entity = self._aliases[self._selected[0].text.upper()] if "." not in self._selected[0].text else ""
        if len(self._selected) > 1 or not entity:
            raise bad_parameter("INCLUDE is only valid for one quantity in the SELECT clause")
        if given.next.text == "1":
            given.take()
            self._includes = {name: {} for name in SCHEMA[entity].ones}
            return
        nodes = {self._selected[0].text.upper(): (entity, self._includes)}
        self._list(lambda: self._read_include(nodes))

    def _read_include(self, nodes: dict[str, tuple[str, Includes]]) -> None:
        alias, *steps = self._input.expect_kind("name").split(".")
        if alias.upper() not in nodes or not steps:
            raise bad_parameter(f"variable {alias} mentioned in INCLUDE clause is not defined")
        entity, node = nodes[alias.upper()]
        for step in steps:
            if step in node:
                raise bad_parameter(f"INCLUDE clause contains redundant path to {step}")
            entity, node[step] = _target(entity, step), {}
            node = node[step]
        self._input.accept("AS")
        if self._input.next.kind == "name":
            nodes[self._input.take().text.upper()] = entity, node


def _target(entity: str, name: str) -> str:
    if entity not in SCHEMA:
        raise bad_parameter("A variable is not defined in the FROM clause")
    known = SCHEMA[entity]
    if name in known.ones:
        return known.ones[name].target
    if name in known.manys:
        return known.manys[name][0]
    raise bad_parameter(f"{entity} has no relationship field {name}")


def _unique(values: list[Any]) -> list[Any]:
    """Drop what was there before; rows are told apart by what they are."""
    seen = {(one.entity, one.id) if isinstance(one, Row) else one: one for one in values}
    return list(seen.values())
