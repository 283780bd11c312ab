"""Admission of uploads: whether one can be done on this station, and in which words it is refused."""

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from datauploader.contracts.uploads import UploadRequested
from datauploader.files import nofollow
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader_watcher.adapters.disk import SEPARATORS, BarredDisk, LocalDisk, OpenDisk, RootDisk, is_below
from datauploader_watcher.adapters.mounts import mount_point
from datauploader_watcher.discovery.scanner import Start
from datauploader_watcher.domain.selection import Selection
from datauploader_watcher.domain.versions import split
from datauploader_watcher.errors import BadPattern, UploadRefused
from datauploader_watcher.ledger.places import RootPlaceTable
from datauploader_watcher.ledger.uploads import UploadRow
from datauploader_watcher.settings import HIDDEN_PREFIX, RuleSettings, WatcherSettings

log = structlog.get_logger()

WITHOUT_MD5 = ("local", "smb")
"""Types of rclone's remotes that nobody asks for an MD5: of a folder SHA-256 is asked, and of SMB, which has no hashes,
everything is read back. https://rclone.org/overview/#features"""


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What a request means on this disk."""

    root: bytes
    mount: bytes
    sources: tuple[Start, ...]
    selection: Selection
    md5: bool
    """The storage may be asked for the MD5 of what it holds, so it is hashed beside SHA-256."""
    barred: bool = False
    """The root is not below the station's `roots` any more."""

    def disk(self, disks: OpenDisk) -> RootDisk:
        """Return what the files are read through; of a barred root nothing can be."""
        return BarredDisk(self.root) if self.barred else disks(self.root, self.mount)

    @property
    def places(self) -> str:
        """The sources as the ledger keeps them."""
        return json.dumps(
            [
                (os.fsdecode(folder), None if names is None else [os.fsdecode(name) for name in sorted(names)])
                for folder, names in self.sources
            ]
        )


