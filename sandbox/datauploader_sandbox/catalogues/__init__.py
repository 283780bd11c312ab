"""The catalogue of a facility in a box, whichever it is: how it is configured, what it holds, and how it fails."""

from pathlib import Path
from typing import Literal

from datauploader_sandbox.catalogues.folder import FolderSandbox, read_folder, sow_folder
from datauploader_sandbox.catalogues.icat import IcatSandbox, IcatSwitches
from datauploader_sandbox.catalogues.port import ANNA, SandboxCatalogue, State, Switches
from datauploader_sandbox.catalogues.scicat import ScicatSandbox, ScicatSwitches
from datauploader_sandbox.catalogues.vuo import VuoSandbox, VuoSwitches

__all__ = [
    "ANNA",
    "FolderSandbox",
    "IcatSandbox",
    "IcatSwitches",
    "SandboxCatalogue",
    "ScicatSandbox",
    "ScicatSwitches",
    "State",
    "Switches",
    "System",
    "VuoSandbox",
    "VuoSwitches",
    "read_folder",
    "sow_folder",
    "start",
]
System = Literal["vuo", "scicat", "icat", "folder"]


def start(system: System, folder: Path, base_dir: str) -> SandboxCatalogue:
    """Start a catalogue whose investigations' data belong below `base_dir`; it keeps what it keeps in `folder`."""
    if system == "folder":
        return FolderSandbox(folder, base_dir)
    if system == "scicat":
        return ScicatSandbox(base_dir)
    if system == "icat":
        return IcatSandbox(base_dir)
    return VuoSandbox(folder, base_dir)
