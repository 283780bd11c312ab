"""A double of VUO: two calls as a public client knows them, the others as docs/catalogues/vuo.md assumes."""

from datauploader_sandbox.vuo.seed import SECRET, Person, Proposal, Seed, default_seed
from datauploader_sandbox.vuo.server import VuoDouble, serve

__all__ = ["SECRET", "Person", "Proposal", "Seed", "VuoDouble", "default_seed", "serve"]
