"""The notifier with a real HTTP server for a chat: what it says, and what each answer means."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr, ValidationError

from datauploader.contracts import DatasetCompleted, DatasetRefused
from datauploader.runtime.config import load
from datauploader_consumer_notifier.app import NotifierSettings, app
from datauploader_consumer_notifier.chat import plain
from datauploader_testing import builders
from datauploader_testing.consumers import hand


class Chat(ThreadingHTTPServer):
    """A chat: what it was told, and what it answers."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"ok")
        super().__init__(("127.0.0.1", 0), Webhook)

    @property
    def url(self) -> str:
        """The webhook, whose last word is a secret."""
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/s3cr3t"


class Webhook(BaseHTTPRequestHandler):
    """Answers as the chat is told to."""

    def do_POST(self) -> None:
        """Take a message."""
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        code, headers, body = self.server.answer
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def chat() -> Iterator[Chat]:
    """Give a chat that listens."""
    with Chat() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def settings(chat: Chat) -> NotifierSettings:
    """Give settings for this chat."""
    return NotifierSettings(url=SecretStr(chat.url), timeout_s=2)


def test_the_chat_is_told_what_is_complete_and_what_was_refused(chat: Chat) -> None:
    """In a sentence each, with where the data are and what to do."""
    done = DatasetCompleted(
        upload_id="upload-0001", dataset_id="42", files=12, bytes=3_400_000_000, manifest_sha256="0" * 64,
        url="https://catalogue.example.org/42",
    )  # fmt: skip
    refused = DatasetRefused(
        upload_id="upload-0001", reason="closed", detail="The visit is over.", hint="Ask for more."
    )
    assert [hand(app, one, settings(chat)).verdict for one in (done, refused)] == ["done", "done"]
    assert chat.told == [
        "elettra/xrd1/ws01: dataset 42 is complete, 12 files, 3.40 GB. https://catalogue.example.org/42",
        "elettra/xrd1/ws01: the catalogue refuses the dataset of upload upload-0001. The visit is over. Ask for more.",
    ]


@pytest.mark.parametrize(
    ("answer", "verdict", "delay_s", "why"),
    [
        ((503, {}, b""), "again", 60, "HTTP status 503"),
        ((429, {"Retry-After": "540"}, b""), "again", 600, "HTTP status 429"),
        ((429, {"Retry-After": "DATE"}, b""), "again", 600, "HTTP status 429"),
        ((503, {"Retry-After": "99999999999"}, b""), "again", 600, "HTTP status 503"),
        ((503, {"Retry-After": "9" * 400}, b""), "again", 600, "HTTP status 503"),
        ((503, {"Retry-After": "soon"}, b""), "again", 60, "HTTP status 503"),
        ((404, {}, b"no such\nhook"), "park", 0, "refuses the message (HTTP status 404: no such hook)"),
        ((400, {}, b"x" * 5000), "park", 0, "refuses the message (HTTP status 400: x"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "park", 0, "leads elsewhere; give its new address"),
    ],
)
def test_a_chat_that_is_busy_is_told_later_and_one_that_refuses_never(
    chat: Chat, answer, verdict, delay_s, why
) -> None:
    """It is left alone for as long as it asks; a redirection is not followed; the address is in no sentence."""
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=9))
    chat.answer = (answer[0], {name: value.replace("DATE", later) for name, value in answer[1].items()}, answer[2])
    trial = hand(app, builders.dataset_completed(), settings(chat))
    assert (trial.verdict, trial.delay_s) == (verdict, delay_s)
    assert why in trial.reason
    assert "s3cr3t" not in trial.reason
    assert len(trial.reason) < 300


def test_a_chat_that_cannot_be_reached_is_told_later(chat: Chat) -> None:
    """Nobody listens, or the one who listens does not answer in time."""
    away = NotifierSettings(url=SecretStr("http://127.0.0.1:1/hooks/s3cr3t"))
    trial = hand(app, builders.dataset_completed(), away)
    assert (trial.verdict, trial.reason) == ("again", "the chat cannot be reached (ConnectError)")
    chat.shutdown()
    silent = NotifierSettings(url=SecretStr(chat.url), timeout_s=0.1)
    trial = hand(app, builders.dataset_completed(), silent)
    assert (trial.verdict, trial.reason) == ("again", "the chat cannot be reached (ReadTimeout)")


@pytest.mark.attack("S18")
def test_words_from_outside_call_nobody_and_are_no_markup() -> None:
    """Somebody may name a dataset as a chat would call everybody."""
    assert plain("<!channel> @all\nsee <http://x|y> & more") == (
        "&lt;!channel&gt; @\u200ball see &lt;http://x|y&gt; &amp; more"
    )


def test_the_address_comes_from_a_file_and_must_be_one_of_the_web(tmp_path, monkeypatch) -> None:
    """A file or another scheme would have the service read what is its machine's."""
    (tmp_path / "url").write_text("https://chat.example.org/hooks/s3cr3t\n")
    monkeypatch.setenv("DATAUPLOADER_NOTIFIER_URL_FILE", str(tmp_path / "url"))
    assert load(NotifierSettings).url.get_secret_value() == "https://chat.example.org/hooks/s3cr3t"
    for url in ("file:///etc/passwd", "chat.example.org", "ftp://chat.example.org", "https:///hooks"):
        with pytest.raises(ValidationError, match="must begin with https"):
            NotifierSettings(url=SecretStr(url))
