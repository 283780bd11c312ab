"""A private Samba server: one share, one user with a password, a port of its own, nothing outside its folder."""

import getpass
import secrets
import socket
import subprocess
from pathlib import Path
from typing import ClassVar

from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.server import PrivateServer, environment, run_tool
from datauploader_testing.servers.storage import StorageAddress, obscure

SHARE = "data"
CONFIGURATION = """\
[global]
server role = standalone server
workgroup = PRIVATE
netbios name = PRIVATE
disable netbios = yes
server min protocol = SMB2
bind interfaces only = yes
interfaces = lo
smb ports = {port}
passdb backend = smbpasswd:{at}/passwords
private dir = {at}/state
lock directory = {at}/state
state directory = {at}/state
cache directory = {at}/state
pid directory = {at}/state
ncalrpc dir = {at}/state/ncalrpc
log file = {at}/samba.log
load printers = no
printcap name = /dev/null
disable spoolss = yes
[{share}]
path = {served}
valid users = {user}
read only = no
"""


class SmbServer(PrivateServer):
    """A private smbd that serves one directory to the user who runs the test."""

    name: ClassVar[str] = "smb"

    def __init__(self, served: Path | None = None) -> None:
        self._program = find_program("smbd", install="apt-get install samba")
        super().__init__()
        self._port, user, password = free_port(), getpass.getuser(), secrets.token_hex(12)
        served = served or self.directory / "served"
        for folder in (served, self.directory / "state"):
            folder.mkdir(parents=True, exist_ok=True)
        self._configuration = self.directory / "smb.conf"
        self._configuration.write_text(
            CONFIGURATION.format(at=self.directory, port=self._port, served=served, user=user, share=SHARE)
        )
        (self.directory / "passwords").touch(mode=0o600)
        pdbedit = find_program("pdbedit", install="apt-get install samba")
        run_tool(
            [pdbedit, "-s", self._configuration, "-a", "-t", "-u", user],
            env=environment(),
            stdin=f"{password}\n{password}\n",
        )
        remote = {
            "type": "smb",
            "host": LOOPBACK,
            "port": str(self._port),
            "user": user,
            "pass": obscure(password),
        }
        self.address = StorageAddress(remote, SHARE, served, self._port)

    def _launch(self) -> subprocess.Popen[bytes]:
        words = ("--foreground", "--no-process-group", "--debug-stdout", "-s", self._configuration)
        return self._spawn(self._program, *words)

    def _answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self._port), timeout=5):
            return True
