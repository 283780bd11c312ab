"""Two WebDAV servers, because they differ: rclone's own, and Apache's mod_dav, which facilities run."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

import httpx

from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_program, find_rclone, rclone_serving
from datauploader_testing.servers.server import PrivateServer, environment, run_tool
from datauploader_testing.servers.storage import StorageAddress, obscure

USER = "station"
APACHE_MODULES = (
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "dav",
    "dav_fs",
)
APACHE_MODULE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")
APACHE_CONFIGURATION = """\
ServerRoot {at}
ServerName {host}
Listen {host}:{port}
PidFile {at}/apache.pid
ErrorLog {at}/error.log
DefaultRuntimeDir {at}
Mutex default:{at}
{modules}
{user}
StartServers 1
ServerLimit 2
ThreadsPerChild 32
MaxRequestWorkers 64
DavLockDB {at}/locks/dav
DavMinTimeout 600
DocumentRoot {served}
LimitRequestBody 0
LimitXMLRequestBody 0
<Directory {served}>
  Dav On
  AuthType Basic
  AuthName "private"
  AuthUserFile {at}/users
  Require valid-user
</Directory>
"""


class _WebdavServer(PrivateServer):
    """What both WebDAV servers share: a user, a served directory, and PROPFIND as the proof of life."""

    def __init__(self) -> None:
        super().__init__()
        port, self._password = free_port(), secrets.token_hex(12)
        served = self.directory / "served"
        served.mkdir()
        self._url = f"http://{LOOPBACK}:{port}"
        remote = {
            "type": "webdav",
            "url": self._url,
            "vendor": "other",
            "user": USER,
            "pass": obscure(self._password),
        }
        self.address = StorageAddress(remote, "", served, port, port_option="url")

    def _answers(self) -> bool:
        try:
            answer = httpx.request(
                "PROPFIND",
                f"{self._url}/",
                auth=(USER, self._password),
                headers={"Depth": "0"},
                trust_env=False,
                verify=False,
            )
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.MULTI_STATUS


class RcloneWebdavServer(_WebdavServer):
    """`rclone serve webdav` on a directory of its own."""

    name: ClassVar[str] = "webdav"

    def __init__(self) -> None:
        self._program = find_rclone()
        super().__init__()

    def _launch(self) -> subprocess.Popen[bytes]:
        secret = {"RCLONE_USER": USER, "RCLONE_PASS": self._password, "RCLONE_CONFIG": os.devnull}
        where = rclone_serving(self.address.port)
        return self._spawn(self._program, "serve", "webdav", self.address.directory, *where, env=secret)


class ApacheWebdavServer(_WebdavServer):
    """Apache with mod_dav and nothing else, from a configuration of its own."""

    name: ClassVar[str] = "apache-webdav"

    def __init__(self) -> None:
        self._program = find_program("apache2", install="apt-get install apache2")
        self._htpasswd = find_program("htpasswd", install="apt-get install apache2-utils")
        super().__init__()
        (self.directory / "locks").mkdir()
        users = run_tool([self._htpasswd, "-niB", USER], env=environment(), stdin=self._password)
        (self.directory / "users").write_text(users)
        self._configuration = self.directory / "apache.conf"
        self._configuration.write_text(self._write_configuration())
        self._give_to_apache()

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn(self._program, "-f", self._configuration, "-DFOREGROUND")

    def _write_configuration(self) -> str:
        folder = next(folder for folder in map(Path, APACHE_MODULE_FOLDERS) if folder.is_dir())
        modules = [f"LoadModule {name}_module {folder}/mod_{name}.so" for name in APACHE_MODULES]
        return APACHE_CONFIGURATION.format(
            at=self.directory,
            served=self.address.directory,
            host=LOOPBACK,
            port=self.address.port,
            modules="\n".join(modules),
            user="User www-data\nGroup www-data" if _is_root() else "",
        )

    def _give_to_apache(self) -> None:
        """Let Apache, which lays root down, write where it must and read its users."""
        if _is_root():
            self.directory.chmod(0o711)
            for name in ("served", "locks", "users"):
                shutil.chown(self.directory / name, "www-data", "www-data")


def _is_root() -> bool:
    return os.geteuid() == 0
