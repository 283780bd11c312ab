"""The writer of RO-Crates with a server that answers as it is told to; tests/handlers/gateway has it at a gateway."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from datauploader.plugins.consumer import HandlerContext, Retry, Trial
from datauploader.runtime.config import load
from datauploader_consumer_ro_crate.app import RoCrateSettings, app, describe_dataset
from datauploader_testing import builders
from datauploader_testing.consumers import hand

CRATE = b'{"@context": "x", "@graph": [\n{"@id": "./"}\n]}\n'
DONE = builders.event(builders.dataset_completed(), id="id/1")


class Gateway(ThreadingHTTPServer):
    """What it answers, and what it was asked with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.tokens: list[str] = []
        self.names: Any = {"investigation": "100", "dataset": "scan1", "state": "completed"}
        self.answer: tuple[int, dict[str, str], bytes] = (200, {"Content-Type": "application/ld+json"}, CRATE)
        self.missing = 0
        """Bytes of the crate that never come."""
        super().__init__(("127.0.0.1", 0), Answers)

    def settings(self, **changes: Any) -> RoCrateSettings:
        """Give settings for this gateway."""
        url = f"http://127.0.0.1:{self.server_address[1]}/"
        said = {"folder": self.folder, "gateway": url, "token": SecretStr("du_s3cr3t"), "timeout_s": 2}
        return RoCrateSettings(**said | changes)

    def hand(self, **changes: Any) -> Trial:
        """Hand an event to the consumer."""
        return hand(app, DONE, self.settings(**changes))

    def written(self) -> list[str]:
        """List what lies below the folder."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir())


class Answers(BaseHTTPRequestHandler):
    """Answers as the gateway is told to; as HTTP 1.0, whose answers end where the connection ends."""

    def do_GET(self) -> None:
        """Tell the upload, or its crate."""
        self.server.tokens.append(self.headers["Authorization"])
        code, headers, body = self.server.answer
        if not self.path.endswith("/receipt/ro-crate-metadata.json") and code == 200:
            headers, body = {"Content-Type": "application/json"}, json.dumps(self.server.names).encode()
        elif self.server.missing:
            body = body[: -self.server.missing]
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Give a server that listens."""
    with Gateway(tmp_path / "crates") as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "verdict", "delay_s", "why"),
    [
        ((503, {}, b'{"detail": "Redis is away"}'), "again", 60, "answered with HTTP status 503: Redis is away"),
        ((500, {}, b"<html>"), "again", 60, "answered with HTTP status 500"),
        ((429, {}, b""), "again", 60, "answered with HTTP status 429"),
        ((404, {}, b""), "again", 1, "staff of the beamline, or an operator (HTTP status 404)"),
        ((403, {}, b'{"detail": "no"}'), "park", 0, "the gateway refuses the request (HTTP status 403: no)"),
        ((410, {}, b"[]"), "park", 0, "the gateway refuses the request (HTTP status 410)"),
        ((308, {"Location": "http://127.0.0.1:1/"}, b""), "park", 0, "gateway leads elsewhere; give its new address"),
        ((200, {"Content-Type": "text/html"}, CRATE), "park", 0, "does not answer with an RO-Crate: see gateway in"),
    ],
)  # fmt: skip
def test_a_gateway_that_is_away_is_asked_again_and_one_that_refuses_is_not(
    gateway: Gateway, answer: tuple[int, dict[str, str], bytes], verdict: str, delay_s: float, why: str
) -> None:
    """The token goes to no other address, and no sentence shows it; nothing is written."""
    gateway.answer = answer
    trial = gateway.hand()
    assert (trial.verdict, trial.delay_s) == (verdict, delay_s)
    assert why in trial.reason
    assert "s3cr3t" not in trial.reason
    assert set(gateway.tokens) == {"Bearer du_s3cr3t"}
    assert gateway.written() == []


def test_a_gateway_that_cannot_be_reached_or_is_none_is_told(gateway: Gateway) -> None:
    """Nobody listens, nobody answers in time, or something else than a gateway does."""
    trial = gateway.hand(gateway="http://127.0.0.1:1")
    assert (trial.verdict, trial.reason) == ("again", "the gateway cannot be reached (ConnectError)")
    gateway.names = ["hello"]
    trial = gateway.hand()
    assert (trial.verdict, "does not answer like a gateway" in trial.reason) == ("park", True)
    gateway.shutdown()
    trial = gateway.hand(timeout_s=0.1)
    assert (trial.verdict, trial.reason) == ("again", "the gateway cannot be reached (ReadTimeout)")


