"""RabbitMQ only: a certificate that does not hold is refused, with a sentence that says why; no broker is needed."""

import contextlib
import socket
import ssl
import subprocess
import threading

import pytest

from datauploader.errors import BrokerRefused, ConfigurationError
from datauploader.messaging.rabbit import RabbitBus


@pytest.fixture
def authority(tmp_path):
    """Give a self-made certificate for another host."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=elsewhere", "-addext", "subjectAltName=DNS:elsewhere.example"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
def port(authority):
    """Give the port of a TLS server that shows this certificate."""
    key, certificate = authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError), context.wrap_socket(client, server_side=True):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.attack("S15")
@pytest.mark.parametrize(
    ("known", "says"),
    [(False, "self-signed certificate"), (True, "IP address mismatch")],
    ids=["a certificate of nobody's", "another host's certificate"],
)
def test_a_certificate_that_does_not_hold_is_a_sentence(port, authority, quick, eventually, new_event, known, says):
    """Neither one that nobody vouches for, nor one that belongs to another host."""
    query = f"?cafile={authority[1]}" if known else ""
    bus = RabbitBus(f"amqps://u:p@127.0.0.1:{port}/{query}", name="watcher x", tuning=quick)
    try:
        eventually(lambda: says in bus.health().detail, lambda: bus.health().detail)
        assert "is not trusted" in bus.health().detail
        assert isinstance(bus.publish(new_event()).exception(10), BrokerRefused)
    finally:
        bus.close(5)


@pytest.mark.attack("S15")
def test_an_authority_that_does_not_exist_is_a_sentence():
    """Found at the start, not at the first connection."""
    with pytest.raises(ConfigurationError, match="cafile must exist"):
        RabbitBus("amqps://u:p@127.0.0.1/?cafile=/nowhere.pem", name="watcher x")
