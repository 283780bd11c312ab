"""One root on the disk, read so that nothing outside it can be reached, whatever is swapped while we look."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple, NoReturn, Protocol

import structlog

from datauploader.contracts.names import display
from datauploader.files import nofollow, win32
from datauploader_watcher.adapters.mounts import is_mounted
from datauploader_watcher.adapters.removal import HeldFile, hold_in, hold_path, put_back
from datauploader_watcher.adapters.sharing import is_locked, open_sharing
from datauploader_watcher.domain.versions import Stamp, stamp
from datauploader_watcher.errors import DiskBusy, FolderError, PathMissing, RootLost, Unreadable

log = structlog.get_logger()

_ENCODING = sys.getfilesystemencoding()
SEPARATORS = os.fsencode(os.sep + (os.altsep or ""))
"""What stands between names; a backslash is part of a name on Linux."""
PAGE = 1000
"""Entries of a folder that are looked at in one go."""
_MOST_SIBLINGS = 10_000
"""Entries among which a folder is looked for that has another name now."""
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM}
_SWAPPED = (
    "is no longer the same folder: a part of its path is now a link or a file, and links are not followed; put the "
    "folder back"
)


class OpenFolder(Protocol):
    """A folder that is held open, so that its entries stay its entries."""

    @property
    def stat(self) -> Callable[[bytes], os.stat_result]:
        """Look at an entry, never at what it points to; OSError as the system raises it."""

    def names(self) -> list[bytes]:
        """Return the names of all entries, in order of their bytes."""

    def entries(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the names of all entries, in no order, and whether each is a folder itself and no link to one."""

    def open(self, name: bytes, *, in_use: bool = False) -> int:
        """Open a file for reading and return its descriptor; a link is refused, a FIFO does not block.

        Where the system tells who writes, it is refused while a program has it open for writing, unless `in_use`.
        """

    def hold(self, name: bytes) -> AbstractContextManager[HeldFile]:
        """Open a file as `open` does, for its removal."""

    def put_back(self, hidden: bytes, name: bytes) -> str:
        """Give a file that was hidden for its removal its own name again; see `removal.put_back`."""


class Page(NamedTuple):
    """Some entries of a folder, in order of their bytes, and what a look at each of them says."""

    names: list[bytes]
    looks: list[os.stat_result | OSError]
    last: bytes | None
    """The last name of this page, None where no other page follows."""


class RootDisk(Protocol):
    """A disk below one root, with everything there; paths are relative bytes with `/`."""

    root: bytes
    place: bytes
    """What hangs together with it: b"" is this machine, anything else a drive that may fall silent by itself."""

    @property
    def silent(self) -> bool:
        """Tell whether it owes an answer for so long that a person must know."""

    def verify_root(self) -> None:
        """Raise RootLost when the root is not what it was when the upload was opened."""

    def folder(self, path: bytes) -> AbstractContextManager[OpenFolder]:
        """Open a folder below the root (b"" is the root itself), following no link; waits as long as it takes."""

    def pages(self, path: bytes, only: frozenset[bytes] | None) -> Generator[Page | None, None, None]:
        """Go through a folder, or through some names in it; None: the drive has not answered yet, ask again."""

    def lstat(self, path: bytes) -> os.stat_result:
        """Stat one path, never what it points to; OSError as the system raises it."""

    def lists(self, path: bytes) -> bool:
        """Tell whether a folder can be read."""

    def leads_inside(self, path: bytes) -> bool:
        """Tell whether a link leads to something else below the root."""


class OpenDisk(Protocol):
    """Opens the disk of a root, given the mount point that it must lie on."""

    def __call__(self, root: bytes, mount: bytes) -> RootDisk:
        """Return the disk below `root`."""


