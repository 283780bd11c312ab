"""What a storage really holds: read from the disk below it, or through rclone from anywhere."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from datauploader_sandbox.oracle.evidence import Content

BLOCK = 1 << 20


def read_directory(root: Path) -> dict[bytes, Content]:
    """Hash every regular file below a directory; paths are bytes relative to it."""
    start = os.fsencode(root)
    found = {}
    for folder, _, names in os.walk(start):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - names are bytes here
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114 - as above
                found[os.path.relpath(path, start)] = hash_file(path)
    return found


def read_remote(rclone: Path, configuration: Path, remote: str) -> dict[bytes, Content]:
    """Fetch everything below an rclone remote (`name:path`) into a temporary directory, and hash it there.

    rclone's own comparison is off: an object that is damaged is to be found, not refused.
    """
    with tempfile.TemporaryDirectory(prefix="datauploader-oracle-") as fetched:
        options = ("--ignore-checksum", "--no-unicode-normalization", "--transfers", "8")
        command: list[str | Path] = [rclone, "--config", configuration, "copy", remote, fetched, *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{remote} cannot be read back with rclone: {done.stderr.strip()}")
        return read_directory(Path(fetched))


def hash_file(path: bytes) -> Content:
    """Read a file and say what it holds."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:  # noqa: PTH123 - names are bytes here
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return Content(digest.hexdigest(), size)
