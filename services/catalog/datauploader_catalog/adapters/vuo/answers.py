"""Reads VUO's answers: one line of text, parts between colons, and a newline at its end.

The two known answers are those that the public client ElettraSciComp/h5nuvola reads; all others are
assumed, as docs/catalogues/vuo.md lays down. Nothing here ever takes an unreadable answer for "absent":
only the exact word does.

Which of Oracle's errors refuse a value, which pass by themselves, and which nobody here knows, is here as well: each
number is described at https://docs.oracle.com/error-help/db/ora-NNNNN/ (five digits), and docs/catalogues/vuo.md says
the same as a table, for the people of VUO.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal
from urllib.parse import unquote, urlsplit

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    UnknownSession,
    UnknownTrouble,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import CatalogueInvestigation, CatalogueUser, Dataset, Grant

_STATUS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,64}")
_ACCOUNT = re.compile(r"(?![.-])[A-Za-z0-9._@$-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,12}")
_DATABASE_ERROR = re.compile(r"(ORA|PLS)-[0-9]+")
_SHOWN = 200
_MORE = 6
"""Fields of an investigation that only newer procedures answer."""

Meaning = Literal["refused", "passes", "unknown"]

_ORACLE_LINE = re.compile(r"^(ORA|PLS)-([0-9]+)", re.MULTILINE)
_OF_APPLICATION = range(20000, 21000)
"""What VUO's own procedures raise (RAISE_APPLICATION_ERROR)."""
_REFUSED = frozenset(
    (
        1400, 1401, 1407, 1426, 1438, 1461, 1704, 1722, 1830, 1839, 1841, 1843, 1847, 1858, 1861, 2290, 2291, 6502,
        12899, 22835, 40441, 40478,
    )
)  # fmt: skip
"""Empty, too long, too large, no number, no date, against a constraint, no JSON."""
_PASSES = frozenset(
    (
        18, 20, 28, 54, 60, 257, 1012, 1013, 1033, 1034, 1089, 1090, 1092, 1109, 1555, 1652, 1653, 1654, 1688, 1691,
        2049, 2391, 2396, 2399, 3113, 3114, 3135, 4020, 4021, 4030, 4031, 4061, 4068, 8177, 25408, 30006,
    )
)  # fmt: skip
"""Sessions and processes used up, locks, a restart, no room, no memory, a lost connection, a renewed package."""
_OF_NETWORK = range(12150, 12700)
"""Oracle Net: listeners and connections."""


@dataclass(frozen=True, slots=True)
class VuoAnswer:
    """An answer of VUO that can be read: its status word, and everything after the first colon."""

    status: str
    rest: str

    @property
    def ok(self) -> bool:
        """Whether VUO did what it was asked."""
        return self.status == "OK"


def read_answer(text: str) -> VuoAnswer:
    """Split an answer into status and rest; one that does not end in a newline was cut off."""
    if not text.endswith("\n"):
        raise unreadable(text, "it does not end in a newline, so it may have been cut off")
    status, colon, rest = text.removesuffix("\n").removesuffix("\r").partition(":")
    if not colon or not _STATUS.fullmatch(status):
        raise unreadable(text, "it does not begin with a status word and a colon")
    if _DATABASE_ERROR.fullmatch(status):
        text = text.strip()
        match meaning(text):
            case "refused":
                raise ValueRefused(f"VUO's database refuses a value: {_shown(text)!r}.", words=text)
            case "passes":
                raise CatalogueUnavailable(f"VUO's database is busy ({_shown(text)!r}); it is retried.")
        raise UnknownTrouble(f"VUO's database failed ({_shown(text)!r}); ask the operators of VUO.")
    return VuoAnswer(status, rest)


def is_id(text: str) -> bool:
    """Whether this can be an id of VUO's."""
    return _ID.fullmatch(text) is not None


def read_user(text: str) -> CatalogueUser:
    """Read `OK:<user id>:<unix user>:<uid>:<gid>`, known from h5nuvola; otherwise the login URL follows."""
    answer = read_answer(text)
    if not answer.ok:
        try:
            url = urlsplit(answer.rest)
            leads = bool(url.hostname) and url.scheme in {"http", "https"}
        except ValueError:
            leads = False
        if not leads:
            raise unreadable(text, "neither a user nor a login address follows")
        raise UnknownSession("VUO does not know this session; it may have expired.", login_url=answer.rest)
    parts = answer.rest.split(":")
    match parts:
        case [user_id, account, uid, gid, *_] if is_id(user_id) and _ACCOUNT.fullmatch(account):
            return CatalogueUser(user_id, account, _number(uid, text), _number(gid, text))
    raise unreadable(text, "a user id, a unix user, a uid and a gid were expected")


