"""One module a catalogue; which one is used is a matter of configuration."""

from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.adapters.scicat.catalogue import ScicatCatalogue
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.ports import Catalogue
from datauploader_catalog.settings import CatalogSettings


def connect(settings: CatalogSettings) -> Catalogue:
    """Return the catalogue that the settings choose; close it when done."""
    if settings.vuo is not None and settings.adapter == "vuo":
        return VuoCatalogue(settings.vuo)
    if settings.scicat is not None and settings.adapter == "scicat":
        return ScicatCatalogue(settings.scicat)
    if settings.icat is not None and settings.adapter == "icat":
        return IcatCatalogue(settings.icat)
    return MemoryCatalogue()
