"""The procedures of VUO that the double plays: every answer is one line of text with colons.

Known from ElettraSciComp/h5nuvola: `vuo_sso.detail` and `vlab.sm_get_investigation_info`. All others are
assumed and follow docs/catalogues/vuo.md, written from that document and not from the adapter.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from datauploader_sandbox.vuo.seed import Proposal
from datauploader_sandbox.vuo.store import Store

Form = dict[str, str]
_LARGEST = 2**63 - 1
SIGNED = {
    "list_investigations": ("FRM_USR_ID",),
    "find_investigation": ("FRM_INVESTIGATION_ID", "FRM_NAME", "FRM_VISIT"),
    "create_investigation": (
        *("FRM_USR_ID", "FRM_NAME", "FRM_VISIT", "FRM_TITLE"),
        *("FRM_BEAMLINE", "FRM_START", "FRM_END"),
    ),
    "describe_investigation": ("FRM_USR_ID", "FRM_INVESTIGATION_ID", "FRM_DESCRIPTION"),
    "find_dataset": ("FRM_INVESTIGATION_ID", "FRM_NAME"),
    "create_dataset": (
        *("FRM_USR_ID", "FRM_INVESTIGATION_ID", "FRM_NAME"),
        *("FRM_LOCATION", "FRM_DESCRIPTION", "FRM_TYPE"),
    ),
    "add_datafiles": ("FRM_DATASET_ID", "FRM_DATAFILES"),
    "add_parameters": ("FRM_DATASET_ID", "FRM_DATAFILE", "FRM_PARAMETERS"),
    "describe_dataset": ("FRM_USR_ID", "FRM_DATASET_ID", "FRM_DESCRIPTION"),
    "complete_dataset": ("FRM_DATASET_ID",),
    "show_dataset": ("FRM_DATASET_ID",),
}
"""The assumed procedures and their parameters, in the order in which FRM_HASH is made of them."""


class _DatafileRow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    path: str = Field(min_length=1)
    location: str
    size: int = Field(ge=0, le=_LARGEST)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    mtime_ns: int = Field(ge=-_LARGEST, le=_LARGEST)


class _ParameterRow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1)
    value: str | int | float | bool
    units: str


_DATAFILES = TypeAdapter(list[_DatafileRow])
_PARAMETERS = TypeAdapter(list[_ParameterRow])


class TooWide(Exception):
    """A value does not fit into its column; its text is Oracle's."""