def test_a_crate_that_does_not_come_whole_replaces_nothing(gateway: Gateway) -> None:
    """Neither one whose length is known nor one that ends with its connection; no draft stays."""
    assert gateway.hand().verdict == "done"
    gateway.missing = 5
    trial = gateway.hand()
    assert (trial.verdict, trial.reason) == ("again", "the gateway's answer ended too early")
    code, headers, body = gateway.answer
    gateway.answer = (code, {**headers, "Content-Length": str(len(body))}, body)
    trial = gateway.hand()
    assert (trial.verdict, trial.reason) == ("again", "the gateway cannot be reached (RemoteProtocolError)")
    assert gateway.written() == ["100/scan1/ro-crate-metadata.json"]
    assert (gateway.folder / "100/scan1/ro-crate-metadata.json").read_bytes() == CRATE


@pytest.mark.attack("S19")
@pytest.mark.parametrize(
    ("investigation", "dataset"),
    [("100", ".."), ("..", "scan1"), ("100", "../../x"), ("/etc", "x"), ("100", "a/b"), ("100", ""), ("100", "a\x00b"),
     ("100", "con"), ("1/../..", "x")],
)  # fmt: skip
def test_a_name_from_outside_does_not_leave_the_folder(gateway: Gateway, investigation: str, dataset: str) -> None:
    """Names come from people and catalogues; what cannot be a folder is parked."""
    gateway.names = {"investigation": investigation, "dataset": dataset}
    trial = gateway.hand()
    assert (trial.verdict, "no folder can be made for" in trial.reason) == ("park", True), trial.reason
    assert [path.name for path in gateway.folder.parent.iterdir()] == ["crates"]
    assert gateway.written() == []


def test_an_investigation_whose_number_has_a_slash_is_a_folder_in_a_folder(gateway: Gateway) -> None:
    """Identifiers of SciCat may begin with the prefix of a DOI."""
    gateway.names = {"investigation": "20.500.12345/7", "dataset": "scan1"}
    assert gateway.hand().verdict == "done"
    assert gateway.written() == ["20.500.12345/7/scan1/ro-crate-metadata.json"]


@pytest.mark.posix
@pytest.mark.attack("S20")
def test_a_link_in_the_folder_leads_nowhere(gateway: Gateway, tmp_path: Path) -> None:
    """Whoever may write below the folder has the service write no other file."""
    secret = tmp_path / "secret"
    secret.write_text("old")
    (gateway.folder / "100" / "scan1").mkdir(parents=True)
    place = gateway.folder / "100" / "scan1"
    draft = f".ro-crate-metadata.json.{hashlib.sha256(DONE.id.encode()).hexdigest()[:16]}"
    for name in ("ro-crate-metadata.json", draft):
        (place / name).symlink_to(secret)
    assert gateway.hand().verdict == "done"
    assert (secret.read_text(), (place / "ro-crate-metadata.json").is_symlink()) == ("old", False)
    (gateway.folder / "200").symlink_to(tmp_path)
    gateway.names = {"investigation": "200", "dataset": "scan1"}
    trial = gateway.hand()
    assert (trial.verdict, "leads out of" in trial.reason, (tmp_path / "scan1").exists()) == ("park", True, False)


def test_a_folder_that_cannot_be_written_to_is_tried_again(gateway: Gateway, tmp_path: Path) -> None:
    """A file system that is away is no place to write below; something may be in the way."""
    trial = gateway.hand(folder=tmp_path / "away")
    assert (trial.verdict, trial.delay_s, "is not there: see folder" in trial.reason) == ("again", 600, True)
    assert not (tmp_path / "away").exists()
    (gateway.folder / "100").write_text("in the way")
    trial = gateway.hand()
    assert (trial.verdict, "ro-crate-metadata.json cannot be written: " in trial.reason) == ("again", True)


def test_the_service_stops_without_waiting_for_the_crate(gateway: Gateway) -> None:
    """It is written afterwards, and no draft stays."""
    context = HandlerContext(gateway.settings(), "key")
    context.stopping.set()
    with pytest.raises(Retry, match="the service stops"):
        describe_dataset(DONE, replace(context, attempt=2))
    assert gateway.written() == []


def test_the_token_comes_from_a_file_and_the_address_is_one_of_the_web(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be is told at the start."""
    (tmp_path / "token").write_text("du_s3cr3t\n")
    said = {"TOKEN_FILE": tmp_path / "token", "FOLDER": tmp_path, "GATEWAY": "https://upload.example.org"}
    for name, value in said.items():
        monkeypatch.setenv(f"DATAUPLOADER_RO_CRATE_{name}", str(value))
    assert load(RoCrateSettings).token.get_secret_value() == "du_s3cr3t"
    with pytest.raises(ValidationError, match="must begin with https"):
        RoCrateSettings(folder=tmp_path, gateway="upload.example.org", token=SecretStr("x"))
    for token in ("", "du_a\ndu_b", "dü"):
        with pytest.raises(ValidationError, match="one line without spaces"):
            RoCrateSettings(folder=tmp_path, gateway="http://x", token=SecretStr(token))
