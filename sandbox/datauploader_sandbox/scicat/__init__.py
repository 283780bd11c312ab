"""A double of SciCat's backend (scicat-backend-next, read at 4055c962), as far as a catalogue's client meets it."""

from datauploader_sandbox.scicat.seed import PASSWORD, SERVICE, ScicatSeed, default_seed
from datauploader_sandbox.scicat.server import ScicatDouble, serve

__all__ = ["PASSWORD", "SERVICE", "ScicatDouble", "ScicatSeed", "default_seed", "serve"]
