"""Carries one question to VUO and brings its text back: names, signatures, and no conclusions."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urljoin

from datauploader.plugins.catalogue.errors import CatalogueRefused
from datauploader_catalog.adapters.http import HttpAnswer, HttpClient
from datauploader_catalog.adapters.vuo.answers import unreadable
from datauploader_catalog.settings import VuoSettings

_MOST_BYTES = 8 * 1024 * 1024
_NAME = "the procedure's name is right (DATAUPLOADER_CATALOG_VUO__PROCEDURES__…)"
"""What to look at where VUO refuses a procedure."""


class VuoWire:
    """Speaks to VUO over kept connections, from any thread."""

    def __init__(self, settings: VuoSettings) -> None:
        self._settings = settings
        self._http = HttpClient(
            settings, urljoin(str(settings.base_url), settings.path), accept="text/plain", most_bytes=_MOST_BYTES
        )

    def read(self, procedure: str, form: Mapping[str, str]) -> str:
        """Ask something that changes nothing, so that a second try at once does no harm."""

        def ask() -> str:
            with self._http.ask(procedure, "GET", procedure, params=self._renamed(form)) as answer:
                return _text(answer)

        return self._http.repeat(ask)

    def write(self, procedure: str, form: Mapping[str, str]) -> str:
        """Ask for an effect, once: whoever gets no answer looks before asking again."""
        with self._http.ask(procedure, "POST", procedure, form=self._renamed(form)) as answer:
            return _text(answer)

    def sign(self, procedure: str, form: Mapping[str, str]) -> dict[str, str]:
        """Put the assumed FRM_HASH before the form; docs/catalogues/vuo.md says what string it is made of."""
        try:
            parts = [_sha1(text) for text in (procedure, *form.values())]
        except UnicodeEncodeError as error:
            raise CatalogueRefused(f"The request to VUO contains characters that are not text: {error}.") from error
        return {"FRM_HASH": self.signature(*parts), **form}

    def signature(self, *parts: str) -> str:
        """Hash the secret and these parts in the way of the known call: one behind the other."""
        return _sha1(self._settings.secret.get_secret_value() + "".join(parts))

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _renamed(self, form: Mapping[str, str]) -> dict[str, str]:
        names = self._settings.parameter_names
        return {names.get(name, name): value for name, value in form.items()}


def _text(answer: HttpAnswer) -> str:
    if answer.response.status_code != HTTPStatus.OK:
        raise answer.error(_NAME)
    body = answer.body()
    try:
        return body.decode(answer.response.charset_encoding or "utf-8")
    except (UnicodeDecodeError, LookupError) as error:
        raise unreadable(repr(body), "it is not text") from error


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - VUO's known call is made with it
