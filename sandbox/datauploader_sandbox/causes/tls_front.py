"""TLS before the broker, with a certificate that ends when somebody wants it to."""

import asyncio
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class TlsFront(threading.Thread):
    """Speaks TLS before a port of this machine, with a certificate of its own."""

    def __init__(self, folder: Path, port: int, days: int) -> None:
        """Make a certificate that is valid for so many days."""
        super().__init__(daemon=True)
        self.certificate, self._key_file = folder / "front.crt", folder / "front.key"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._behind = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._show(days)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.port = int(self._server.sockets[0].getsockname()[1])

    def run(self) -> None:
        """Serve until the program ends."""
        self._loop.run_forever()

    def expire(self) -> None:
        """Show a certificate from now on that ended yesterday, and cut who is connected."""
        self._show(-1)
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _show(self, days: int) -> None:
        _write_certificate(self.certificate, self._key_file, self._key, days)
        self._context.load_cert_chain(self.certificate, self._key_file)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._behind)

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            except OSError:
                pass
            finally:
                target.close()

        self._open.add(writer)
        await asyncio.gather(carry(reader, outer), carry(inner, writer))
        self._open.discard(writer)


def _write_certificate(certificate: Path, key_file: Path, key: ec.EllipticCurvePrivateKey, days: int) -> None:
    """Sign a certificate for localhost with its own key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
