"""An audit on each kind of storage: what was removed, cut, altered or never ordered is found, and nothing else is."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from datauploader_transfer.comparing import Comparison, ExpectedObject
from datauploader_transfer.memory_mover import MemoryMover

CONTENT = {f"{folder}/{number}.dat": b"content %d" % number for folder in ("a", "b/ü") for number in range(6)}
LONGEST = 143


def upload(bench, files, contents):
    """Bring files to the storage; return what an audit expects there."""
    items = [files.write(name, content) for name, content in contents.items()]
    for outcome in bench.mover.move(bench.remote, items):
        assert outcome.state == "verified", outcome
    return [ExpectedObject(item.target.removeprefix(files.prefix), item.size, item.digests) for item in items]


def audit(bench, files, wanted, *, read=False) -> dict[str, tuple[str, ...]]:
    """Compare what lies there with what is wanted; return the names by kind of difference."""
    mover, folder = bench.mover, files.prefix.rstrip("/")
    with Comparison() as compared:
        compared.add_wanted(wanted)
        compared.add_found(mover.list_objects(bench.remote, folder, hashing=True))

        def hashes(objects):
            named = [(files.prefix + name, size) for name, size in objects]
            return mover.hash_all(bench.remote, named, ("sha256", "md5"))

        compared.find_differences(
            sizes=lambda names: mover.find_sizes(bench.remote, [files.prefix + name for name in names]),
            hashes=hashes if read else None,
            ours=lambda _names: set(),
        )
        return {one.kind: one.first for one in compared.differences()}


def remove(bench, target: str) -> None:
    """Delete an object as somebody else would."""
    if isinstance(bench.mover, MemoryMover):
        del bench.mover.storages[bench.remote].objects[target]
    else:
        bench.mover._storage(bench.remote).remove_object(target)


@pytest.mark.parametrize("read", [False, True], ids=["listed", "read"])
def test_where_all_is_well_nothing_is_said(bench, files, read) -> None:
    """Whatever can be compared there agrees."""
    assert audit(bench, files, upload(bench, files, CONTENT), read=read) == {}


def test_what_was_removed_cut_or_never_ordered_is_found_by_listing(bench, files) -> None:
    """On every storage, whether it has hashes or not."""
    wanted = upload(bench, files, CONTENT)
    remove(bench, files.prefix + "a/0.dat")
    bench.plant("b/ü/1.dat", b"cont")
    bench.plant("b/README", b"nobody ordered this")

    assert audit(bench, files, wanted) == {"missing": ("a/0.dat",), "cut": ("b/ü/1.dat",), "foreign": ("b/README",)}


def test_what_was_altered_in_the_same_size_is_found_by_reading(bench, files) -> None:
    """By the listing as well where that has hashes."""
    wanted = upload(bench, files, CONTENT)
    bench.plant("a/3.dat", b"CONTENT 3")

    assert audit(bench, files, wanted, read=True) == {"altered": ("a/3.dat",)}
    listed = next(iter(bench.mover.list_objects(bench.remote, files.prefix.rstrip("/"), hashing=True)))
    assert audit(bench, files, wanted) == ({"altered": ("a/3.dat",)} if listed.algorithm else {})


@contextmanager
def cutting(url: str) -> Iterator[str]:
    """Stand before a WebDAV server as one whose disk cuts names at 143 bytes, as eCryptfs can."""
    upstream = urlsplit(url).netloc

    def cut(address: str) -> str:
        parts = urlsplit(address)
        return "/".join(quote(unquote(name).encode()[:LONGEST]) for name in parts.path.split("/"))

    class Liar(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            """Pass a request on under the name that is kept."""
            headers = dict(self.headers.items())
            if "Destination" in headers:
                headers["Destination"] = f"http://{upstream}{cut(headers['Destination'])}"
            body = self.rfile.read(int(headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(upstream, timeout=20)
            try:
                connection.request(self.command, cut(self.path), body, headers)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = answer  # noqa: N815 - as the server looks for them
        do_PROPFIND = do_PROPPATCH = do_MKCOL = do_MOVE = do_COPY = answer  # noqa: N815 - as the server looks for them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.storage
@pytest.mark.fault("F52")
def test_a_storage_that_cuts_names_is_found_out(tmp_path: Path, files, webdav_served, rclone_over) -> None:
    """Two names that differ behind the cut are verified one after the other, and are one object."""
    files.prefix = "run/"
    with webdav_served(tmp_path / "storage") as definition, cutting(definition["options"]["url"]) as url:
        definition["options"]["url"] = url
        with rclone_over("there", definition) as mover:
            bench = Bench(mover)
            names = ["x" * LONGEST + end for end in ("-1", "-2")]
            wanted = [one for name in names for one in upload(bench, files, {name: b"the same"})]

            found = audit(bench, files, wanted)

    assert found == {"doubled": tuple(names), "foreign": ("x" * LONGEST,)}


class Bench:
    """A mover over one storage."""

    def __init__(self, mover) -> None:
        self.mover, self.remote = mover, "there"
