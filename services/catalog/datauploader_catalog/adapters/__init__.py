"""One folder a catalogue; which one is used is a matter of configuration, and others plug in."""

from collections.abc import Callable
from importlib.metadata import entry_points

from datauploader.errors import ConfigurationError
from datauploader.plugins.catalogue.port import Catalogue
from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.adapters.scicat.catalogue import ScicatCatalogue
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.settings import CatalogSettings

GROUP = "datauploader.catalogues"
"""Entry points of other catalogues: functions without arguments, which read settings of their own."""


def connect(settings: CatalogSettings) -> Catalogue:
    """Return the catalogue that the settings choose; close it when done.

    Raises:
        ConfigurationError: none of this name is installed here, or its own settings are wrong.
    """
    if settings.vuo is not None and settings.adapter == "vuo":
        return VuoCatalogue(settings.vuo)
    if settings.scicat is not None and settings.adapter == "scicat":
        return ScicatCatalogue(settings.scicat)
    if settings.icat is not None and settings.adapter == "icat":
        return IcatCatalogue(settings.icat)
    if settings.adapter == "memory":
        return MemoryCatalogue()
    for entry in entry_points(group=GROUP, name=settings.adapter):
        create: Callable[[], Catalogue] = entry.load()
        return create()
    known = ("vuo", "scicat", "icat", "memory", *sorted(entry.name for entry in entry_points(group=GROUP)))
    raise ConfigurationError(
        f"there is no catalogue {settings.adapter!r} installed here; adapter in [catalog] can be {', '.join(known)}"
    )
