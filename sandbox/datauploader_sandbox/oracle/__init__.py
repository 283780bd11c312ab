"""The oracle: says what a run lost, doubled, damaged or wrongly called verified, whatever the services believe.

It imports nothing of the services, of what they share, or of the detector: it reads what they left behind.
"""

from datauploader_sandbox.oracle.evidence import read_catalogue, read_ledger, read_receipts
from datauploader_sandbox.oracle.judgement import Evidence, Verdict, judge
from datauploader_sandbox.oracle.storage import read_directory, read_remote

__all__ = [
    "Evidence",
    "Verdict",
    "judge",
    "read_catalogue",
    "read_directory",
    "read_ledger",
    "read_receipts",
    "read_remote",
]
