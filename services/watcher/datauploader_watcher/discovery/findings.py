"""What a scan finds, as values: the session of an upload, a dry run and a comparison each fold over them."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog

from datauploader.contracts.names import display
from datauploader_watcher.domain.selection import NOT_RECORDED, Omission, unrecorded
from datauploader_watcher.domain.versions import Stamp
from datauploader_watcher.ledger.files import KnownRow

log = structlog.get_logger()


class Found(NamedTuple):
    """A file that belongs to the upload, and that the ledger does not know like this."""

    path: bytes
    stamp: Stamp
    row: KnownRow | None


class Omitted(NamedTuple):
    """Something that stays out."""

    path: bytes
    omission: Omission
    row: KnownRow | None
    folder: bool = False


class Vanished(NamedTuple):
    """Something that is on the record as left out, and is not there any more."""

    path: bytes


class Entered(NamedTuple):
    """A folder that belongs to the upload and was not seen since the start; the scan goes into it."""

    path: bytes
    known: bool
    """The ledger has files below it: it was there in a former run."""
    changed_ns: int
    """When anything of it was changed last, an entry that came or went included; 0: not known."""


class Readable(NamedTuple):
    """A folder that is on the record as unreadable, and could be opened."""

    path: bytes


class RootGone(NamedTuple):
    """The root is away: the scan has ended, and nothing is concluded about what it did not see."""

    problem: str


Finding = Found | Omitted | Vanished | Entered | Readable | RootGone


def fold(findings: Iterable[Finding], take: Callable[[Finding], None]) -> None:
    """Have each finding taken; one that cannot be is taken as left out, and keeps no other from being taken."""
    for finding in findings:
        try:
            take(finding)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:
            if not isinstance(finding, Found | Omitted):
                raise
            if finding.row is None or finding.row[5] != NOT_RECORDED:
                log.exception("scan_entry_failed", path=display(finding.path))
            take(Omitted(finding.path, unrecorded(error), finding.row))