class LocalDisk:
    """The real disk."""

    place = b""
    silent = False

    def __init__(self, root: bytes, mount: bytes = b"") -> None:
        """Take a resolved root; `mount` is the mount point that must still be one (b"": not known)."""
        self.root = root
        self._mount = mount
        self._identity: tuple[int, int] | None = None
        """Device and inode of the root when it was last checked: a remount changes both, so another is only told."""

    def verify_root(self) -> None:
        """See `RootDisk.verify_root`."""
        name = os.fsdecode(self.root)
        if self._mount and not is_mounted(self._mount):
            raise RootLost(f"nothing is mounted at {os.fsdecode(self._mount)}; connect the drive or mount it again")
        try:
            seen = nofollow.look(self.root)
        except NotADirectoryError as error:
            raise RootLost(f"{name} {_SWAPPED}") from error
        except OSError as error:
            if isinstance(error, FileNotFoundError) and _is_folder_at(os.path.dirname(self.root)):  # noqa: PTH120 - bytes
                now = self._new_name()
                happened = f"is called {now} now" if now else "was renamed or removed"
                raise RootLost(
                    f"{name} {happened}; rename it back, or close the upload: stored files are kept", gone=True
                ) from error
            raise RootLost(
                f"{name} cannot be reached ({error.strerror}); connect the drive or mount it again"
            ) from error
        if not stat.S_ISDIR(seen.st_mode) or nofollow.leads_elsewhere(seen):
            raise RootLost(f"{name} {_SWAPPED}")
        if self._identity not in (None, (seen.st_dev, seen.st_ino)):
            log.warning("root_replaced", root=name, hint="it was created again, mounted again or replaced")
        self._identity = seen.st_dev, seen.st_ino

    def _new_name(self) -> str:
        """Return what the folder is called now, "" where that is not seen among so many entries of the folder above."""
        with suppress(OSError), os.scandir(os.path.dirname(self.root)) as entries:  # noqa: PTH120 - bytes
            for entry in islice(entries, _MOST_SIBLINGS):
                if not entry.is_dir(follow_symlinks=False):
                    continue
                seen = os.lstat(entry.path)
                if (seen.st_dev, seen.st_ino) == self._identity:
                    return display(entry.name)
        return ""

    @contextmanager
    def folder(self, path: bytes) -> Iterator[OpenFolder]:
        """See `RootDisk.folder`."""
        if not nofollow.BY_DESCRIPTOR:
            yield _PathFolder(self.root, path)
            return
        with nofollow.folder(self.root + b"/" + path) as descriptor:
            yield _DescriptorFolder.of(descriptor)

    def pages(self, path: bytes, only: frozenset[bytes] | None) -> Generator[Page | None, None, None]:
        """See `RootDisk.pages`; this one always answers."""
        with self.folder(path) as opened:
            names, seen_of = opened.names() if only is None else sorted(only), opened.stat
            for start in range(0, max(len(names), 1), PAGE):
                chunk = names[start : start + PAGE]
                last = chunk[-1] if start + PAGE < len(names) else None
                yield Page(chunk, [lstat_or_error(seen_of, name) for name in chunk], last)

    def lstat(self, path: bytes) -> os.stat_result:
        """See `RootDisk.lstat`."""
        folder, _, name = path.rpartition(b"/")
        with self.folder(folder) as opened:
            return opened.stat(name)

    def lists(self, path: bytes) -> bool:
        """See `RootDisk.lists`."""
        try:
            with self.folder(path) as opened:
                opened.names()
        except OSError:
            return False
        return True

    def leads_inside(self, path: bytes) -> bool:
        """See `RootDisk.leads_inside`."""
        full = os.path.join(self.root, path)  # noqa: PTH118 - bytes
        target = os.path.realpath(full)  # only its name is wanted; nothing there is read
        return is_below(target, self.root) and os.path.lexists(target) and target != full


@dataclass(frozen=True, slots=True)
class _DescriptorFolder:
    """A folder by its descriptor: POSIX."""

    descriptor: int
    stat: Callable[[bytes], os.stat_result]
    """A partial and no method: it is called a million times."""

    @classmethod
    def of(cls, descriptor: int) -> "_DescriptorFolder":
        return cls(descriptor, partial(os.stat, dir_fd=descriptor, follow_symlinks=False))

    def names(self) -> list[bytes]:
        names = os.listdir(self.descriptor)  # noqa: PTH208 - a descriptor
        return sorted([name.encode(_ENCODING, "surrogateescape") for name in names])  # what os.fsencode does

    def entries(self) -> Iterator[tuple[bytes, bool]]:
        with os.scandir(self.descriptor) as found:
            for entry in found:
                yield entry.name.encode(_ENCODING, "surrogateescape"), entry.is_dir(follow_symlinks=False)

    def open(self, name: bytes, *, in_use: bool = False) -> int:  # noqa: ARG002 - it is not refused
        return os.open(name, nofollow.FILE, dir_fd=self.descriptor)

    def hold(self, name: bytes) -> AbstractContextManager[HeldFile]:
        return hold_in(self.descriptor, name, nofollow.FILE)

    def put_back(self, hidden: bytes, name: bytes) -> str:
        return put_back(self.descriptor, hidden, name)


