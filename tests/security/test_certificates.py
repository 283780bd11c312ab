"""A certificate that does not hold is refused by everybody who connects, with a sentence that says what is wrong."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from datauploader.errors import BrokerRefused, GatewayUnreachable
from datauploader.messaging.rabbit import RabbitBus, Tuning
from datauploader.plugins.catalogue.errors import CatalogueUnavailable
from datauploader_catalog.adapters.vuo.wire import VuoWire
from datauploader_catalog.settings import VuoSettings
from datauploader_client.gateway_client import GatewayClient
from datauploader_gateway import redis_client
from datauploader_testing.waiting import eventually

CONFIGURATION = """
[ca]
default_ca = authority
[authority]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = names
copy_extensions = copy
[names]
commonName = supplied
"""
FAULTS = {
    "self-made": ("20200101000000Z", "20400101000000Z", "IP:127.0.0.1", False, "self-signed certificate"),
    "expired": ("20200101000000Z", "20200102000000Z", "IP:127.0.0.1", True, "certificate has expired"),
    "not yet valid": ("20390101000000Z", "20400101000000Z", "IP:127.0.0.1", True, "certificate is not yet valid"),
    "another host's": ("20200101000000Z", "20400101000000Z", "DNS:elsewhere.example", True, "mismatch"),
}

pytestmark = pytest.mark.attack("S15")


@dataclass(frozen=True)
class Place:
    """A TLS server with a certificate that does not hold."""

    port: int
    authority: Path | None
    """What the client trusts beside the system's; None: nothing."""
    says: str
    heard: list[bytes]
    """What clients sent after the handshake: nothing, if they were careful."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, Path]]:
    """Give a maker of certificates with a fault: authority, certificate, key."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "index").touch()
    (folder / "serial").write_text("01")
    (folder / "configuration").write_text(CONFIGURATION.format(folder=folder))

    def openssl(*words: str | Path) -> None:
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority", "-days", "2",
            "-keyout", folder / "ca.key", "-out", folder / "ca.crt")  # fmt: skip

    def make(fault: str) -> tuple[Path, Path, Path]:
        start, end, name, *_ = FAULTS[fault]
        path = folder / fault.replace(" ", "_").replace("'", "")
        key, request, made = path.with_suffix(".key"), path.with_suffix(".csr"), path.with_suffix(".crt")
        if not made.exists():
            openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={path.name}", "-keyout", key,
                    "-out", request, "-addext", f"subjectAltName={name}")  # fmt: skip
            openssl("ca", "-batch", "-notext", "-config", folder / "configuration", "-cert", folder / "ca.crt",
                    "-keyfile", folder / "ca.key", "-in", request, "-out", made, "-startdate", start,
                    "-enddate", end)  # fmt: skip
            made.write_text(made.read_text() + (folder / "ca.crt").read_text())
        return folder / "ca.crt", made, key

    return make


@pytest.fixture(params=FAULTS)
def place(request: pytest.FixtureRequest, certificate: Callable[[str], tuple[Path, Path, Path]]) -> Iterator[Place]:
    """Serve TLS with each faulty certificate in turn."""
    authority, chain, key = certificate(request.param)
    *_, trusted, says = FAULTS[request.param]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    listener, heard = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as wrapped:
                heard.append(wrapped.recv(1000))

    thread = threading.Thread(target=serve)
    thread.start()
    yield Place(listener.getsockname()[1], authority if trusted else None, says, heard)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_amqp(place: Place) -> None:
    """The broker's password is told to nobody."""
    query = f"?cafile={place.authority}" if place.authority else ""
    quick = Tuning(backoff_first_s=0.05, backoff_most_s=0.2, patience_s=1.0)
    bus = RabbitBus(f"amqps://u:p@127.0.0.1:{place.port}/{query}", name="watcher x", tuning=quick)
    try:
        eventually(lambda: place.says in bus.health().detail, what=bus.health().detail)
        assert isinstance(bus._out.problem, BrokerRefused)
    finally:
        bus.close(5)
    assert not any(place.heard)


def test_the_catalogue(place: Place) -> None:
    """Neither a session nor a hash of the secret leaves."""
    settings = VuoSettings(
        base_url=f"https://127.0.0.1:{place.port}", secret=SecretStr("s"), ca_file=place.authority, read_attempts=1
    )
    wire = VuoWire(settings)
    try:
        for ask in (wire.read, wire.write):
            with pytest.raises(CatalogueUnavailable, match=place.says):
                ask("vuo_sso.detail", {"cookie": "session"})
    finally:
        wire.close()
    assert not any(place.heard)


def test_redis(place: Place) -> None:
    """The gateway's password is told to nobody."""
    query = f"?ssl_ca_certs={place.authority}" if place.authority else ""
    client = redis_client.connect(f"rediss://u:p@127.0.0.1:{place.port}/0{query}")
    with pytest.raises(redis.exceptions.ConnectionError, match=place.says):
        client.ping()
    client.close()
    assert not any(place.heard)


def test_the_gateway_from_the_command_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is told to nobody."""
    if place.authority:
        monkeypatch.setenv("SSL_CERT_FILE", str(place.authority))
    with (
        GatewayClient(f"https://127.0.0.1:{place.port}", "token") as gateway,
        pytest.raises(GatewayUnreachable) as refusal,
    ):
        gateway.me()
    assert place.says in str(refusal.value)
    assert not any(place.heard)
