"""Rows as ICAT's REST interface shows them: what is null is left out, what was not included is an empty list."""

from typing import Any

from datauploader_sandbox.icat.errors import IcatError
from datauploader_sandbox.icat.query import Includes
from datauploader_sandbox.icat.schema import SCHEMA
from datauploader_sandbox.icat.store import Row, Store
from datauploader_sandbox.icat.values import Date, write_date


class Renderer:
    """Shows the results of one query to one user, and counts the rows in them."""

    def __init__(self, store: Store, user: str, most: int) -> None:
        self._store, self._user, self._most, self._shown = store, user, most, 0

    def result(self, value: Any, includes: Includes) -> Any:
        """Show one result: a row, a value, or several in a tuple."""
        if isinstance(value, tuple):
            return [self.result(one, {}) for one in value]
        if isinstance(value, Row):
            return {value.entity: self.row(value, includes)}
        return write_date(value) if isinstance(value, Date) else value

    def row(self, row: Row, includes: Includes) -> dict[str, Any]:
        """Show a row with what is included."""
        self._shown += 1
        if self._shown > self._most:
            raise IcatError("VALIDATION", f"attempt to return more than {self._most} entities")
        known = SCHEMA[row.entity]
        shown: dict[str, Any] = {
            "id": row.id,
            "createId": row.create_id,
            "createTime": write_date(row.create_time),
            "modId": row.mod_id,
            "modTime": write_date(row.mod_time),
        }
        for name in known.attributes:
            value = row.values.get(name)
            if value is not None:
                shown[name] = self.result(value, {})
        for name, one in known.ones.items():
            held = row.values.get(name)
            if name in includes and held is not None and self._may_read(one.target):
                shown[name] = self.row(self._store.rows[one.target][held], includes[name])
        for name, (entity, _) in known.manys.items():
            children = self._store.children(row, name) if name in includes and self._may_read(entity) else []
            shown[name] = [self.row(child, includes[name]) for child in children]
        return shown

    def _may_read(self, entity: str) -> bool:
        return self._store.rules.allow(self._user, "R", entity)