@dataclass(frozen=True, slots=True)
class _PathFolder:
    """A folder by its path: Windows. Before each look through it, and each opening, every part is looked at."""

    root: bytes
    path: bytes

    def names(self) -> list[bytes]:
        return sorted(os.listdir(self._checked()))  # noqa: PTH208 - bytes

    def entries(self) -> Iterator[tuple[bytes, bool]]:
        with os.scandir(self._checked()) as found:
            for entry in found:
                is_folder = entry.is_dir(follow_symlinks=False)
                # a junction looks like a folder
                yield entry.name, is_folder and not nofollow.leads_elsewhere(entry.stat(follow_symlinks=False))

    @property
    def stat(self) -> Callable[[bytes], os.stat_result]:
        folder = self._checked()
        # a name that is taken to the letter cannot be "."
        return lambda name: os.lstat(folder if name == b"." else os.path.join(folder, name))  # noqa: PTH118 - bytes

    def open(self, name: bytes, *, in_use: bool = False) -> int:
        path = os.fsdecode(os.path.join(self._checked(), name))  # noqa: PTH118 - bytes
        return win32.open_file(path) if in_use else open_sharing(path)

    def hold(self, name: bytes) -> AbstractContextManager[HeldFile]:
        return hold_path(os.fsdecode(os.path.join(self._checked(), name)))  # noqa: PTH118 - bytes

    def put_back(self, hidden: bytes, name: bytes) -> str:  # noqa: ARG002 - nothing is hidden here
        return ""

    def _checked(self) -> bytes:
        folder = os.path.join(self.root, self.path.replace(b"/", os.fsencode(os.sep)))  # noqa: PTH118 - bytes
        nofollow.check_parts(folder)
        return win32.verbatim(folder)


def _is_folder_at(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(nofollow.look(path).st_mode)
    except OSError:
        return False


def is_below(path: bytes, root: bytes) -> bool:
    """Tell whether a resolved path is the resolved root or lies below it."""
    path, root = os.path.normcase(path), os.path.normcase(root)
    return path == root or path.startswith(prefix_below(root))


def prefix_below(root: bytes) -> bytes:
    """Return what every path below a folder begins with."""
    return root.rstrip(SEPARATORS) + os.fsencode(os.sep)


def lstat_or_error(look: Callable[[bytes], os.stat_result], name: bytes) -> os.stat_result | OSError:
    """Stat one name, never what a link points to, and return what went wrong in place of what was seen."""
    try:
        return look(name)
    except OSError as error:
        return error


def stamp_of(seen: os.stat_result) -> Stamp:
    """Return what a look at a file says."""
    return stamp(seen.st_size, seen.st_mtime_ns, seen.st_ino, changed_ns(seen))


def changed_ns(seen: os.stat_result) -> int:
    """Return when anything of a file was changed last; 0 on Windows, where the field is the time of its creation."""
    return 0 if os.name == "nt" else seen.st_ctime_ns


def lstat(disk: RootDisk, path: bytes) -> os.stat_result:
    """Look at one path below the root.

    Raises:
        FolderError: says in which way it could not be looked at.
    """
    try:
        return disk.lstat(path)
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: bytes) -> FolderError:
    """Turn what the operating system said into what it means for us."""
    shown = path.decode("utf-8", "replace") or "the root"
    problem = error.strerror or type(error).__name__
    if is_locked(error):
        return DiskBusy(f"{shown} is in use by another program")
    if error.errno in _GONE:
        return PathMissing(f"{shown} is not there: {problem}")
    if error.errno in _DENIED:
        return Unreadable(f"{shown} may not be read by this account: {problem}")
    return DiskBusy(f"{shown} could not be read: {problem}")


BARRED = (
    "the administrator has removed this folder from `roots`, so it is no longer read; close the upload "
    "(stored files are kept), or have the folder added again"
)


class BarredDisk:
    """A `RootDisk` that gives nothing out: its root is lost for as long as the service runs."""

    place = b""
    silent = False

    def __init__(self, root: bytes) -> None:
        """Take the root, for its name."""
        self.root = root

    def verify_root(self) -> None:
        """Say why it is lost."""
        raise RootLost(f"{os.fsdecode(self.root)}: {BARRED}")

    def folder(self, path: bytes) -> NoReturn:
        """Refuse."""
        raise PermissionError(errno.EACCES, BARRED, path)

    def pages(self, path: bytes, only: frozenset[bytes] | None) -> Generator[Page | None, None, None]:  # noqa: ARG002 - as `RootDisk` has it
        """Refuse."""
        self.folder(path)
        yield None

    def lstat(self, path: bytes) -> os.stat_result:
        """Refuse."""
        self.folder(path)

    def lists(self, path: bytes) -> bool:  # noqa: ARG002 - as `RootDisk` has it
        """Nothing can be listed."""
        return False

    def leads_inside(self, path: bytes) -> bool:  # noqa: ARG002 - as `RootDisk` has it
        """No link is looked at."""
        return False
