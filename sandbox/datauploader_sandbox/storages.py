"""The storages of the sandbox: a plain directory, and on demand the real servers that rclone can speak to."""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

from datauploader_testing.servers import (
    ApacheWebdavServer,
    RcloneWebdavServer,
    S3Server,
    SftpServer,
    SmbServer,
    StorageAddress,
    StorageServer,
)
from datauploader_testing.servers.storage import reveal

Kind = Literal["local", "webdav", "apache", "s3", "sftp", "smb"]


class LocalStorage:
    """A directory of this machine, for rclone's `local` backend."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="datauploader-local-")
        directory = Path(self._folder.name)
        self.address = StorageAddress({"type": "local"}, str(directory), directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


SERVERS: Mapping[Kind, type[StorageServer]] = {
    "local": LocalStorage,
    "webdav": RcloneWebdavServer,
    "apache": ApacheWebdavServer,
    "s3": S3Server,
    "sftp": SftpServer,
    "smb": SmbServer,
}


def definition(address: StorageAddress) -> dict[str, Any]:
    """Define a storage as a remote of our own configuration: with the password as its owner would type it."""
    options = dict(address.remote)
    secrets = {"pass": reveal(options.pop("pass"))} if "pass" in options else {}
    return {"type": options.pop("type"), "base": address.base, "options": options, "secrets": secrets}


class Storages:
    """Start storages of several kinds, and end them together."""

    def __init__(self, kinds: Iterable[Kind] = ("local",)) -> None:
        self._kinds = tuple(kinds)
        self._stack = ExitStack()
        self.servers: dict[str, StorageServer] = {}

    @property
    def addresses(self) -> dict[str, StorageAddress]:
        """Tell where each storage is, by its kind."""
        return {kind: server.address for kind, server in self.servers.items()}

    def configuration(self) -> str:
        """Write an rclone configuration file with a remote for each storage, named as its kind."""
        return "\n".join(address.configuration(kind) for kind, address in self.addresses.items())

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for kind in self._kinds:
                self.servers[kind] = starting.enter_context(SERVERS[kind]())
            self._stack = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
