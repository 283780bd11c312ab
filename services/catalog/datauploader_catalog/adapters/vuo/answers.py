"""Reads VUO's answers: one line of text, parts between colons, and a newline at its end.

The two known answers are those that the public client ElettraSciComp/h5nuvola reads; all others are
assumed, as docs/catalogues/vuo.md lays down. Nothing here ever takes an unreadable answer for "absent":
only the exact word does.
"""

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote, urlsplit

from datauploader_catalog.adapters.vuo.oracle_errors import meaning
from datauploader_catalog.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    UnknownSession,
    UnknownTrouble,
    ValueRefused,
)
from datauploader_catalog.ports import CatalogueInvestigation, CatalogueUser, Dataset, Grant

_STATUS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,64}")
_ACCOUNT = re.compile(r"(?![.-])[A-Za-z0-9._@$-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,12}")
_DATABASE_ERROR = re.compile(r"(ORA|PLS)-[0-9]+")
_SHOWN = 200
_MORE = 6
"""Fields of an investigation that only newer procedures answer."""


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
        raise _database_error(text.strip())
    return VuoAnswer(status, rest)


def is_id(text: str) -> bool:
    """Whether this can be an id of VUO's."""
    return _ID.fullmatch(text) is not None


def read_user(text: str) -> CatalogueUser:
    """Read `OK:<user id>:<unix user>:<uid>:<gid>`, known from h5nuvola; otherwise the login URL follows."""
    answer = read_answer(text)
    if not answer.ok:
        raise _not_signed_in(answer, text)
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
    raise _refusal(answer)


def unreadable(text: str, why: str) -> BadAnswer:
    """Return the error for an answer that means nothing."""
    return BadAnswer(
        f"VUO's answer cannot be read: {why} ({_shown(text)!r}). Nothing is concluded from it; "
        "it is retried. If that goes on, compare VUO with docs/catalogues/vuo.md."
    )


def _refusal(answer: VuoAnswer) -> CatalogError:
    words = answer.rest
    match answer.status:
        case "HASH":
            return NotTrusted(
                f"VUO does not accept the shared secret ({_shown(words)!r}). Correct it "
                "(DATAUPLOADER_CATALOG_VUO__SECRET); nothing is registered before the two secrets agree."
            )
        case "BUSY":
            return CatalogueUnavailable(f"VUO is busy ({_shown(words)!r}); it is retried.")
        case "DENIED":
            return CatalogueForbids(f"VUO does not allow this: {_shown(words)!r}. Ask the user office.", words=words)
        case "REFUSED" | "ABSENT" | "CONFLICT":
            return CatalogueRefused(f"VUO refused: {_shown(words)!r}.", words=words)
    return unreadable(f"{answer.status}:{words}", "its status word is none of the agreed ones")


def _database_error(text: str) -> CatalogError:
    """Return what an error of Oracle's means in place of an answer."""
    words = _shown(text)
    match meaning(text):
        case "refused":
            return ValueRefused(f"VUO's database refuses a value: {words!r}.", words=text)
        case "passes":
            return CatalogueUnavailable(f"VUO's database is busy ({words!r}); it is retried.")
    return UnknownTrouble(f"VUO's database failed ({words!r}); ask the operators of VUO.")


def _not_signed_in(answer: VuoAnswer, text: str) -> CatalogError:
    try:
        url = urlsplit(answer.rest)
        host = url.hostname
    except ValueError:
        return unreadable(text, "neither a user nor a login address follows")
    if url.scheme not in {"http", "https"} or not host:
        return unreadable(text, "neither a user nor a login address follows")
    return UnknownSession("VUO does not know this session; it may have expired.", login_url=answer.rest)


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
