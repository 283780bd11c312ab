"""The entry points: a NeXus reader as a harvester's service, and as a reader of files before their upload."""

from datauploader.plugins.file_reader import Reader
from datauploader.plugins.harvester import harvester
from datauploader_harvester_nexus.reader import read

PATTERNS = ("*.nxs", "*.nx5", "*.h5", "*.hdf5", "*.hdf")

create = harvester("nexus", PATTERNS, read)
reader = Reader(PATTERNS, read)
