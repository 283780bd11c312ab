"""The entry points: a reader of SPEC files as a harvester's service, and as a reader of files before their upload."""

from datauploader.plugins.file_reader import Reader
from datauploader.plugins.harvester import harvester
from datauploader_harvester_spec.reader import read

PATTERNS = ("*.spec", "*.spc", "*.mca", "*.dat")
"""Of these only `.spec` means nothing else: a file of another suffix that is no SPEC file says nothing."""

create = harvester("spec", PATTERNS, read)
reader = Reader(PATTERNS, read)
