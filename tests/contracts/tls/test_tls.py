"""The profile `tls`: Caddy with the file that is shipped, RabbitMQ with its settings, certificates that are renewed."""

import http.client
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Self

import pytest

from datauploader_client.admin.certificates import CertificateCopy
from datauploader_testing.servers import RabbitServer
from datauploader_testing.servers.ports import accepts_connections, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.server import PrivateServer
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
HOST = "localhost"
RENEWED_WITHIN_S = 240.0
"""RabbitMQ looks every two minutes whether a certificate has changed."""


def certify(folder: Path, names: tuple[str, str] = ("server.crt", "server.key")) -> Path:
    """Make a new certificate for HOST, as a renewal does, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}", "-out", "new.crt", "-keyout", "new.key"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    for made, name in zip(("new.crt", "new.key"), names, strict=True):
        (folder / made).replace(folder / name)
    return folder / names[0]


def shown(port: int) -> str:
    """Return the certificate that a server shows now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), 5)
    with plain, context.wrap_socket(plain, server_hostname=HOST) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


class Upstream(BaseHTTPRequestHandler):
    """Stands for the gateway: tells what it was sent, and holds a stream open until it is let go."""

    go_on: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        """Answer one request."""
        self.send_response(200)
        self.end_headers()
        if self.path == "/cookies":
            self.wfile.write(self.headers["Cookie"].encode())
            return
        told = f"{self.headers['X-Forwarded-For']} {self.headers['X-Forwarded-Proto']} {self.headers['Host']}\n"
        self.wfile.write(told.encode())
        self.wfile.flush()
        if self.path == "/stream":
            self.go_on.wait(30)
            self.wfile.write(b"end\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Caddy(PrivateServer):
    """Caddy with deploy/caddy/Caddyfile, on free ports and with other addresses behind it."""

    name: ClassVar[str] = "caddy"

    def __init__(self, certificates: Path, upstream: int) -> None:
        self._program = find_program("caddy", install="apt-get install caddy")
        super().__init__()
        self.port, self.page, self.grafana, self._plain, self.admin = (free_port() for _ in range(5))
        text = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text(encoding="utf-8")
        for pattern, word in (
            (r"http_port 8080", f"http_port {self._plain}"), (r"https_port 8443", f"https_port {self.port}"),
            (r"localhost:2019", f"localhost:{self.admin}"), (r"(?<=})(:15671)", f":{self.page}"),
            (r"(?<=})(:3443)", f":{self.grafana}"),
            (r"gateway:8080|rabbitmq:15672|grafana:3000", f"127.0.0.1:{upstream}"),
            (r"/certificates", str(certificates)),
        ):  # fmt: skip
            text, number = re.subn(pattern, word, text)
            assert number, pattern
        self.file = self.directory / "Caddyfile"
        self.file.write_text(text)

    def run(self, *command: str, mode: str = "files") -> subprocess.CompletedProcess[str]:
        """Run another command of Caddy's on the same file."""
        whole = [self._program, *command, "--config", self.file, "--adapter", "caddyfile"]
        return subprocess.run(whole, capture_output=True, text=True, check=False, env=self._environment(mode))

    def _environment(self, mode: str) -> dict[str, str]:
        folder = str(self.directory)
        given = {"PUBLIC_HOST": HOST, "CERTIFICATES": mode, "ACME_EMAIL": "it@facility.eu"}
        return given | {"ACME_CA": "https://acme.facility.test/directory", "HOME": folder, "XDG_DATA_HOME": folder}

    def _launch(self) -> subprocess.Popen[bytes]:
        command = (self._program, "run", "--config", self.file, "--adapter", "caddyfile")
        return self._spawn(*command, env=self._environment("files"))

    def _answers(self) -> bool:
        return accepts_connections(self.port)

    def __enter__(self) -> Self:
        return super().__enter__()


@pytest.fixture
def upstream() -> Iterator[int]:
    """Give the port of what stands behind Caddy."""
    Upstream.go_on.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    Upstream.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def connect(port: int, certificate: Path) -> http.client.HTTPSConnection:
    """Connect as a browser that trusts this certificate."""
    context = ssl.create_default_context(cafile=str(certificate))
    return http.client.HTTPSConnection(HOST, port, context=context, timeout=10)


def test_the_file_is_valid_for_either_kind_of_certificate(tmp_path: Path) -> None:
    """A word that Caddy does not know would be found at the start of the facility only."""
    certify(tmp_path)
    caddy = Caddy(tmp_path, 1)
    try:
        for mode in ("acme", "files"):
            checked = caddy.run("validate", mode=mode)
            assert checked.returncode == 0, checked.stderr
    finally:
        caddy.close()


def test_people_are_served_without_delay_and_renewal_needs_no_restart(tmp_path: Path, upstream: int) -> None:
    """Who they are is passed on, a stream flows line by line; after a reload there is the new certificate."""
    first = certify(tmp_path)
    with Caddy(tmp_path, upstream) as caddy:
        connection = connect(caddy.port, first)
        connection.request("GET", "/stream", headers={"X-Forwarded-For": "203.0.113.9"})
        answer = connection.getresponse()
        assert answer.readline().split() == [b"127.0.0.1", b"https", f"{HOST}:{caddy.port}".encode()]
        Upstream.go_on.set()  # the first line has come before the last one was said
        assert answer.read() == b"end\n"
        connection.close()
        before = shown(caddy.port)
        certify(tmp_path)
        reloaded = caddy.run("reload", "--force", "--address", f"localhost:{caddy.admin}")
        assert reloaded.returncode == 0, reloaded.stderr
        eventually(lambda: shown(caddy.port) != before, what="the new certificate")
        assert shown(caddy.page) == shown(caddy.grafana) == shown(caddy.port)


def test_who_is_signed_in_is_told_to_the_gateway_alone(tmp_path: Path, upstream: int) -> None:
    """A browser sends its cookies to every port of a host; RabbitMQ's page and Grafana get their own ones."""
    certificate = certify(tmp_path)
    cookies = "a=1; __Host-datauploader=secret; datauploader-csrf=secret; b=2"
    with Caddy(tmp_path, upstream) as caddy:
        for port, expected in ((caddy.port, cookies), (caddy.page, "a=1; b=2"), (caddy.grafana, "a=1; b=2")):
            connection = connect(port, certificate)
            connection.request("GET", "/cookies", headers={"Cookie": cookies})
            told = connection.getresponse().read().decode()
            connection.close()
            assert [one.strip() for one in told.split(";") if one.strip()] == expected.split("; ")


@pytest.mark.parametrize("given", [True, False], ids=["given", "fetched"])
def test_the_broker_gets_the_certificate_and_each_renewal(tmp_path: Path, given: bool) -> None:
    """From where it is, whole, and never a certificate with the key of another one."""
    source, to = tmp_path / "source", tmp_path / "to"
    to.mkdir()
    folder = source if given else source / "caddy" / "certificates" / "acme.facility.test-directory" / HOST
    names = ("server.crt", "server.key") if given else (f"{HOST}.crt", f"{HOST}.key")
    copy = CertificateCopy(HOST, source, source if given else None, to)
    assert not copy.copy_changed()
    first = certify(folder, names).read_text()
    assert copy.copy_changed()
    assert (to / "server.crt").read_text() == first
    assert not copy.copy_changed()
    (folder / names[0]).write_text(certify(tmp_path / "other").read_text())
    assert not copy.copy_changed()
    assert (to / "server.crt").read_text() == first
    renewed = certify(folder, names).read_text()
    assert copy.copy_changed()
    assert (to / "server.crt").read_text() == renewed


def with_tls(folder: Path, port: int) -> str:
    """Return the broker's settings as shipped, for this folder and port."""
    text = (ROOT / "deploy" / "rabbitmq-tls.conf").read_text(encoding="utf-8")
    return text.replace("/etc/rabbitmq/tls", str(folder)).replace("= 5671", f"= {port}")


@pytest.mark.rabbitmq
@pytest.mark.campaign
def test_the_broker_shows_a_renewed_certificate_by_itself(tmp_path: Path) -> None:
    """Without a restart and without a lost connection of those that are there."""
    certify(tmp_path)
    port = free_port()
    with RabbitServer(settings=with_tls(tmp_path, port)):
        before = shown(port)
        certify(tmp_path)
        eventually(lambda: shown(port) != before, what="the new certificate", within_s=RENEWED_WITHIN_S, every_s=2)
