"""Who we are at SciCat: signs the service in, and asks who it is before a refusal or an absence is believed.

A token that has ended does not fail: its bearer is nobody from then on. Lists are answered with what is public, and
writes with 403, as if the account had no right to them.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from datauploader.plugins.catalogue.errors import BadAnswer, CatalogueUnavailable, NotTrusted
from datauploader_catalog.adapters.credentials import RefusedCredentials
from datauploader_catalog.adapters.scicat import records
from datauploader_catalog.adapters.scicat.wire import Answer, ScicatWire
from datauploader_catalog.settings import ScicatSettings

_NOBODY = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_MARGIN_S = 60.0
"""A token is renewed this long before its end, or after three quarters of a short life."""
TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
"""What can be sent as a token; all else would be told in the error of the HTTP library."""
_PAGE = 100
_TRIES = 5
_IDENTITY = "v3/users/my/identity"

Record = dict[str, Any]


class ScicatSession:
    """The service's own session, renewed as it ends; may be used from any number of threads."""

    def __init__(self, settings: ScicatSettings, wire: ScicatWire) -> None:
        self._settings, self._wire = settings, wire
        self._lock, self._refused = threading.Lock(), RefusedCredentials()
        self._token = settings.token
        self._renew_at = float("inf") if self._token.get_secret_value() else 0.0
        self._api = "" if settings.api == "auto" else settings.api
        self.account = settings.username
        """The account's name, which SciCat writes on what it has made; "" until it was asked."""

    def api(self) -> str:
        """Return `v4` where SciCat writes datasets and origdatablocks by it, else `v3`."""
        if not self._api:
            answer = self.ask("v4/origdatablocks", {"filter": {"where": {"datasetId": "-"}, "limits": {"limit": 1}}})
            if answer.status == HTTPStatus.OK:
                self._api = "v4"
            elif answer.status == HTTPStatus.NOT_FOUND and answer.words.startswith("Cannot GET"):
                self._api = "v3"
            else:
                raise answer.refusal("the question which interfaces there are")
        return self._api

    def ask(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Read as the service's account."""
        return self._known(lambda token: self._wire.read(path, token, query))

    def find(self, path: str, query: Mapping[str, Any] | None = None) -> Answer | None:
        """Read one record; None where SciCat says to the service's account that there is none."""
        answer = self._known(lambda token: self._wire.read(path, token, query), believe=False)
        if answer.status == HTTPStatus.NOT_FOUND and not answer.is_absence:
            raise answer.refusal(path)
        return None if answer.is_absence else answer

    def all(self, path: str, parameter: str, wanted: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        """Read all records of a filter, page by page; `parameter` is what the filter is called there."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            limits = {**wanted.get("limits", {}), "limit": _PAGE, "skip": len(found)}
            page = self.records(path, {parameter: {**wanted, "limits": limits}})
            known = len(found)
            found |= {str(one.get(key)): one for one in page}
            if len(page) < _PAGE:
                return list(found.values())
            if len(found) == known:
                raise BadAnswer(f"SciCat answers with the same page of {path} again and again; it is retried.")

    def records(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read records that a filter describes; all of those, not only the public ones."""
        answer = self._known(lambda token: self._wire.read(path, token, query), believe=False)
        if answer.status != HTTPStatus.OK:
            raise answer.refusal(f"a list of {path}")
        return answer.records()

    def tell(self, method: str, path: str, body: object, unmodified_since: str = "") -> Answer:
        """Write as the service's account; what is refused to nobody has had no effect, and is said once more."""
        return self._known(lambda token: self._wire.write(method, path, token, body, unmodified_since))

    def change(
        self, path: str, read: Callable[[], Record], decide: Callable[[Record], Record], what: str, doing: str
    ) -> Record:
        """Read a record, decide what to change and change it, if nobody else has done so meanwhile.

        Args:
            path: of the record.
            read: fetches it.
            decide: returns the fields to set; none: the record stays as it is.
            what: names it in errors.
            doing: what this is called there, such as `a change of`.
        """
        for _ in range(_TRIES):
            record = read()
            if not (body := decide(record)):
                return record
            answer = self.tell("PATCH", path, body, records.after(records.text(record, "updatedAt")))
            if answer.status == HTTPStatus.OK:
                return record | body
            if answer.status != HTTPStatus.PRECONDITION_FAILED:
                raise answer.refusal(f"{doing} {what}")
        raise BadAnswer(f"Others change {what} in SciCat again and again at the same time; it is retried.")

    def whose(self, token: str) -> dict[str, Any] | None:
        """Return the identity of whoever has this token; None where SciCat does not know it, or them."""
        answer = self._wire.read(_IDENTITY, token)
        known = _says_who(answer) and answer.body is not None
        return answer.record() if known else None

    def sign_in(self, username: str, password: SecretStr) -> str | None:
        """Return a token of the person with this name and password; None where SciCat does not know them."""
        credentials = {"username": username, "password": password.get_secret_value()}
        found = self._token_for(f"v3/auth/{self._settings.people_login}", credentials)
        return found[0] if found else None

    def require(self) -> None:
        """Raise unless SciCat knows the service's account."""
        self._note(self.ask(_IDENTITY))

    def _known(self, call: Callable[[str], Answer], *, believe: bool = True) -> Answer:
        """Make a call with a token of which SciCat knows whose it is.

        Args:
            call: takes a token.
            believe: only a refusal needs the proof; else everything but a record does, for which it does not matter
                who has asked.
        """
        for _ in range(2):
            token = self._signed_in()
            answer = call(token)
            is_record = answer.status == HTTPStatus.OK and isinstance(answer.body, dict)
            doubtful = answer.status in _NOBODY or not (believe or is_record)
            if not doubtful or self._is_known(token):
                return answer
            self._forget(token)
        raise CatalogueUnavailable("SciCat's sessions end while they are used; it is retried.")

    def _is_known(self, token: str) -> bool:
        answer = self._wire.read(_IDENTITY, token)
        self._note(answer)
        return _says_who(answer)

    def _note(self, answer: Answer) -> None:
        """Remember the account's name."""
        _says_who(answer)
        profile = answer.body.get("profile") if isinstance(answer.body, dict) else None
        if isinstance(profile, dict) and isinstance(profile.get("username"), str):
            self.account = profile["username"]

    def _signed_in(self) -> str:
        with self._lock:
            if time.monotonic() >= self._renew_at:
                self._sign_in()
            return self._token.get_secret_value()

    def _sign_in(self) -> None:
        self._refused.check()
        body = {"username": self._settings.username, "password": self._settings.password.get_secret_value()}
        begun = time.monotonic()
        found = self._token_for("v3/auth/login", body)
        if found is None:
            raise self._refused.refused(
                f"SciCat does not accept the account {self._settings.username!r}; check "
                "DATAUPLOADER_CATALOG_SCICAT__USERNAME and DATAUPLOADER_CATALOG_SCICAT__PASSWORD."
            )
        self._refused.accepted()
        token, lasts = found
        self._token = SecretStr(token)
        self._renew_at = begun + max(lasts - _MARGIN_S, lasts * 0.75)

    def _token_for(self, path: str, credentials: Mapping[str, str]) -> tuple[str, float] | None:
        """Return a token and the seconds for which it lasts; None where nobody is known by these credentials."""
        answer = self._wire.write("POST", path, "", credentials)
        if answer.status in _NOBODY:
            return None
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise BadAnswer(f"SciCat's sign-in answers HTTP {answer.status}: {answer.words}; it is retried.")
        record = answer.record()
        token, lasts = record.get("access_token") or record.get("id"), record.get("expires_in") or record.get("ttl")
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise answer.unreadable("a token was expected")
        return token, float(lasts) if isinstance(lasts, (int, float)) and lasts > 0 else 3600.0

    def _forget(self, token: str) -> None:
        """Sign in again at the next call, unless another thread has done so."""
        if self._settings.token.get_secret_value():
            raise NotTrusted("SciCat does not know the service's token; set a new DATAUPLOADER_CATALOG_SCICAT__TOKEN.")
        with self._lock:
            if self._token.get_secret_value() == token:
                self._renew_at = 0.0


def _says_who(answer: Answer) -> bool:
    """Tell whether the bearer of a token is somebody.

    Raises:
        BadAnswer: this is not SciCat's answer.
    """
    if answer.status not in {HTTPStatus.OK, *_NOBODY}:
        raise BadAnswer(
            f"There is no SciCat here: it answers who-am-I with HTTP {answer.status} ({answer.words}); see "
            "DATAUPLOADER_CATALOG_SCICAT__BASE_URL."
        )
    return answer.status == HTTPStatus.OK


def address(*parts: str) -> str:
    """Write an address of which each part is one piece, such as a pid with slashes in it."""
    return "/".join(quote(part, safe="") for part in parts)