class UploadAdmission:
    """Admission control: this station's rules for requests."""

    def __init__(
        self, settings: WatcherSettings, remotes: Mapping[str, Mapping[str, Any]], places: RootPlaceTable
    ) -> None:
        """Take the station's settings, the facility's remotes as far as they are known here, and its memory."""
        self._settings = settings
        self._remotes = remotes
        self._hang_guard = HangGuard()
        self._places = places
        self._real: dict[Path, bytes] = {}
        self._moved: dict[Path, str] = {}
        for root in settings.roots:
            self._where(root)

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that uploads may come from."""
        return self._settings.roots

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about roots that lead elsewhere than they did."""
        return tuple(self._moved.values())

    def check_rule(self, rule: RuleSettings, prefix: str) -> bytes:
        """Check what a standing rule will ask for, before it does, and return where its folders really are.

        Raises:
            BadPattern: says what is wrong with it.
        """
        real = os.path.realpath(os.fsencode(prefix))
        if not self.allows(real):
            raise BadPattern(f"{prefix} is not below any of the station's `roots`; add it there")
        if self._remotes and rule.remote not in self._remotes:
            raise BadPattern(f"there is no remote {rule.remote!r}; write one of {', '.join(sorted(self._remotes))}")
        if rule.delete_after and not self._settings.allow_delete:
            raise BadPattern("delete_after needs allow_delete = true in [watcher]")
        Selection(include=rule.include, exclude=rule.exclude, marker=rule.marker)
        return real

    def plan(self, request: UploadRequested) -> UploadPlan:
        """Check a request and work out where to look.

        Raises:
            Refusal: it cannot be done here, in words for the person who asked.
        """
        selection = self.selection(request)
        if self._remotes and request.destination.remote not in self._remotes:
            raise UploadRefused(
                "remote-unknown",
                f"There is no storage named {request.destination.remote!r} here.",
                f"Choose one of: {', '.join(sorted(self._remotes))}.",
            )
        if request.delete_after and not self._settings.allow_delete:
            raise UploadRefused(
                "delete-not-allowed",
                "This station does not allow uploads to remove local files.",
                "Start the upload without removing local files, or have the station's administrator set allow_delete.",
            )
        try:
            root = self._root(request.root)
            sources = self._sources(root, request, missing_ok=request.mode == "sync")
        except ValueError as error:
            raise UploadRefused(
                "bad-path", "The folder or a file of the upload has an invalid name.", "Select it again."
            ) from error
        return UploadPlan(root, mount_point(root), sources, selection, self._asks_md5(request))

    def resumed(self, upload: UploadRow) -> UploadPlan:
        """Return the plan of an upload that was taken up in a former run, whatever is away or leads elsewhere now."""
        request = upload.request
        root = upload.root or os.path.realpath(os.fsencode(request.root))
        if upload.root:
            sources = tuple(
                (os.fsencode(folder), None if names is None else frozenset(os.fsencode(name) for name in names))
                for folder, names in json.loads(upload.sources)
            )
        else:  # a version that opened it did not remember where they were
            try:
                sources = self._sources(root, request, missing_ok=True)
            except UploadRefused:  # one of them leads out now: by its name it is found to be a link, and left out
                sources = self._sources(root, request, missing_ok=True, resolve=os.path.normpath)
        return UploadPlan(
            root, upload.mount, sources, self.selection(request, bounded=False), self._asks_md5(request),
            barred=not self.allows(root),
        )  # fmt: skip

    def _asks_md5(self, request: UploadRequested) -> bool:
        """Tell whether the storage may be asked for an MD5; one whose kind is not known here may be."""
        return self._remotes.get(request.destination.remote, {}).get("type") not in WITHOUT_MD5

    def selection(self, request: UploadRequested | RuleSettings, *, bounded: bool = True) -> Selection:
        """Read the patterns of a request, or of a rule; see `Selection`.

        Raises:
            Refusal: one of them cannot be read.
        """
        try:
            return Selection(
                include=request.include,
                exclude=request.exclude,
                always_exclude=(*self._settings.default_exclude, f"{HIDDEN_PREFIX.decode()}*"),
                marker=request.marker,
                bounded=bounded,
            )
        except BadPattern as error:
            raise UploadRefused("bad-pattern", f"{error}.", "Correct the pattern, then try again.") from error

    def _root(self, text: str) -> bytes:
        root = os.path.realpath(os.fsencode(text))
        if not self._settings.roots:
            raise UploadRefused(
                "no-roots",
                "No folder of this station is allowed for uploads yet.",
                "Have the station's administrator list the folders in `roots` of its `[watcher]` settings.",
            )
        if not Path(text).is_absolute() or not self.allows(root):
            raise UploadRefused(
                "outside-roots",
                f"{text} is not below a folder that this station allows uploads from.",
                f"Select a folder below {' or '.join(str(one) for one in self._settings.roots)}.",
            )
        try:
            if not stat.S_ISDIR(nofollow.look(root).st_mode):
                raise UploadRefused(
                    "root-missing", f"{text} is a file, not a folder.", "Select the folder that contains it."
                )
            with LocalDisk(root).folder(b"") as opened:
                opened.stat(b".")
        except PermissionError as error:
            raise UploadRefused(
                "root-unreadable",
                f"The upload service may not read {text}.",
                "Give the account that runs the watcher read access to the folder, then try again.",
            ) from error
        except OSError as error:
            raise UploadRefused(
                "root-missing",
                f"{text} cannot be reached: {error.strerror}.",
                "Check the name, and that the drive is connected or mounted; then try again.",
            ) from error
        return root

    def allows(self, path: bytes) -> bool:
        """Tell whether a resolved path lies below one of the station's roots, as they were when the service started."""
        return any(is_below(path, self._where(root)) for root in self._settings.roots)

    def _where(self, root: Path) -> bytes:
        """Return where a root really is, or was when it was first seen: whoever swaps it for a link is not believed.

        One on a drive that hangs counts by its name until the drive has answered.
        """
        if root not in self._real:
            name = os.fsencode(root)
            try:
                now, there = self._hang_guard.call_with_deadline(
                    root, lambda: (os.path.realpath(name), os.path.isdir(name)), "where"  # noqa: PTH112 - bytes
                )  # fmt: skip
            except DriveTimeout:
                return name
            known = self._places.get(name)
            if known is None and there:
                self._places.put(name, now)
            if known not in (None, now):
                self._moved[root] = (
                    f"{root} in `roots` led to {os.fsdecode(known or b'')} and leads to {os.fsdecode(now)} now, which "
                    "is not trusted: undo the change, or write the real folder, without links, in `roots`."
                )
                log.warning("root_moved", problem=self._moved[root])
            self._real[root] = known or now
        return self._real[root]

    @staticmethod
    def _sources(
        root: bytes, request: UploadRequested, *, missing_ok: bool, resolve: Callable[[bytes], bytes] = os.path.realpath
    ) -> tuple[Start, ...]:
        starts: dict[bytes, set[bytes] | None] = {}
        for source in request.sources:
            raw = os.fsencode(source.replace("\\", "/") if os.name == "nt" else source)
            full = resolve(os.path.join(root, raw))  # noqa: PTH118 - bytes
            if raw.startswith(b"/") or not is_below(full, root):
                raise UploadRefused(
                    "source-outside",
                    f"{source} is not below the folder of the upload.",
                    "Select files and folders below that folder; links that lead out of it are not followed.",
                )
            relative = full[len(root) :].strip(SEPARATORS).replace(os.fsencode(os.sep), b"/")
            try:
                seen = nofollow.look(full)
            except OSError:
                seen = None
            if not relative or (seen and stat.S_ISDIR(seen.st_mode)):
                starts[relative] = None
            elif seen or missing_ok:
                folder, name = split(relative)
                if (names := starts.setdefault(folder, set())) is not None:
                    names.add(name)
            else:
                raise UploadRefused("source-missing", f"{source} does not exist.", "Check the name, then try again.")
        return tuple((folder, None if names is None else frozenset(names)) for folder, names in starts.items())
