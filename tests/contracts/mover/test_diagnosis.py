"""What real storages say when something is wrong with them, and whose trouble the mover takes it for."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from datauploader_testing.faults import PickyServer, RefusingServer
from datauploader_transfer.ports import State, Whose
from datauploader_transfer.rclone.daemon import find_rclone

from .conftest import BASE, STORAGES, free_port, rclone_mover, served
from .test_faults import port_of, through

SOON_S = 15


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, Path]]:
    """Give a maker of certificates for 127.0.0.1: the authority, the certificate, the key."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*words: str | Path) -> None:
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority", "-days", "2",
            "-keyout", folder / "ca.key", "-out", folder / "ca.crt")  # fmt: skip

    def make(kind: str) -> tuple[Path, Path, Path]:
        key, request, made = (folder / f"{kind}.{end}" for end in ("key", "csr", "crt"))
        if not made.exists():
            openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=s", "-keyout", key, "-out", request)
            openssl("x509", "-req", "-in", request, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-out", made,
                    "-set_serial", "1", "-extfile", folder / "extensions", "-days", "2" if kind == "good" else "-1",
                    )  # fmt: skip
        return folder / "ca.crt", made, key

    return make


@contextmanager
def over_tls(
    kind: str, folder: Path, certificate: Path, key: Path, port: int | None = None
) -> Iterator[dict[str, object]]:
    """Serve a folder over HTTPS and give the definition of the remote."""
    (folder / "bucket").mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [str(find_rclone()), "serve", kind, str(folder), "--config=", f"--addr=127.0.0.1:{port}"]
    command += [f"--cert={certificate}", f"--key={key}"]
    command += ["--auth-key=ACCESSKEY01,SECRETKEY01"] if kind == "s3" else []
    with served(command, port, folder.parent / f"{kind}.log"):
        url = f"https://127.0.0.1:{port}"
        if kind == "webdav":
            yield {"type": "webdav", "base": BASE, "options": {"url": url, "vendor": "other"}}
            return
        options = {"provider": "Other", "endpoint": url, "access_key_id": "ACCESSKEY01", "force_path_style": True}
        yield {"type": "s3", "base": f"bucket/{BASE}", "options": options,
               "secrets": {"secret_access_key": "SECRETKEY01"}}  # fmt: skip


@pytest.mark.fault("F61")
@pytest.mark.parametrize("kind", ["webdav", pytest.param("s3", marks=pytest.mark.campaign)])
def test_an_authority_of_the_facilitys_own_is_told_and_trusted_by_its_remote(kind, tmp_path, files, certified):
    """Without ca_file the certificate is the remote's trouble, told soon; with it the file is stored and verified."""
    authority, certificate, key = certified("good")
    with over_tls(kind, tmp_path / "storage", certificate, key) as definition:
        item = files.write("f", b"data")
        with rclone_mover("tls", definition) as mover:
            began = time.monotonic()
            (found,) = mover.move("tls", [item])
            assert time.monotonic() - began < SOON_S
            health = mover.probe_remote("tls")
        assert (found.state, found.whose, found.by_hand) == (State.UNREACHABLE, Whose.REMOTE, True), found
        assert "certificate" in found.detail
        assert "certificate" in health.detail
        assert "ca_file" in found.hint
        with rclone_mover("tls", {**definition, "ca_file": str(authority)}) as mover:
            (found,) = mover.move("tls", [item])
            assert found.state is State.VERIFIED, found
            assert mover.probe_remote("tls").writable


@pytest.mark.campaign
@pytest.mark.fault("F61")
@pytest.mark.parametrize("kind", ["webdav", "s3"])
def test_a_certificate_that_ran_out_is_told_and_forgotten_when_it_was_renewed(kind, tmp_path, files, certified):
    """The same mover goes on, without being started again."""
    authority, expired, key = certified("expired")
    item, place, port = files.write("f", b"data"), tmp_path / "storage", free_port()
    with ExitStack() as stack:
        with over_tls(kind, place, expired, key, port) as definition:
            mover = stack.enter_context(rclone_mover("tls", {**definition, "ca_file": str(authority)}))
            (found,) = mover.move("tls", [item])
        assert (found.state, found.whose, found.by_hand) == (State.UNREACHABLE, Whose.REMOTE, True), found
        assert "expired" in found.detail
        with over_tls(kind, place, *certified("good")[1:], port):
            (found,) = mover.move("tls", [item])
        assert found.state is State.VERIFIED, found


