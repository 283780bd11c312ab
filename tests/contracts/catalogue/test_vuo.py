"""What VUO's adapter must do beyond the port: on the wire, against a server that lies, drips or leads astray."""

import contextlib
import hashlib
import logging
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.batches import send_apart
from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    CatalogueUnavailable,
    NotTrusted,
    UnknownSession,
    UnknownTrouble,
    ValueRefused,
)
from datauploader.plugins.catalogue.port import Datafile, NamedValue, NewDataset, NewInvestigation
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.settings import VuoSettings

ANNA, OPEN = "1101", "20260101"
WANTED = NewDataset(OPEN, "scan-1", owner=ANNA)
SECRET = "canary-secret"


class RawServer:
    """Takes connections one after the other, keeps what was sent, and answers as it is told, byte by byte."""

    def __init__(self, answer: bytes = b"", pause: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.pause, self.tls = answer, pause, tls
        self.requests: list[bytes] = []
        self._stopping = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        """Stop taking connections."""
        self._stopping.set()
        with socket.create_connection(("127.0.0.1", self.port)):
            self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection, contextlib.suppress(OSError):  # some tests make clients hang up
                if self._stopping.is_set():
                    return
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        if self.tls is None:
            self._answer(connection)
            return
        with self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
            secured.do_handshake()
            self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += _some(connection)
        head, _, body = request.partition(b"\r\n\r\n")
        length = int(dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:]).get(b"content-length", 0))
        while len(body) < length:
            body += _some(connection)
        self.requests.append(head + b"\r\n\r\n" + body)
        for piece in [self.answer[n : n + 1] for n in range(len(self.answer))] if self.pause else [self.answer]:
            connection.sendall(piece)
            if self.pause and self._stopping.wait(self.pause):
                return


def _some(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionResetError
    return piece


@pytest.fixture
def raw() -> Iterator[Callable[..., tuple[RawServer, VuoCatalogue]]]:
    """Give a maker of raw servers with an adapter that speaks to them."""
    opened: list[tuple[RawServer, VuoCatalogue]] = []

    def make(answer: bytes, pause: float = 0.0, tls: ssl.SSLContext | None = None, **settings):
        server = RawServer(answer, pause, tls)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        values = {"base_url": url, "secret": SECRET, "timeout": 0.5, "read_attempts": 1, **settings}
        opened.append((server, VuoCatalogue(VuoSettings.model_validate(values))))
        return opened[-1]

    yield make
    for server, catalogue in opened:
        catalogue.close()
        server.stop()


def http(body: str, head: str = "HTTP/1.1 200 OK") -> bytes:
    """Return a whole answer."""
    return f"{head}\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()


def test_the_first_known_call_is_made_as_the_public_client_makes_it(raw) -> None:
    """GET with cookie and what_detail in the query."""
    server, catalogue = raw(http("OK:1101:anna.moretti:51101:5100\n"))
    assert catalogue.identify(SecretStr("a+b/c=")).name == "anna.moretti"
    line = server.requests[0].split(b"\r\n")[0]
    assert line == b"GET /pls/vuo/vuo_sso.detail?cookie=a%2Bb%2Fc%3D&what_detail=unix HTTP/1.1"


def test_the_second_known_call_is_made_as_the_public_client_makes_it(raw) -> None:
    """GET with the SHA-1 of secret, user id and investigation id, one behind the other."""
    server, catalogue = raw(http("OK:51101/store/2026\n"))
    assert catalogue.authorise(ANNA, OPEN).base_dir == "/store/2026"
    signature = hashlib.sha1(f"{SECRET}{ANNA}{OPEN}".encode()).hexdigest()
    query = f"FRM_HASH={signature}&FRM_USR_ID={ANNA}&FRM_INVESTIGATION_ID={OPEN}"
    assert (
        server.requests[0].split(b"\r\n")[0].decode() == f"GET /pls/vuo/vlab.sm_get_investigation_info?{query} HTTP/1.1"
    )


def test_assumed_procedures_and_parameters_take_the_facilitys_names(raw) -> None:
    """Configuration maps both; the hash is made of the values and of the procedure's name as it is called."""
    names = {"procedures": {"complete_dataset": "lab.close_ds"}, "parameter_names": {"FRM_DATASET_ID": "P_DS"}}
    server, catalogue = raw(http("OK:7:20260101:n:l:1:\n"), **names)
    assert catalogue.complete_dataset("7").complete
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /pls/vuo/lab.close_ds HTTP/1.1\r\n")
    parts = "".join(hashlib.sha1(text.encode()).hexdigest() for text in ("lab.close_ds", "7"))
    signature = hashlib.sha1(f"{SECRET}{parts}".encode()).hexdigest()
    assert parse_qsl(body.decode()) == [("FRM_HASH", signature), ("P_DS", "7")]


def test_an_answer_for_another_dataset_is_not_believed(raw) -> None:
    """A look-up that ignores case or cuts names must not mix two datasets up."""
    _, catalogue = raw(http("OK:7:20260101:SCAN-1:l:0:\n"))
    with pytest.raises(CatalogueRefused, match="SCAN-1"):
        catalogue.ensure_dataset(WANTED)


def test_an_answer_that_drips_forever_ends_at_the_limit(raw) -> None:
    """Each byte comes in time, the whole does not."""
    _, catalogue = raw(http("OK:" + "9" * 2000 + "\n"), pause=0.02)
    with pytest.raises(CatalogueUnavailable):
        catalogue.complete_dataset("7")


def test_an_answer_without_end_is_cut(raw) -> None:
    """Memory is not VUO's to fill."""
    _, catalogue = raw(http("OK:" + "9" * 9_000_000 + "\n"), timeout=10)
    with pytest.raises(BadAnswer, match="longer"):
        catalogue.complete_dataset("7")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\xfe nonsense\r\n\r\n",
        http("OK:7:1:n:l:1:\n").replace(b"OK:", b"\xff\xfe\xfd"),
        http("OK:7:1:n:l:1:\n", "HTTP/1.1 204 No Content"),
        http("OK:7:1:n:l:1:\n")[:-4],
        http("").replace(b"Connection", b"Content-Encoding: gzip\r\nConnection") + b"no gzip",
        http("OK:7:1:n:l:1:\n").replace(b"Connection", b"Content-Type: text/plain; charset=klingon\r\nConnection"),
    ],
)
def test_broken_answers_are_errors_of_ours(raw, answer: bytes) -> None:
    """No answer, broken HTTP, wrong bytes, a cut body, a false encoding: retryable, outcome unknown."""
    _, catalogue = raw(answer)
    with pytest.raises(CatalogError) as error:
        catalogue.ensure_dataset(WANTED)
    assert error.value.retryable