def read_grant(text: str, user_id: str, investigation_id: str) -> Grant:
    """Read `OK:<uid>/<base dir>`, known from h5nuvola; otherwise VUO's own words follow."""
    answer = read_answer(text)
    if not answer.ok:
        raise CatalogueForbids(
            f"VUO does not let user {user_id} upload to investigation {investigation_id}: "
            f"{_shown(answer.rest)!r}. Ask the investigation's principal investigator or the user office.",
            words=answer.rest,
        )
    uid, slash, base_dir = answer.rest.partition("/")
    if not slash:
        raise unreadable(text, "a uid, a slash and a directory were expected")
    return Grant(_base_dir("/" + base_dir, text), _number(uid, text))


def read_count(text: str) -> int:
    """Read the assumed `OK:<count>`."""
    return _number(accepted(read_answer(text)).rest, text)


def read_dataset(answer: VuoAnswer) -> Dataset:
    """Read the assumed row `<id>:<investigation id>:<name>:<location>:<complete>:<doi>`."""
    match _fields(answer.rest):
        case [dataset_id, investigation_id, name, location, complete, doi] if is_id(dataset_id):
            return Dataset(dataset_id, investigation_id, name, location, _flag(complete, answer.rest), doi or None)
    raise unreadable(answer.rest, "a dataset of six fields was expected")


def read_investigation(row: str) -> CatalogueInvestigation:
    """Read the assumed row of an investigation: six fields, or six more that say more about it."""
    match _fields(row):
        case [investigation_id, name, visit, title, base_dir, active, *more] if is_id(investigation_id):
            if len(more) not in {0, _MORE}:
                raise unreadable(row, "an investigation of six or twelve fields was expected")
            reason, beamline, start, end, leader, description = more or [""] * _MORE
            return CatalogueInvestigation(
                investigation_id, name, visit, title, _base_dir(base_dir, row), _flag(active, row), reason, beamline,
                _day(start, row), _day(end, row), leader, description,
            )  # fmt: skip
    raise unreadable(row, "an investigation of six or twelve fields was expected")


def read_investigations(text: str) -> tuple[CatalogueInvestigation, ...]:
    """Read the assumed `OK:<count>` and as many lines of one investigation each."""
    head, *rows = accepted(read_answer(text)).rest.split("\n")
    if _number(head.removesuffix("\r"), text) != len(rows):
        raise unreadable(text, "it announces another number of investigations than it holds")
    return tuple(read_investigation(row.removesuffix("\r")) for row in rows)


def accepted(answer: VuoAnswer) -> VuoAnswer:
    """Return an OK answer; raise what any other status of the assumed procedures means."""
    if answer.ok:
        return answer
    words = answer.rest
    match answer.status:
        case "HASH":
            raise NotTrusted(
                f"VUO does not accept the shared secret ({_shown(words)!r}). Correct it "
                "(DATAUPLOADER_CATALOG_VUO__SECRET); nothing is registered before the two secrets agree."
            )
        case "BUSY":
            raise CatalogueUnavailable(f"VUO is busy ({_shown(words)!r}); it is retried.")
        case "DENIED":
            raise CatalogueForbids(f"VUO does not allow this: {_shown(words)!r}. Ask the user office.", words=words)
        case "REFUSED" | "ABSENT" | "CONFLICT":
            raise CatalogueRefused(f"VUO refused: {_shown(words)!r}.", words=words)
    raise unreadable(f"{answer.status}:{words}", "its status word is none of the agreed ones")


def unreadable(text: str, why: str) -> BadAnswer:
    """Return the error for an answer that means nothing."""
    return BadAnswer(
        f"VUO's answer cannot be read: {why} ({_shown(text)!r}). Nothing is concluded from it; "
        "it is retried. If that goes on, compare VUO with docs/catalogues/vuo.md."
    )


def _fields(row: str) -> list[str]:
    try:
        return [unquote(field, errors="strict") for field in row.split(":")]
    except UnicodeDecodeError as error:
        raise unreadable(row, "a field is not percent-encoded UTF-8") from error


def _number(digits: str, text: str) -> int:
    if not _NUMBER.fullmatch(digits):
        raise unreadable(text, "a number was expected")
    return int(digits)


def _flag(digit: str, text: str) -> bool:
    if digit not in {"0", "1"}:
        raise unreadable(text, "a 0 or 1 was expected")
    return digit == "1"


def _day(text: str, row: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise unreadable(row, "a day such as 2026-01-31 was expected") from error


def _base_dir(path: str, text: str) -> str:
    unsafe = not path.startswith("/") or path == "/" or ".." in path.split("/")
    if unsafe or not path.isprintable():
        raise unreadable(text, "the directory is not a plain absolute path")
    return path


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def meaning(text: str) -> Meaning:
    """Say what an error text means; of a stack of errors the first one that is known counts."""
    for kind, digits in _ORACLE_LINE.findall(text):
        number = int(digits)
        if kind == "ORA" and (number in _REFUSED or number in _OF_APPLICATION):
            return "refused"
        if kind == "ORA" and (number in _PASSES or number in _OF_NETWORK):
            return "passes"
    return "unknown"