@pytest.mark.fault("F61")
def test_a_ca_file_that_is_not_there_is_told_with_its_path(tmp_path, files, certified):
    """The administrator reads which file; nothing is sent to a server that nobody vouches for."""
    _, certificate, key = certified("good")
    with (
        over_tls("webdav", tmp_path / "storage", certificate, key) as definition,
        rclone_mover("tls", {**definition, "ca_file": str(tmp_path / "no.crt")}) as mover,
    ):
        (found,) = mover.move("tls", [files.write("f", b"data")])
    assert (found.state, found.whose) == (State.UNREACHABLE, Whose.REMOTE), found
    assert str(tmp_path / "no.crt") in found.detail


@pytest.mark.fault("F61")
@pytest.mark.parametrize(
    ("ahead_s", "says"),
    [(1200, "20 minutes behind"), pytest.param(-1200, "20 minutes ahead of", marks=pytest.mark.campaign)],
)
def test_a_clock_that_is_off_is_told_as_what_a_storage_refuses_us_for(files, ahead_s, says):
    """S3's answer to a HEAD has no body: what is wrong is in its date, and how much."""
    with RefusingServer(403, ahead_s=ahead_s) as server:
        options = {"provider": "Other", "endpoint": f"http://127.0.0.1:{server.port}", "access_key_id": "A"}
        definition = {"type": "s3", "base": "bucket", "options": options, "secrets": {"secret_access_key": "S"}}
        with rclone_mover("s3", definition) as mover:
            (found,) = mover.move("s3", [files.write("f", b"data")])
            health = mover.probe_remote("s3")
    assert (found.state, found.whose, found.by_hand) == (State.UNREACHABLE, Whose.REMOTE, True), found
    assert says in found.detail
    assert says in health.detail


@pytest.mark.fault("F61")
@pytest.mark.parametrize(
    "kind",
    ["local", pytest.param("webdav", marks=pytest.mark.campaign), pytest.param("sftp", marks=pytest.mark.campaign)],
)
def test_a_storage_that_can_only_be_read_for_a_while_takes_the_file_afterwards(kind, tmp_path, files):
    """Mounted read-only, then writable again: nothing is given up."""
    place = tmp_path / "storage"
    with ExitStack() as stack:
        definition = stack.enter_context(STORAGES[kind](place))
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], check=True)
        stack.callback(subprocess.run, ["umount", "-l", place], check=True)
        mover = stack.enter_context(rclone_mover("store", definition))
        item = files.write("f", b"data")
        (found,) = mover.move("store", [item])
        assert (found.retryable, found.whose) == (True, Whose.EITHER), found
        assert found.state is not State.VERIFIED
        assert not mover.probe_remote("store").writable
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        (found,) = mover.move("store", [item])
        assert found.state is State.VERIFIED, found


@pytest.mark.fault("F60")
@pytest.mark.campaign
@pytest.mark.parametrize("status", [400, 500])
def test_a_file_that_a_storage_refuses_spoils_no_other(status, tmp_path, files):
    """The others of the same move are stored and verified; the failure is in doubt, and the storage is not."""
    items = [files.write(name, b"data") for name in (*map(str, range(9)), "bad", "z")]
    with (
        STORAGES["webdav"](tmp_path / "storage") as definition,
        PickyServer(port_of(definition), "bad", status) as picky,
        rclone_mover("dav", through(definition, picky.port)) as mover,
    ):
        found = {outcome.key: outcome for outcome in mover.move("dav", items)}
        writable = mover.probe_remote("dav").writable
    bad = found.pop("bad")
    assert (bad.whose, bad.untried, bad.retryable) == (Whose.EITHER, False, True), bad
    assert str(status) in bad.detail
    assert {outcome.state for outcome in found.values() if not outcome.untried} == {State.VERIFIED}
    assert writable