def test_a_certificate_of_nobodys_is_refused(raw, tmp_path: Path) -> None:
    """TLS is verified; with the right authority it goes through."""
    certificate, key = tmp_path / "own.crt", tmp_path / "own.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=vuo"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    answer = http("OK:1101:anna.moretti:51101:5100\n")
    _, strict = raw(answer, tls=tls)
    with pytest.raises(CatalogueUnavailable, match=r"(?i)certificate"):
        strict.identify(SecretStr("x"))
    _, trusting = raw(answer, tls=tls, ca_file=str(certificate))
    assert trusting.identify(SecretStr("x")).id == ANNA


def test_nobody_listening_is_unavailable() -> None:
    """A closed port answers at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    catalogue = VuoCatalogue(VuoSettings.model_validate({"base_url": f"http://127.0.0.1:{port}", "secret": SECRET}))
    with pytest.raises(CatalogueUnavailable, match="can be reached"):
        catalogue.ensure_dataset(WANTED)
    catalogue.close()


@pytest.mark.attack("S18")
def test_a_redirect_is_not_followed(vuo) -> None:
    """Not even to where the right answer would be."""
    vuo.fail(
        "identify",
        "error",
        1,
        status=302,
        location=f"{vuo.double.url}/pls/vuo/vuo_sso.detail?cookie=sandbox-session-anna&what_detail=unix",
    )
    with pytest.raises(BadAnswer, match="302"):
        vuo.catalogue.identify(SecretStr("sandbox-session-anna"))


def test_a_read_heals_a_short_trouble_by_itself(make_vuo) -> None:
    """Two errors in a row are not worth the caller's time."""
    world = make_vuo(timeout=10)
    world.fail("authorise", "unavailable", 2)
    assert world.catalogue.authorise(ANNA, OPEN).uid == 51101


def test_a_write_is_sent_once(vuo) -> None:
    """A write whose outcome is unknown is not sent again unseen."""
    vuo.fail("create_dataset", "unavailable", 1)
    with pytest.raises(CatalogueUnavailable):
        vuo.catalogue.ensure_dataset(WANTED)
    assert vuo.datasets() == []


def test_a_wait_that_vuo_asks_for_is_handed_on(vuo) -> None:
    """Retry-After goes to the caller at once, without knocking again."""
    vuo.fail("find_dataset", "error", 1, status=503, retry_after=120)
    with pytest.raises(CatalogueUnavailable) as error:
        vuo.catalogue.ensure_dataset(WANTED)
    assert error.value.retry_after == 120


def test_a_slow_answer_within_the_limit_is_taken(make_vuo) -> None:
    """Slow is not silent."""
    world = make_vuo(timeout=10)
    world.fail("create_dataset", "slow", seconds=0.3)
    assert world.catalogue.ensure_dataset(WANTED).name == "scan-1"


def test_a_wrong_secret_does_nothing_and_says_which(make_vuo) -> None:
    """The known call can only say "not allowed"; the assumed ones name the secret, and wait for it."""
    world = make_vuo(secret=SECRET, timeout=1.0)
    with pytest.raises(CatalogueForbids):
        world.catalogue.authorise(ANNA, OPEN)
    for call in (
        lambda: world.catalogue.ensure_dataset(WANTED),
        lambda: world.catalogue.ensure_investigation(NewInvestigation("n", "1", "t", "1900")),
        lambda: world.catalogue.investigations(ANNA),
        lambda: world.catalogue.register_datafiles("7001", [Datafile("a", "b", 1, "a" * 64, 1)]),
        lambda: world.catalogue.attach_parameters("7001", [NamedValue("a", 1)]),
        lambda: world.catalogue.complete_dataset("7001"),
    ):
        with pytest.raises(NotTrusted, match="VUO__SECRET") as error:
            call()
        assert error.value.retryable
    assert world.datasets() == []


