"""The entry point: what draws pictures as a harvester's service."""

from datauploader.plugins.harvester import harvester
from datauploader_harvester_thumbnails.reader import read

PATTERNS = ("*.tif", "*.tiff", "*.nxs", "*.nx5", "*.h5", "*.hdf5", "*.hdf")

create = harvester("thumbnails", PATTERNS, read)
