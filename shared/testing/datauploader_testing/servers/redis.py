"""A private Redis, on a loopback port or a unix socket, with a password, and with an optional write log."""

import secrets
import socket
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from datauploader_testing.servers.ports import LOOPBACK, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.server import PrivateServer


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Say where a Redis is and how one signs in; port 0 means by the socket alone."""

    port: int
    socket: Path
    password: str
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """Write the address as redis-py reads it."""
        if self.port:
            return f"redis://:{self.password}@{self.host}:{self.port}/0"
        return f"unix://:{self.password}@{self.socket}?db=0"

    def through(self, port: int) -> "RedisAddress":
        """Point at the same Redis behind another port, such as a fault proxy's."""
        return replace(self, port=port)


class RedisServer(PrivateServer):
    """A private redis-server; without `appendonly` it forgets everything when it ends."""

    name: ClassVar[str] = "redis"

    def __init__(self, *, appendonly: bool = False, unix_socket: bool = False, settings: str = "") -> None:
        self._program = find_program("redis-server", install="apt-get install redis-server")
        super().__init__()
        port = 0 if unix_socket else free_port()
        self.address = RedisAddress(port, self.directory / "redis.sock", secrets.token_hex(12))
        self._configuration = self.directory / "redis.conf"
        self._configuration.write_text(self._settings(appendonly, settings))
        self._configuration.chmod(0o600)

    def command(self, *words: str) -> str:
        """Send one command and return the first line of the raw answer (`+OK`, `:1`, `$5`, `-ERR …`)."""
        with self._connect() as connection, connection.makefile("rwb") as stream:
            for request in (("AUTH", self.address.password), words):
                stream.write(encode(*request))
                stream.flush()
                answer = stream.readline().decode().strip()
        return answer

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn(self._program, self._configuration)

    def _answers(self) -> bool:
        return self.command("PING") == "+PONG"

    def _connect(self) -> socket.socket:
        if self.address.port:
            return socket.create_connection((LOOPBACK, self.address.port), timeout=5)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(5)
            connection.connect(str(self.address.socket))
        except OSError:
            connection.close()
            raise
        return connection

    def _settings(self, appendonly: bool, settings: str) -> str:
        return "\n".join(
            [
                f"port {self.address.port}",
                f"bind {LOOPBACK}",
                f"unixsocket {self.address.socket}",
                "unixsocketperm 600",
                f"requirepass {self.address.password}",
                f"dir {self.directory}",
                'save ""',
                "daemonize no",
                f"appendonly {'yes' if appendonly else 'no'}",
                "appendfsync everysec",
                settings,
                "",
            ]
        )


def encode(*words: str) -> bytes:
    """Write a command in Redis' protocol (RESP)."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(f"${len(data)}\r\n".encode() + data + b"\r\n")
    return b"".join(parts)