def test_conflicts_are_counted_by_the_double(vuo) -> None:
    """An ensure that finds what it wants does not try to create it."""
    for _ in range(3):
        vuo.catalogue.ensure_dataset(WANTED)
    assert vuo.state()["duplicates"] == {}


def test_small_gateways_get_small_batches(make_vuo) -> None:
    """Some PL/SQL gateways take no more than 32,000 characters in a field."""
    world = make_vuo(batch_bytes=3000)
    dataset = world.catalogue.ensure_dataset(WANTED)
    world.catalogue.register_datafiles(dataset.id, [Datafile(f"{n}.h5", "x", 1, "a" * 64, 1) for n in range(200)])
    assert len(world.datasets()[0]["datafiles"]) == 200


def test_neither_session_nor_secret_nor_hash_is_logged_or_told(make_vuo, caplog) -> None:
    """Not at the finest level, not by httpx, not in an error."""
    for name in (None, "httpx", "httpcore"):  # the last two may have been quietened by a test before
        caplog.set_level(logging.DEBUG, name)
    world = make_vuo(secret=SECRET, timeout=1.0)
    told = []
    for call in (
        lambda: world.catalogue.identify(SecretStr("canary-session")),
        lambda: world.catalogue.authorise(ANNA, OPEN),
        lambda: world.catalogue.ensure_dataset(WANTED),
    ):
        with pytest.raises(CatalogError) as error:
            call()
        told.append(f"{error.value!r} {error.value}")
    world.fail("identify", "timeout", 1)
    with pytest.raises(CatalogueUnavailable) as late:
        world.catalogue.identify(SecretStr("canary-session"))
    ours = [r.getMessage() for r in caplog.records if r.name != "uvicorn.access"]  # on only because pytest listens
    assert any("vuo_sso.detail" in message for message in ours)
    everything = "\n".join([*told, str(late.value), repr(world.settings), *ours])
    for canary in ("canary-session", SECRET, hashlib.sha1(f"{SECRET}{ANNA}{OPEN}".encode()).hexdigest()):
        assert canary not in everything


def test_an_unknown_session_is_told_where_to_sign_in(vuo) -> None:
    """The login address leads to the double's own page."""
    with pytest.raises(UnknownSession) as refusal:
        vuo.catalogue.identify(SecretStr("nobody"))
    assert refusal.value.login_url == f"{vuo.double.url}/sign-in?back="


@pytest.mark.fault("F59")
def test_a_value_that_is_wider_than_its_column_is_refused_with_the_words_of_the_database(vuo) -> None:
    """A name, a path, a parameter: the column is named, and all that fits is taken."""
    widths = {"datasets.name": 20, "datafiles.path": 10, "parameters.value": 5}
    vuo.oracle.put("/_double/widths", json=widths).raise_for_status()
    try:
        with pytest.raises(ValueRefused, match=r"ORA-12899.*NAME.*actual: 29, maximum: 20"):
            vuo.catalogue.ensure_dataset(NewDataset(OPEN, "образец образец", owner=ANNA))
        dataset = vuo.catalogue.ensure_dataset(WANTED)
        files = [Datafile(f"{'x' * n}.h5", "x", 1, "a" * 64, 1) for n in range(1, 9)]
        found = list(send_apart(files, lambda some: vuo.catalogue.register_datafiles(dataset.id, some)))
        assert [some[0].path for some, error in found if error is not None] == ["xxxxxxxx.h5"]
        with pytest.raises(ValueRefused, match="VALUE"):
            vuo.catalogue.attach_parameters(dataset.id, [NamedValue("title", "too long")])
        assert len(vuo.datasets()[0]["datafiles"]) == 7
    finally:
        vuo.oracle.put("/_double/widths", json={}).raise_for_status()


@pytest.mark.fault("F59")
def test_a_procedure_that_fails_is_not_taken_for_a_catalogue_that_is_away(vuo) -> None:
    """HTTP 500 is what a server says of a procedure; a fault can be set for one value alone."""
    vuo.fail("create_dataset", "error", status=500, match="scan-1", times=-1)
    with pytest.raises(UnknownTrouble, match="500"):
        vuo.catalogue.ensure_dataset(WANTED)
    dataset = vuo.catalogue.ensure_dataset(NewDataset(OPEN, "scan-2", owner=ANNA))
    vuo.fail("add_datafiles", "unreadable", match="b.h5", times=-1, body="ORA-02290: check constraint\n")
    with pytest.raises(ValueRefused, match="02290"):
        vuo.catalogue.register_datafiles(dataset.id, [Datafile(f"{n}.h5", "x", 1, "a" * 64, 1) for n in "ab"])
    vuo.catalogue.register_datafiles(dataset.id, [Datafile("a.h5", "x", 1, "a" * 64, 1)])
