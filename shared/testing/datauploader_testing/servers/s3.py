"""A private S3 endpoint, `rclone serve s3`, with an access key and one bucket."""

import os
import secrets
import subprocess
from typing import ClassVar

import httpx

from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_rclone, rclone_serving
from datauploader_testing.servers.server import PrivateServer
from datauploader_testing.servers.storage import StorageAddress

BUCKET = "datauploader"


class S3Server(PrivateServer):
    """`rclone serve s3`: buckets are the folders of a directory."""

    name: ClassVar[str] = "s3"

    def __init__(self) -> None:
        self._program = find_rclone()
        super().__init__()
        self._key, self._secret = secrets.token_hex(10), secrets.token_hex(20)
        bucket = self.directory / "buckets" / BUCKET
        bucket.mkdir(parents=True)
        port = free_port()
        self._url = f"http://{LOOPBACK}:{port}"
        remote = {
            "type": "s3",
            "provider": "Rclone",
            "endpoint": self._url,
            "access_key_id": self._key,
            "secret_access_key": self._secret,
            "region": "us-east-1",
            "force_path_style": "true",
        }
        self.address = StorageAddress(remote, BUCKET, bucket, port, port_option="endpoint")

    def _launch(self) -> subprocess.Popen[bytes]:
        # A list option in an environment variable is CSV, and a pair holds a comma of its own.
        secret = {"RCLONE_AUTH_KEY": f'"{self._key},{self._secret}"', "RCLONE_CONFIG": os.devnull}
        where = rclone_serving(self.address.port)
        return self._spawn(self._program, "serve", "s3", self.address.directory.parent, *where, env=secret)

    def _answers(self) -> bool:
        """Ask without a key: an S3 server refuses that in its own words."""
        try:
            answer = httpx.get(f"{self._url}/{BUCKET}", trust_env=False, verify=False)
        except httpx.TransportError:
            return False
        return b"<Error>" in answer.content
