"""Where the catalogue of files and folders is: table `[folder_catalogue]`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from datauploader.errors import ConfigurationError
from datauploader.runtime.config import SectionSettings, load
from datauploader_catalogue_folder.catalogue import FolderCatalogue


class FolderCatalogueSettings(SectionSettings):
    """What an administrator says about the folder (docs/catalogues/folder.md)."""

    section: ClassVar[str] = "folder_catalogue"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_FOLDER_CATALOGUE_")

    root: Path | None = None
    """The folder of the catalogue, which may be a share; it has a file `catalogue.json`."""
    may_create: bool = True
    """People may make investigations where `[catalog] create_investigations` lets them."""
    page: str = ""
    """Address of a web server that shows the folder, before `/datasets/ID`; empty: there are no pages."""
    base_dir: str = Field(default="/{id}", pattern=r"^/[^{}]*(\{id\}[^{}]*)?$")
    """Where the data of an investigation belong that does not say so itself, with `{id}` in it."""


def create() -> FolderCatalogue:
    """Open the catalogue that the settings name; what the entry point `folder` of `datauploader.catalogues` names.

    Raises:
        ConfigurationError: no folder is named.
    """
    settings = load(FolderCatalogueSettings)
    if settings.root is None:
        raise ConfigurationError(
            "the adapter is folder, but nothing says where the catalogue is; "
            "set DATAUPLOADER_FOLDER_CATALOGUE_ROOT, or root in [folder_catalogue]"
        )
    return FolderCatalogue(
        settings.root, may_create=settings.may_create, page=settings.page, base_dir=settings.base_dir
    )
