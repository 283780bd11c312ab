"""A double of ICAT 6's REST interface, with as much of its SOAP interface as python-icat needs to work with it."""

from datauploader_sandbox.icat.seed import ROOT, SERVICE, Account, Seed, default_seed
from datauploader_sandbox.icat.server import IcatDouble, serve

__all__ = ["ROOT", "SERVICE", "Account", "IcatDouble", "Seed", "default_seed", "serve"]
