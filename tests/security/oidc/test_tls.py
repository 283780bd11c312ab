"""S15 for the identity provider: secrets and codes go to a certificate that holds, and to no other."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Certified = Callable[[str], tuple[Any, Path]]


@pytest.fixture
def certified(tmp_path: Path, scene: Any) -> Iterator[Certified]:
    """Give issuers with TLS, and the files of their certificates."""
    opened = []

    def make(names: str) -> tuple[Any, Path]:
        key, certificate = tmp_path / "issuer.key", tmp_path / "issuer.crt"
        subject = ["-subj", "/CN=issuer", "-addext", f"subjectAltName={names}"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        issuer = scene.Issuer(context)
        opened.append(issuer)
        return issuer, certificate

    yield make
    for issuer in opened:
        issuer.close()


def test_a_certificate_of_the_facilitys_own_authority_is_trusted_where_it_is_named(
    open_door: Any, certified: Certified
) -> None:
    """So that the refusals below mean something."""
    issuer, certificate = certified("IP:127.0.0.1")
    door = open_door(trusted=issuer, oidc={"cafile": certificate})
    browser = door.client()
    told = door.begin(browser)
    issuer.answer = {"id_token": issuer.id_token(told["nonce"])}
    assert door.come_back(browser, told["state"]).status_code == 303


@pytest.mark.attack("S15")
def test_a_self_made_certificate_is_refused_with_the_reason(open_door: Any, certified: Certified) -> None:
    """Nobody is sent to a provider that cannot show who it is."""
    issuer, _ = certified("IP:127.0.0.1")
    answer = open_door(trusted=issuer).client().get("/api/v1/oidc/start")
    assert (answer.status_code, issuer.asked) == (503, [])
    assert "self-signed certificate" in answer.text


@pytest.mark.attack("S15")
def test_a_certificate_of_another_host_is_refused_with_the_reason(open_door: Any, certified: Certified) -> None:
    """Although its authority is trusted."""
    issuer, certificate = certified("DNS:elsewhere.example")
    answer = open_door(trusted=issuer, oidc={"cafile": certificate}).client().get("/api/v1/oidc/start")
    assert (answer.status_code, issuer.asked) == (503, [])
    assert "mismatch" in answer.text


@pytest.mark.attack("S15")
def test_certificates_that_are_none_stop_the_start(open_door: Any, issuer: Any, tmp_path: Path) -> None:
    """A sentence that names the file, before anybody signs in."""
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ValueError, match=r"the certificates in .*ca\.crt cannot be used"):
        open_door(oidc={"cafile": tmp_path / "ca.crt"})
