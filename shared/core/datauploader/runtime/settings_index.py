"""All settings classes of what is installed: the entry points of the group `datauploader.settings`."""

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points

from datauploader.errors import ConfigurationError
from datauploader.plugins.consumer import ConsumerSettings
from datauploader.plugins.harvester import HarvesterSettings
from datauploader.runtime.config import CONFIG_VARIABLE, ClientSettings, SectionSettings, Settings, read_section
from datauploader.runtime.metrics import COMMIT
from datauploader.runtime.secret_files import secret_of

GROUP = "datauploader.settings"
_OTHERS = {CONFIG_VARIABLE, COMMIT, "DATAUPLOADER_DEBUG"}


def settings_classes() -> dict[str, type[SectionSettings]]:
    """Find every settings class: what all share, the command line's, the plug-ins', then each service's by name."""
    found: dict[str, type[SectionSettings]] = {
        "common": Settings,
        "client": ClientSettings,
        "harvesters": HarvesterSettings,
        "consumers": ConsumerSettings,
    }
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        found[entry.name] = entry.load()
    return found


def settings_in_use() -> dict[str, type[SectionSettings]]:
    """Find the settings classes that count: of a plug-in that cannot do without a setting, only once one is set."""
    return {
        name: kind
        for name, kind in settings_classes().items()
        if _is_set(kind) or not any(field.is_required() for field in kind.model_fields.values())
    }


def _is_set(kind: type[SectionSettings]) -> bool:
    prefix = variable(kind, "")
    try:
        return any(name.upper().startswith(prefix) for name in os.environ) or bool(read_section(kind.section))
    except ConfigurationError:
        return True  # whoever loads it says what is wrong with the file


def variable(kind: type[SectionSettings], field: str) -> str:
    """Name the environment variable of a field."""
    return f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def unknown_variables(environment: Iterable[str] | Mapping[str, str]) -> list[str]:
    """Name the variables that look like ours and that nobody reads: misspelt, or of a service that is not here."""
    classes = settings_classes().values()
    known = {variable(kind, field) for kind in classes for field in kind.model_fields} | _OTHERS
    ours = sorted(name for name in environment if name.startswith("DATAUPLOADER_"))
    return [
        name
        for name in ours
        if name.split("__")[0] not in known and not any(secret_of(name, variable(kind, ""), kind) for kind in classes)
    ]
