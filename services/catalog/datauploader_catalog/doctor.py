"""What `datauploader doctor` asks of the catalog: does the catalogue answer, and as one that knows us."""

from collections.abc import Iterator
from contextlib import suppress

from pydantic import SecretStr

from datauploader.messaging.rabbit import check_foreign_exchange
from datauploader.plugins.catalogue.errors import CatalogError, CatalogueRefused, UnknownSession
from datauploader.runtime import proxies
from datauploader.runtime.config import Settings, load
from datauploader.runtime.service import Check
from datauploader_catalog.adapters import connect
from datauploader_catalog.settings import CatalogSettings
from datauploader_catalog.useroffice import broker_url


def examine(_settings: Settings) -> Iterator[Check]:
    """Ask about somebody whom the catalogue cannot know; a no in its own words is the right answer."""
    settings = load(CatalogSettings)
    if settings.useroffice is not None:
        hindrance = check_foreign_exchange(broker_url(settings.useroffice), settings.useroffice.exchange)
        yield Check("user office", not hindrance, hindrance or "its broker can be reached, and has its exchange")
    catalogue = connect(settings)
    try:
        with suppress(UnknownSession):
            catalogue.identify(SecretStr("nobody"))
        with suppress(CatalogueRefused):
            catalogue.investigations("1")
        catalogue.probe_catalogue()
    except CatalogError as error:
        chosen = getattr(settings, settings.adapter, None)
        has_none = getattr(chosen, "proxy", None) == ""
        hint = proxies.hint(f"catalog.{settings.adapter}.proxy") if has_none else ""
        yield Check("catalogue", ok=False, detail=f"{error}{hint}")
    else:
        yield Check("catalogue", ok=True, detail="it answers, and lets this service in")
    finally:
        catalogue.close()
