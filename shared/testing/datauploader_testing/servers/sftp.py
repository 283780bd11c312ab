"""A private OpenSSH server: own host key, one user key, real SFTP and a shell that hashes files."""

import getpass
import os
import socket
import subprocess
from pathlib import Path
from typing import ClassVar

from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.server import PrivateServer, environment, run_tool
from datauploader_testing.servers.storage import StorageAddress

PRIVILEGE_SEPARATION = Path("/run/sshd")
CONFIGURATION = """\
ListenAddress {host}:{port}
HostKey {at}/host_key
PidFile {at}/sshd.pid
AuthorizedKeysFile {at}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 100
Subsystem sftp internal-sftp
"""


class SftpServer(PrivateServer):
    """A private sshd that serves one directory to the user who runs the test."""

    name: ClassVar[str] = "sftp"

    def __init__(self) -> None:
        # sshd starts itself again for each connection and wants to be called by its whole path.
        self._program = find_program("sshd", install="apt-get install openssh-server")
        super().__init__()
        self._port = free_port()
        self._make_keys()
        (self.directory / "sshd_config").write_text(
            CONFIGURATION.format(at=self.directory, host=LOOPBACK, port=self._port)
        )
        served = self.directory / "served"
        served.mkdir()
        self.address = StorageAddress(self._remote(), str(served), served, self._port)

    def _remote(self) -> dict[str, str]:
        return {
            "type": "sftp",
            "host": LOOPBACK,
            "port": str(self._port),
            "user": getpass.getuser(),
            "key_file": str(self.directory / "user_key"),
            "known_hosts_file": str(self.directory / "known_hosts"),
            "shell_type": "unix",
            "md5sum_command": "md5sum",
            "sha1sum_command": "sha1sum",
        }

    def _make_keys(self) -> None:
        keygen = find_program("ssh-keygen", install="apt-get install openssh-client")
        for name in ("host_key", "user_key"):
            run_tool([keygen, "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name], env=environment())
        host_key = (self.directory / "host_key.pub").read_text()
        (self.directory / "known_hosts").write_text(f"[{LOOPBACK}]:{self._port} {host_key}")
        (self.directory / "authorized_keys").write_text((self.directory / "user_key.pub").read_text())

    def _launch(self) -> subprocess.Popen[bytes]:
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)  # sshd as root insists on this very folder
        return self._spawn(self._program, "-D", "-e", "-f", self.directory / "sshd_config")

    def _answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self._port), timeout=5) as connection:
            return connection.recv(8).startswith(b"SSH-2.0")
