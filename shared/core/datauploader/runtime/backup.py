"""One file with all that a server needs to begin again: states, the event log, configuration; and the way back.

The archive is a tar with a manifest as its last member: what it holds, how large and with which SHA-256. A state that
is put back is older than the world; each service notices that and makes up for it (ADR 29).
"""

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from datauploader.contracts import Event, EventData, decode, encode
from datauploader.contracts.names import check_relative
from datauploader.errors import BackupError, ContractError
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.port import Bus, Delivery
from datauploader.reliability import FolderLock
from datauploader.reliability.store import copy_state, state_files

FORMAT = 1
MANIFEST, LOG = "manifest.json", "log.jsonl.gz"
STATES, FILES = "states", "files"
PATIENCE_S = 20.0
"""How long the broker may be away while its log is read."""


class Member(BaseModel):
    """One file of an archive."""

    name: str
    bytes: int
    sha256: str


class BackupManifest(BaseModel):
    """What an archive says of itself."""

    format: int = FORMAT
    version: str
    made: datetime
    events: int | None = None
    """How many of the event log; None where it was left out."""
    members: list[Member] = []


def read_log(bus: Bus, take: Callable[[Event[EventData]], object], *, most: int | None = None) -> int:
    """Go through the event log from its beginning to where it ended when that began; return how many events that were.

    Raises:
        MessagingError: the log cannot be read.
    """
    count = 0

    def hear(delivery: Delivery) -> None:
        nonlocal count
        if count != most:
            take(delivery.event)
            count += 1

    reading = CatchUp(bus, hear)
    try:
        until = time.monotonic() + PATIENCE_S
        while count != most and not reading.done.wait(0.1):
            if (trouble := reading.problem) is None:
                until = time.monotonic() + PATIENCE_S
            elif time.monotonic() > until:
                raise trouble
    finally:
        reading.stop(2.0)
    return count


def make(archive: Path, states: Path, files: Sequence[Path], bus: Bus | None) -> BackupManifest:
    """Write an archive; the services may run meanwhile.

    Args:
        archive: where; it must not be there yet.
        states: the folder with the state files, or with a folder for each service.
        files: what is kept beside them, such as `.env` and the site's folder.
        bus: how the event log is read; None leaves it out.

    Raises:
        BackupError: there is nothing to keep, or it cannot be written.
        StateUnavailable: a state file cannot be copied.
        MessagingError: the event log cannot be read.
    """
    found = list(state_files(states)) if states.is_dir() else []
    if not found and not files:
        raise BackupError(f"{states} holds no state file, and no other file is named: there is nothing to keep")
    manifest = BackupManifest(version=version("ceric-datauploader-core"), made=datetime.now(UTC))
    draft = archive.with_name(f"{archive.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".backup-") as folder, _tar(draft) as tar:
            for path in found:
                copy_state(path, Path(folder) / "state")
                _add(tar, manifest, f"{STATES}/{path.relative_to(states).as_posix()}", Path(folder) / "state")
                (Path(folder) / "state").unlink()
            for path in files:
                below = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else (path,)
                for one in below:
                    inside = PurePosixPath(path.name) / one.relative_to(path).as_posix() if path.is_dir() else path.name
                    _add(tar, manifest, f"{FILES}/{inside}", one)
            if bus is not None:
                with gzip.open(Path(folder) / LOG, "wb", compresslevel=6) as file:
                    manifest.events = read_log(bus, lambda event: file.write(encode(event) + b"\n"))
                _add(tar, manifest, LOG, Path(folder) / LOG)
            _add_bytes(tar, MANIFEST, manifest.model_dump_json(indent=1).encode())
        if archive.exists():
            raise BackupError(f"{archive} is there already: choose another name")
        draft.replace(archive)
    except OSError as error:
        raise BackupError(f"{archive} cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return manifest


class Restored:
    """An archive that was unpacked beside its destination and compared with its manifest."""

    def __init__(self, archive: Path, folder: Path) -> None:
        """Unpack and compare.

        Raises:
            BackupError: it is no archive of ours, or not as it was written.
        """
        self._folder = folder
        try:
            with tarfile.open(archive, "r:") as tar:
                for info in tar:
                    _unpack(tar, info, folder)
            self.manifest = BackupManifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, tarfile.TarError, ValueError) as error:
            raise BackupError(f"{archive} is not a readable backup: {error}") from error
        if self.manifest.format != FORMAT:
            raise BackupError(f"{archive} was made by another release ({self.manifest.version}): restore it with that")
        for member in self.manifest.members:
            path = folder / member.name
            if not path.is_file() or _digest(path) != member.sha256:
                raise BackupError(f"{archive} is damaged: {member.name} is not as it was written; nothing was restored")

    def states(self, target: Path) -> list[Path]:
        """Put the state files where they belong, all or none.

        Raises:
            BackupError: one is there already.
            StateInUse: a service runs on the folder.
        """
        moves = [(self._folder / name, target / name.split("/", 1)[1]) for name in self._named(STATES)]
        locks: list[FolderLock] = []
        try:
            for folder in {place.parent for _, place in moves if place.parent.is_dir()}:
                locks += [FolderLock(folder, lock.stem) for lock in folder.glob("*.lock")]
            for _, place in moves:
                if place.exists():
                    raise BackupError(f"{place} is there already: move it away first, so that nothing is overwritten")
            for source, place in moves:
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _put(source, place)
        finally:
            for lock in locks:
                lock.release()
        return [place for _, place in moves]

    def files(self, target: Path) -> list[Path]:
        """Put the other files below a folder; those that are there stay, and are not among what is returned."""
        put = []
        for name in self._named(FILES):
            place = target / name.split("/", 1)[1]
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _put(self._folder / name, place)
                put.append(place)
        return put

    def events(self) -> Iterator[Event[EventData]]:
        """Go through the saved event log."""
        if self.manifest.events is None:
            return
        with gzip.open(self._folder / LOG, "rt", encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield decode(line.encode())
                except ContractError as error:
                    raise BackupError(f"an event of the backup cannot be read: {error}") from error

    def _named(self, kind: str) -> list[str]:
        return [member.name for member in self.manifest.members if member.name.startswith(f"{kind}/")]


def _tar(path: Path) -> tarfile.TarFile:
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)  # it holds secrets
    os.close(file)
    return tarfile.open(path, "w:")


def _add(tar: tarfile.TarFile, manifest: BackupManifest, name: str, path: Path) -> None:
    manifest.members.append(Member(name=name, bytes=path.stat().st_size, sha256=_digest(path)))
    tar.add(path, name, recursive=False)


def _unpack(tar: tarfile.TarFile, info: tarfile.TarInfo, folder: Path) -> None:
    """Write one plain file below a folder; whatever else an archive may hold is none of ours."""
    content = tar.extractfile(info) if info.isreg() else None
    if content is None:
        raise ValueError(f"{info.name[:200]!r} is not a regular file")
    place = folder / check_relative(info.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with content, place.open("xb") as file:
        shutil.copyfileobj(content, file)


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), int(time.time()), 0o600
    tar.addfile(info, io.BytesIO(content))


def _put(source: Path, place: Path) -> None:
    draft = place.with_name(f"{place.name}.restoring")
    shutil.copyfile(source, draft)
    draft.chmod(0o600)
    draft.replace(place)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
