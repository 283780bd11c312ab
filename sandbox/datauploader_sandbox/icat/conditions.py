"""WHERE: conditions of a query as functions that say of a combination of rows whether it is meant."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from datauploader_sandbox.icat.errors import bad_parameter
from datauploader_sandbox.icat.schema import SCHEMA
from datauploader_sandbox.icat.store import Row, Store
from datauploader_sandbox.icat.tokens import Input
from datauploader_sandbox.icat.values import Date

Found = Mapping[str, Row | None]
"""A combination of rows: by alias in capitals."""
Condition = Callable[[Found], bool | None]
"""What it says; None where it cannot, because a value is null."""
Operand = Callable[[Found], Any]
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": eq, "!=": ne, "<>": ne, "<": lt, ">": gt, "<=": le, ">=": ge,
}  # fmt: skip
_META = {"id": "id", "createId": "create_id", "createTime": "create_time", "modId": "mod_id", "modTime": "mod_time"}


def _read_timestamp(text: str) -> Date:
    """Read `{ts 2026-01-31 12:00:00}`."""
    moment = datetime.fromisoformat(text.strip("{} ")[2:].strip())
    return Date(moment.replace(tzinfo=UTC).timestamp() * 1000)


_LITERALS: dict[str, Callable[[str], Any]] = {
    "string": str, "integer": int, "real": float, "timestamp": _read_timestamp,
}  # fmt: skip


def read_path(store: Store, aliases: Mapping[str, str], text: str) -> Operand:
    """Return what gives the value of `ds.investigation.name`: a value, or a row."""
    alias, *steps = text.split(".")
    if alias.upper() not in aliases:
        raise bad_parameter(f"idVar '{alias}' is not defined in the FROM clause.")
    entity = aliases[alias.upper()]
    for number, step in enumerate(steps):
        known = SCHEMA[entity]
        if step in known.ones:
            entity = known.ones[step].target
        elif not (step in known.attributes or step in _META) or number + 1 < len(steps):
            raise bad_parameter(f"The state field path '{text}' cannot be resolved to a valid type.")

    def value(found: Found) -> Any:
        row: Any = found[alias.upper()]
        for step in steps:
            if row is None:
                return None
            known = SCHEMA[row.entity]
            if step in known.ones:
                held = row.values.get(step)
                row = None if held is None else store.rows[known.ones[step].target][held]
            else:
                row = getattr(row, _META[step]) if step in _META else row.values.get(step)
        return row

    return value


class Conditions:
    """Reads conditions over these aliases."""

    def __init__(self, store: Store, aliases: Mapping[str, str], given: Input) -> None:
        self._store, self._aliases, self._input = store, aliases, given

    def read(self) -> Condition:
        """Read conditions joined by OR and AND."""
        either = [self._all()]
        while self._input.accept("OR"):
            either.append(self._all())
        return lambda found: _joined([one(found) for one in either], decides=True)

    def _all(self) -> Condition:
        each = [self._one()]
        while self._input.accept("AND"):
            each.append(self._one())
        return lambda found: _joined([one(found) for one in each], decides=False)

    def _one(self) -> Condition:
        if self._input.accept("NOT"):
            inner = self._one()
            return lambda found: None if (said := inner(found)) is None else not said
        if self._input.accept("("):
            inner = self.read()
            self._input.expect(")")
            return inner
        return self._comparison(self._operand())

    def _comparison(self, left: Operand) -> Condition:
        given, fold = self._input, self._store.fold
        if given.accept("IS"):
            wanted = not given.accept("NOT")
            given.expect("NULL")
            return lambda found: (left(found) is None) is wanted
        denied = bool(given.accept("NOT"))
        if given.accept("IN"):
            return self._in(left, denied=denied)
        if given.accept("BETWEEN"):
            low = self._operand()
            given.expect("AND")
            high = self._operand()
            return lambda found: _known(left(found), lambda v: (low(found) <= v <= high(found)) is not denied)
        if given.accept("LIKE"):
            pattern = re.compile(re.escape(given.expect_kind("string")).replace("%", ".*").replace("_", "."), re.DOTALL)
            return lambda found: _known(left(found), lambda v: (pattern.fullmatch(v) is not None) is not denied)
        compare = _COMPARE[given.expect(*_COMPARE)]
        right = self._operand()
        return lambda found: _known(
            left(found), lambda v: _known(right(found), lambda w: compare(fold(_bare(v)), fold(_bare(w))))
        )

    def _in(self, left: Operand, *, denied: bool) -> Condition:
        given, fold = self._input, self._store.fold
        given.expect("(")
        some = [self._literal()]
        while given.accept(","):
            some.append(self._literal())
        given.expect(")")
        held = {fold(one) for one in some}
        return lambda found: _known(left(found), lambda v: (fold(v) in held) is not denied)

    def _operand(self) -> Operand:
        given = self._input
        if function := given.accept("UPPER", "LOWER", "CONCAT"):
            return self._function(function)
        if word := given.accept("TRUE", "FALSE"):
            return lambda _: word == "TRUE"
        if given.next.kind == "name":
            return read_path(self._store, self._aliases, given.take().text)
        value = self._literal()
        return lambda _: value

    def _literal(self) -> Any:
        token = self._input.take()
        if token.kind not in _LITERALS:
            raise bad_parameter(f"Unexpected {token.text!r} in: {self._input.query}")
        return _LITERALS[token.kind](token.text)

    def _function(self, name: str) -> Operand:
        self._input.expect("(")
        arguments = [self._operand()]
        while self._input.accept(","):
            arguments.append(self._operand())
        self._input.expect(")")

        def value(found: Found) -> str | None:
            parts = [argument(found) for argument in arguments]
            if None in parts:
                return None
            text = "".join(parts)
            return text.upper() if name == "UPPER" else text.lower() if name == "LOWER" else text

        return value


def _known(value: Any, judge: Callable[[Any], bool | None]) -> bool | None:
    return None if value is None else judge(value)


def _joined(said: list[bool | None], *, decides: bool) -> bool | None:
    """Join what conditions say: one that is `decides` is enough; else nothing is known where one knows nothing."""
    if decides in said:
        return decides
    return None if None in said else not decides


def _bare(value: Any) -> Any:
    """Let rows be compared by their ids."""
    return value.id if isinstance(value, Row) else value
