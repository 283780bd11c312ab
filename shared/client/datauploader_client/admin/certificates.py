"""The broker's certificate: the one that Caddy has fetched, or that was given, copied whenever it has changed."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from datauploader_client.admin.files import write_file

NAMES = ("server.crt", "server.key")
"""As they are called where they are given, and where the broker reads them."""


@dataclass(frozen=True, slots=True)
class CertificateCopy:
    """Copies the certificate of a host, with its key, to where the broker reads it."""

    host: str
    fetched: Path
    """Caddy's storage, https://caddyserver.com/docs/conventions#data-directory."""
    given: Path | None
    """The folder with NAMES; None: the fetched one is meant."""
    to: Path

    def copy_changed(self) -> bool:
        """Copy them if they have changed and belong together; tell whether that was so."""
        source = self._source()
        if source is None or not _belong_together(*source):
            return False
        texts = [path.read_text(encoding="utf-8") for path in source]
        places = [self.to / name for name in NAMES]
        if [place.read_text(encoding="utf-8") if place.exists() else "" for place in places] == texts:
            return False
        for place, text in zip(places, texts, strict=True):
            write_file(place, text, 0o644)  # the broker is another user; nobody else mounts this folder
        return True

    def _source(self) -> tuple[Path, Path] | None:
        if self.given is not None:
            certificate, key = (self.given / name for name in NAMES)
        else:
            found = self.fetched.glob(f"caddy/certificates/*/{self.host}/{self.host}.crt")
            newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
            if newest is None:
                return None
            certificate, key = newest, newest.with_suffix(".key")
        return (certificate, key) if certificate.exists() and key.exists() else None


def _belong_together(certificate: Path, key: Path) -> bool:
    """Tell whether the key is the certificate's: while they are being renewed one may be older."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        return False
    return True
