"""Whether an upload can be done on this station, and in which words it is refused."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datauploader.contracts.uploads import UploadRequested
from datauploader_watcher.adapters.disk import is_below
from datauploader_watcher.adapters.mounts import mount_point
from datauploader_watcher.domain.selection import Selection
from datauploader_watcher.domain.versions import split
from datauploader_watcher.errors import BadPattern, Refusal
from datauploader_watcher.scan import Start
from datauploader_watcher.settings import RuleSettings, WatcherSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request means on this disk."""

    root: bytes
    mount: bytes
    sources: tuple[Start, ...]
    selection: Selection


class Opening:
    """The rules of this station for requests."""

    def __init__(self, settings: WatcherSettings, remotes: Sequence[str]) -> None:
        """Take the station's settings and the names of the facility's remotes (none: not known here)."""
        self._settings = settings
        self._remotes = tuple(remotes)

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that uploads may come from."""
        return self._settings.roots

    def check_rule(self, rule: RuleSettings, prefix: str) -> None:
        """Check what a standing rule will ask for, before it does.

        Raises:
            BadPattern: says what is wrong with it.
        """
        if not self.allows(os.path.realpath(os.fsencode(prefix))):
            raise BadPattern(f"{prefix} is not below any of the station's `roots`; add it there")
        if self._remotes and rule.remote not in self._remotes:
            raise BadPattern(f"there is no remote {rule.remote!r}; write one of {', '.join(sorted(self._remotes))}")
        if rule.delete_after and not self._settings.allow_delete:
            raise BadPattern("delete_after needs allow_delete = true in [watcher]")
        Selection(include=rule.include, exclude=rule.exclude, marker=rule.marker)

    def plan(self, request: UploadRequested) -> Plan:
        """Check a request and work out where to look.

        Raises:
            Refusal: it cannot be done here, in words for the person who asked.
        """
        selection = self.selection(request)
        self._check_remote(request.destination.remote)
        if request.delete_after and not self._settings.allow_delete:
            raise Refusal(
                "delete-not-allowed",
                "This station does not allow uploads to remove local files.",
                "Ask for the upload without delete_after, or have the station's administrator set allow_delete.",
            )
        try:
            root = self._root(request.root)
            sources = self._sources(root, request, missing_ok=request.mode == "sync")
        except ValueError as error:
            raise Refusal(
                "bad-path", "The folder or a file of the upload has a name that no file can have.", "Choose it again."
            ) from error
        return Plan(root, mount_point(root), sources, selection)

    def resumed(self, request: UploadRequested, mount: bytes) -> Plan:
        """Return the plan of an upload that was taken up in a former run, whatever is away now."""
        root = os.path.realpath(os.fsencode(request.root))
        return Plan(root, mount, self._sources(root, request, missing_ok=True), self.selection(request))

    def selection(self, request: UploadRequested) -> Selection:
        """Read the patterns of a request.

        Raises:
            Refusal: one of them cannot be read.
        """
        try:
            return Selection(
                include=request.include,
                exclude=request.exclude,
                always_exclude=self._settings.default_exclude,
                marker=request.marker,
            )
        except BadPattern as error:
            raise Refusal("bad-pattern", f"{error}.", "Correct the pattern and start the upload again.") from error

    def _check_remote(self, remote: str) -> None:
        if self._remotes and remote not in self._remotes:
            raise Refusal(
                "remote-unknown",
                f"There is no storage named {remote!r} here.",
                f"Choose one of: {', '.join(sorted(self._remotes))}.",
            )

    def _root(self, text: str) -> bytes:
        root = os.path.realpath(os.fsencode(text))
        if not self._settings.roots:
            raise Refusal(
                "no-roots",
                "This station allows uploads from no folder yet.",
                "Have the station's administrator name the folders in `roots` of its `[watcher]` settings.",
            )
        if not Path(text).is_absolute() or not self.allows(root):
            raise Refusal(
                "outside-roots",
                f"{text} is not below a folder that this station allows uploads from.",
                f"Choose a folder below {' or '.join(str(one) for one in self._settings.roots)}.",
            )
        _check_readable(root, text)
        return root

    def allows(self, path: bytes) -> bool:
        """Tell whether a resolved path lies below one of the station's roots.

        A root is asked where it really is only when no name says it: another one may lie on a drive that hangs.
        """
        roots = [os.fsencode(one) for one in self._settings.roots]
        return any(is_below(path, one) for one in roots) or any(is_below(path, os.path.realpath(one)) for one in roots)

    @staticmethod
    def _sources(root: bytes, request: UploadRequested, *, missing_ok: bool) -> tuple[Start, ...]:
        starts: dict[bytes, set[bytes] | None] = {}
        for source in request.sources:
            folder, name = _source(root, source, missing_ok=missing_ok)
            if name is None:
                starts[folder] = None
            elif (names := starts.setdefault(folder, set())) is not None:
                names.add(name)
        return tuple((folder, None if names is None else frozenset(names)) for folder, names in starts.items())


def _check_readable(root: bytes, text: str) -> None:
    try:
        if not stat.S_ISDIR(os.stat(root).st_mode):  # noqa: PTH116 - bytes
            raise Refusal("root-missing", f"{text} is a file, not a folder.", "Choose the folder that holds it.")
        with os.scandir(root):
            pass
    except PermissionError as error:
        raise Refusal(
            "root-unreadable",
            f"The upload service may not read {text}.",
            "Give the account that runs the watcher read access to the folder, then start the upload again.",
        ) from error
    except OSError as error:
        raise Refusal(
            "root-missing",
            f"{text} cannot be reached: {error.strerror}.",
            "Check the name, connect the drive or mount it, then start the upload again.",
        ) from error


def _source(root: bytes, source: str, *, missing_ok: bool) -> tuple[bytes, bytes | None]:
    """Return where to look for a source: a folder, and a name in it where it is a file."""
    raw = os.fsencode(source.replace("\\", "/") if os.name == "nt" else source)
    full = os.path.realpath(os.path.join(root, raw))  # noqa: PTH118 - bytes
    if raw.startswith(b"/") or not is_below(full, root):
        raise Refusal(
            "source-outside",
            f"{source} is not below the folder of the upload.",
            "Choose files and folders below that folder; links that lead out of it are not followed.",
        )
    relative = full[len(root) :].strip(b"/\\").replace(os.fsencode(os.sep), b"/")
    if not relative or os.path.isdir(full):  # noqa: PTH112 - bytes
        return relative, None
    if os.path.lexists(full) or missing_ok:
        return split(relative)
    raise Refusal("source-missing", f"{source} does not exist.", "Check the name, then start the upload again.")
