"""One folder a catalogue; which one is used is a matter of configuration, and others plug in."""

import functools
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from datauploader.errors import ConfigurationError
from datauploader.plugins.catalogue.errors import CatalogError, CatalogueRefused, CatalogueUnavailable, NotYetThere
from datauploader.plugins.catalogue.port import Catalogue
from datauploader.runtime import metrics, tracing
from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.adapters.scicat.catalogue import ScicatCatalogue
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.settings import CatalogSettings

GROUP = "datauploader.catalogues"
"""Entry points of other catalogues: functions without arguments, which read settings of their own."""

PROCEDURES = (
    "identify", "sign_in", "investigations", "investigations_named", "authorise", "investigation",
    "ensure_investigation", "find_dataset", "ensure_dataset", "register_datafiles", "attach_parameters",
    "describe_dataset", "describe_investigation", "complete_dataset", "probe_catalogue",
)  # fmt: skip
"""What is asked of a catalogue, as its port calls it."""

_OUTCOMES = ((CatalogueRefused, "refused"), (CatalogueUnavailable, "unavailable"), (NotYetThere, "not_yet"))


def connect(settings: CatalogSettings) -> Catalogue:
    """Return the catalogue that the settings choose, its calls measured; close it when done.

    Raises:
        ConfigurationError: none of this name is installed here, or its own settings are wrong.
    """
    http = {"vuo": settings.vuo, "scicat": settings.scicat, "icat": settings.icat}.get(settings.adapter)
    if http is not None:
        metrics.PROCESS.certificates.add("catalogue", str(http.base_url), http.ca_file)
    return _measured(_chosen(settings))


def _chosen(settings: CatalogSettings) -> Catalogue:
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


def _measured(catalogue: Catalogue) -> Catalogue:
    """Have its procedures counted and timed: in place, because an adapter may offer more than the port has."""
    for name in PROCEDURES:
        if (procedure := getattr(catalogue, name, None)) is not None:
            setattr(catalogue, name, _timed(name, procedure))
    return catalogue


def _timed(name: str, procedure: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(procedure)
    def timed(*arguments: Any, **named: Any) -> Any:
        began, outcome = time.perf_counter(), "error"
        try:
            with tracing.calling(f"catalogue {name}"):
                answer = procedure(*arguments, **named)
            outcome = "ok"
        except CatalogError as error:
            outcome = next((word for kind, word in _OUTCOMES if isinstance(error, kind)), outcome)
            raise
        finally:
            metrics.CATALOGUE_SECONDS.labels(name, outcome).observe(time.perf_counter() - began)
        return answer

    return timed