class Procedures:
    """Answers calls by name; `writes` are those that must be posted."""

    writes = frozenset(f"datauploader.{name}" for name in SIGNED if not name.startswith(("list_", "find_", "show_")))

    def __init__(self, store: Store, secret: str, widths: dict[str, int]) -> None:
        self._store = store
        self._widths = widths
        self._secret = secret
        self._assumed: dict[str, Callable[[Form], str]] = {
            "datauploader.list_investigations": self._list_investigations,
            "datauploader.find_investigation": self._find_investigation,
            "datauploader.create_investigation": self._create_investigation,
            "datauploader.describe_investigation": self._describe_investigation,
            "datauploader.describe_dataset": self._describe_dataset,
            "datauploader.find_dataset": self._find_dataset,
            "datauploader.create_dataset": self._create_dataset,
            "datauploader.add_datafiles": self._add_datafiles,
            "datauploader.add_parameters": self._add_parameters,
            "datauploader.complete_dataset": self._complete_dataset,
            "datauploader.show_dataset": self._show_dataset,
        }

    def answer(self, name: str, form: Form, login_url: str) -> str | None:
        """Return the text of the answer; None when there is no such procedure."""
        try:
            if name == "vuo_sso.detail":
                return self._who_is(form, login_url) + "\n"
            if name == "vlab.sm_get_investigation_info":
                return self._may_upload(form) + "\n"
            procedure = self._assumed.get(name)
            if procedure is None:
                return None
            return (procedure(form) if self._is_signed(name, form) else "HASH:FRM_HASH is not right.") + "\n"
        except TooWide as error:
            return f"{error}\n"
        except KeyError as error:
            return f"REFUSED:The parameter {error.args[0]} is missing.\n"

    def _fit(self, column: str, value: str) -> None:
        """Refuse a value as Oracle does, where the column has a width (bytes)."""
        most, size = self._widths.get(column), len(value.encode())
        if most is not None and size > most:
            table, _, name = column.upper().partition(".")
            raise TooWide(
                f'ORA-12899: value too large for column "VUO"."{table}"."{name}" (actual: {size}, maximum: {most})'
            )

    def _who_is(self, form: Form, login_url: str) -> str:
        user = self._store.user_of(form["cookie"])
        if user is None or form["what_detail"] != "unix":
            return f"KO:{login_url}"
        return f"OK:{user['id']}:{user['account']}:{user['uid']}:{user['gid']}"

    def _may_upload(self, form: Form) -> str:
        user_id, investigation_id = form["FRM_USR_ID"], form["FRM_INVESTIGATION_ID"]
        if not hmac.compare_digest(_sha1(self._secret + user_id + investigation_id), form["FRM_HASH"]):
            return "KO:The hash is not valid."
        user, refusal = self._store.user(user_id), self._refusal(user_id, investigation_id)
        investigation = self._store.investigation(investigation_id)
        if refusal or user is None or investigation is None:
            return f"KO:{refusal or 'The user is unknown.'}"
        return f"OK:{user['uid']}{investigation['base_dir']}"

    def _is_signed(self, name: str, form: Form) -> bool:
        values = [form[key] for key in SIGNED[name.removeprefix("datauploader.")]]
        expected = _sha1(self._secret + "".join(_sha1(text) for text in (name, *values)))
        return hmac.compare_digest(expected, form["FRM_HASH"])

    def _refusal(self, user_id: str, investigation_id: str) -> str:
        """Say why the user may not upload there; empty when they may, or when the service itself asks."""
        investigation = self._store.investigation(investigation_id)
        if investigation is not None and not investigation["active"]:
            return f"Investigation {investigation_id} is closed."
        return self._strange(user_id, investigation_id)

    def _strange(self, user_id: str, investigation_id: str) -> str:
        """Say why an investigation, open or closed, is none of the user's; empty when it is, or nobody asks."""
        user = self._store.user(user_id)
        if self._store.investigation(investigation_id) is None:
            return f"Investigation {investigation_id} does not exist."
        belongs = user is not None and (user["staff"] or user_id in self._store.members(investigation_id))
        if user_id and not belongs:
            return f"User {user_id} does not belong to investigation {investigation_id}."
        return ""

    def _list_investigations(self, form: Form) -> str:
        user_id = form["FRM_USR_ID"]
        if self._store.user(user_id) is None:
            return f"DENIED:User {user_id} is unknown."
        rows = [row for row in self._store.investigations() if not self._strange(user_id, row["id"])]
        return "\n".join([f"OK:{len(rows)}", *(_investigation(row) for row in rows)])

    def _find_investigation(self, form: Form) -> str:
        if form["FRM_INVESTIGATION_ID"]:
            row = self._store.investigation(form["FRM_INVESTIGATION_ID"])
        else:
            row = self._store.investigation_named(form["FRM_NAME"], form["FRM_VISIT"])
        return f"OK:{_investigation(row)}" if row else "ABSENT:There is no such investigation."

    def _create_investigation(self, form: Form) -> str:
        user = self._store.user(form["FRM_USR_ID"])
        if user is None or not user["staff"]:
            return "DENIED:Only staff may create investigations."
        name, visit = form["FRM_NAME"], form["FRM_VISIT"]
        if self._store.investigation_named(name, visit):
            self._store.count_duplicate("create_investigation")
            return "CONFLICT:The investigation exists already."
        new = self._store.next_investigation()
        proposal = Proposal(
            new, name, visit, form["FRM_TITLE"], f"/facility/store/{new}", (user["id"],), beamline=form["FRM_BEAMLINE"],
            start=form["FRM_START"], end=form["FRM_END"], principal_investigator=user["name"],
        )  # fmt: skip
        self._store.add_investigation(proposal)
        row = self._store.investigation(new)
        return f"OK:{_investigation(row)}" if row else "REFUSED:It could not be inserted."

    def _describe_investigation(self, form: Form) -> str:
        investigation_id = form["FRM_INVESTIGATION_ID"]
        row = self._store.investigation(investigation_id)
        if row is None:
            return "ABSENT:There is no such investigation."
        if refusal := self._strange(form["FRM_USR_ID"], investigation_id):
            return f"DENIED:{refusal}"
        self._store.describe("investigations", investigation_id, form["FRM_DESCRIPTION"])
        return f"OK:{investigation_id}"

    def _describe_dataset(self, form: Form) -> str:
        row = self._store.dataset(form["FRM_DATASET_ID"])
        if row is None:
            return "ABSENT:There is no such dataset."
        if refusal := self._strange(form["FRM_USR_ID"], row["investigation_id"]):
            return f"DENIED:{refusal}"
        self._store.describe("datasets", form["FRM_DATASET_ID"], form["FRM_DESCRIPTION"])
        return f"OK:{form['FRM_DATASET_ID']}"

    def _find_dataset(self, form: Form) -> str:
        row = self._store.dataset_named(form["FRM_INVESTIGATION_ID"], form["FRM_NAME"])
        return f"OK:{_dataset(row)}" if row else "ABSENT:There is no such dataset."

    def _create_dataset(self, form: Form) -> str:
        investigation_id, name = form["FRM_INVESTIGATION_ID"], form["FRM_NAME"]
        if refusal := self._refusal(form["FRM_USR_ID"], investigation_id):
            return f"DENIED:{refusal}"
        if twin := self._store.dataset_named(investigation_id, name):
            self._store.count_duplicate("create_dataset", twin["id"])
            return "CONFLICT:The dataset exists already."
        self._fit("datasets.name", name)
        self._fit("datasets.description", form["FRM_DESCRIPTION"])
        values = {"investigation_id": investigation_id, "name": name, "owner": form["FRM_USR_ID"]}
        others = {key: form[f"FRM_{key.upper()}"] for key in ("location", "description", "type")}
        self._store.add_dataset(values | others)
        return self._find_dataset(form)

    def _add_datafiles(self, form: Form) -> str:
        dataset = self._store.dataset(form["FRM_DATASET_ID"])
        if dataset is None:
            return "ABSENT:There is no such dataset."
        try:
            rows = [row.model_dump() for row in _DATAFILES.validate_json(form["FRM_DATAFILES"])]
        except ValidationError as error:
            return f"REFUSED:{_first_line(error)}"
        if dataset["complete"] and self._store.differ(dataset["id"], rows):
            return f"REFUSED:Dataset {dataset['id']} is complete; put new files into another dataset."
        for row in rows:
            self._fit("datafiles.path", row["path"])
        self._store.register(dataset["id"], rows)
        return f"OK:{len(rows)}"

    def _add_parameters(self, form: Form) -> str:
        dataset_id, datafile = form["FRM_DATASET_ID"], form["FRM_DATAFILE"]
        if self._store.dataset(dataset_id) is None:
            return "REFUSED:There is no such dataset."
        if datafile and not self._store.has_datafile(dataset_id, datafile):
            return "ABSENT:There is no such datafile."
        try:
            rows = [row.model_dump() for row in _PARAMETERS.validate_json(form["FRM_PARAMETERS"])]
        except ValidationError as error:
            return f"REFUSED:{_first_line(error)}"
        for row in rows:
            self._fit("parameters.name", row["name"])
            self._fit("parameters.value", str(row["value"]))
        self._store.set_parameters(dataset_id, datafile, rows)
        return f"OK:{len(rows)}"

    def _complete_dataset(self, form: Form) -> str:
        if self._store.dataset(form["FRM_DATASET_ID"]) is None:
            return "ABSENT:There is no such dataset."
        self._store.complete(form["FRM_DATASET_ID"])
        row = self._store.dataset(form["FRM_DATASET_ID"])
        return f"OK:{_dataset(row)}" if row else "ABSENT:There is no such dataset."

    def _show_dataset(self, form: Form) -> str:
        row = self._store.dataset(form["FRM_DATASET_ID"])
        if row is None:
            return "ABSENT:There is no such dataset."
        held = {
            "description": row["description"],
            "datafiles": [_fields(one, _DatafileRow.model_fields) for one in self._store.datafiles(row["id"])],
            "parameters": [
                {**_fields(one, ("datafile", "name", "units")), "value": json.loads(one["value"])}
                for one in self._store.parameters(row["id"])
            ],
        }
        return f"OK:{json.dumps(held)}"


def _fields(row: sqlite3.Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _investigation(row: sqlite3.Row) -> str:
    names = ("reason", "beamline", "start", "end", "principal_investigator", "description")
    more = [row[name] for name in names]
    return _row(row["id"], row["name"], row["visit"], row["title"], row["base_dir"], str(row["active"]), *more)


def _dataset(row: sqlite3.Row) -> str:
    return _row(str(row["id"]), row["investigation_id"], row["name"], row["location"], str(row["complete"]), "")


def _row(*fields: str) -> str:
    return ":".join(quote(field, safe="") for field in fields)


def _first_line(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"The JSON is not as agreed at {place or 'its top'}: {problem['msg']}".replace("\n", " ")


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()
