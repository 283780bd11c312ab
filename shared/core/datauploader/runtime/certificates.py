"""When the certificates end of what a process speaks to: looked at now and then, by a handshake of its own."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from prometheus_client.core import GaugeMetricFamily, Metric

EVERY_S = 900.0
"""How often they are looked at."""
_WITHIN_S = 5.0
_PORTS = {"https": 443, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that shows a certificate."""

    host: str
    port: int
    ca_file: Path | None
    """Trusted in place of the system's authorities."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a look at an endpoint found."""

    valid: bool
    """It is trusted, of that name, and not past its end."""
    expires_at: float | None
    """Seconds since 1970; not known of one that is not valid."""


def endpoint(url: str, ca_file: Path | None = None) -> Endpoint | None:
    """Read an address; None where nothing shows a certificate there. `?cafile=` in an address of a broker counts."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    named = parse_qs(parts.query).get("cafile")
    return Endpoint(parts.hostname, parts.port or _PORTS[parts.scheme], Path(named[0]) if named else ca_file)


def look(at: Endpoint) -> Certificate | None:
    """Shake hands; None where nobody answers, or something else than the certificate is in the way."""
    try:
        context = ssl.create_default_context(cafile=at.ca_file)
        with (
            socket.create_connection((at.host, at.port), timeout=_WITHIN_S) as connection,
            context.wrap_socket(connection, server_hostname=at.host) as secured,
        ):
            shown = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError:
        return Certificate(valid=False, expires_at=None)
    except OSError:
        return None
    return Certificate(valid=True, expires_at=float(ssl.cert_time_to_seconds(str(shown["notAfter"]))))


class CertificateWatch:
    """Knows the endpoints of this process by a word for each, and what the last look at them found."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._lock = threading.Lock()
        self._endpoints: dict[str, Endpoint] = {}
        self._found: dict[str, Certificate] = {}
        self._looked_at = float("-inf")

    def add(self, name: str, url: str, ca_file: Path | None = None) -> None:
        """Watch what stands at this address, under this name; nothing where it shows no certificate."""
        if (at := endpoint(url, ca_file)) is not None:
            with self._lock:
                self._endpoints[name] = at
                self._looked_at = float("-inf")

    def refresh(self) -> None:
        """Look at all of them now; what cannot be reached keeps what was found before."""
        with self._lock:
            endpoints = dict(self._endpoints)
            self._looked_at = time.monotonic()
        for name, at in endpoints.items():
            if (found := look(at)) is not None:
                with self._lock:
                    self._found[name] = found

    def collect(self) -> Iterator[Metric]:
        """Tell what is known, and have somebody look where that is old: nobody waits for a handshake."""
        with self._lock:
            due = bool(self._endpoints) and time.monotonic() - self._looked_at > EVERY_S
            found = dict(self._found)
        if due:
            threading.Thread(target=self.refresh, name="certificates", daemon=True).start()
        expiry = GaugeMetricFamily(
            "datauploader_certificate_expiry_timestamp_seconds", "When a certificate ends", labels=["endpoint"]
        )
        valid = GaugeMetricFamily(
            "datauploader_certificate_valid", "1 where a certificate is trusted and has not ended", labels=["endpoint"]
        )
        for name, certificate in found.items():
            valid.add_metric((name,), float(certificate.valid))
            if certificate.expires_at is not None:
                expiry.add_metric((name,), certificate.expires_at)
        yield from (valid, expiry)
