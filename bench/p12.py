"""P12: an ordinary upload beside one bad thing of each kind, on the same station and storage.

The same 2,000 small files are uploaded without and with the bad things, in turn with themselves: before, meanwhile and
after. At the end each bad upload is shown as a person sees it. Bound: 1.2 times the time.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import httpx
import pika
from measuring import finish, options_of, processor_since, read, show, spread, write
from parties import arrangement, proved
from processor import processor_seconds

from datauploader.runtime import logging
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run
from datauploader_testing.servers.ports import free_port

RCLONE = Path(sys.executable).with_name("rclone")
MOST = 1.2
"""Times as long as without."""
FAR_S = 10_413_792_000
"""The year 2300, in seconds since 1970."""


class BadThings:
    """One of each kind, each with an upload of its own as far as it is one of files."""

    def __init__(self, run: Run, root: Path, stop: threading.Event) -> None:
        self._run, self._root, self._stop = run, root, stop
        self.uploads: dict[str, str] = {}
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Begin all of them."""
        double = self._run.facility.catalogue.url
        httpx.put(f"{double}/_double/widths", json={"datafiles.path": 200}).raise_for_status()
        os.utime(self._file("1-value", "far.dat"), (FAR_S, FAR_S))
        self._file("2-catalogue", "x" * 230 + ".dat")
        self._file("3-storage", "taken/refused.dat")
        taken = self._run.facility.storage / "experiments" / "20260101" / "3-storage" / "taken"
        taken.parent.mkdir(parents=True, exist_ok=True)
        taken.write_bytes(b"a file where a folder is wanted")
        self._file("4-certificate", "a.dat")
        log = self._file("5-restless", "instrument.log")
        growing = self._file("6-growing", "growing.dat")
        with growing.open("wb") as file:
            file.truncate(300_000_000)
        deep = "/".join(["deep" * 10] * 4)
        self._file("7-pattern", f"{deep}/a.dat")
        with h5py.File(self._folder("9-harvester") / "bomb.nxs", "w") as file:
            entry = file.create_group("entry")
            entry.attrs["NX_class"] = "NXentry"
            chunk = entry.create_dataset("title", (1000,), "i8", chunks=(1000,), compression="gzip")
            chunk.id.write_direct_chunk((0,), zlib.compress(bytes(2**30), 1))
        self._write_on(log, b"x" * 50 + b"\n", 0.2)
        self._write_on(growing, b"x" * 1000, 4.0)
        for name in ("1-value", "2-catalogue", "3-storage", "9-harvester"):
            self._ask(name, mode="batch")
        self._ask("4-certificate", mode="batch", remote="untrusted")
        self._ask("7-pattern", mode="batch", exclude=["*?*?*?/" * 3 + "nothing"] * 50)
        self._ask("5-restless", mode="sync")
        self._ask("6-growing", mode="sync")
        self._run.until(self.uploads["5-restless"], lambda status: status.state == "open", "the station has it", 60)
        self._run.control(self.uploads["5-restless"], "close")
        self._lose_messages()

    def shown(self) -> dict[str, object]:
        """Say what people are shown of each."""
        found: dict[str, object] = {}
        with GatewayClient(self._run.facility.url, self._run.token) as gateway:
            for name, upload in self.uploads.items():
                status = gateway.upload(upload)
                files = [f"{one.path[-30:]}: {one.detail}" for one in gateway.files(upload, "failed").items]
                found[name] = {
                    "state": status.state, "needs_person": status.needs_person, "troubles": status.troubles,
                    "restless": [file.path for file in status.restless], "failed": files,
                    "notes": self._raw(upload).get("notes", []),
                    "metadata": [one.metadata_problem for one in gateway.files(upload).items if one.metadata_problem],
                }  # fmt: skip
        broker = self._run.facility.servers["rabbitmq"]
        queues = broker.management.queues(broker.address.vhost)
        found["8-messages"] = {
            queue["name"]: queue.get("messages", 0)
            for queue in queues
            if queue["name"].startswith(("datauploader.again", "datauploader.parked", "datauploader.astray"))
        }
        return found

    def _raw(self, upload: str) -> dict[str, object]:
        address = f"{self._run.facility.url}/api/v1/uploads/{upload}"
        return dict(httpx.get(address, headers={"Authorization": f"Bearer {self._run.token}"}, timeout=30).json())

    def end(self) -> None:
        """Stop what writes, and cancel what is still open."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for upload in self.uploads.values():
            if not self._run.status(upload).over:
                self._run.control(upload, "cancel")

    def _folder(self, name: str) -> Path:
        folder = self._root / name
        folder.mkdir(exist_ok=True)
        return folder

    def _file(self, name: str, path: str) -> Path:
        made = self._folder(name) / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"content")
        return made

    def _ask(self, name: str, **more: object) -> None:
        path = str((self._root / name).resolve())
        self.uploads[name] = self._run.request(name, path=path, **{"remote": "store", **more})

    def _write_on(self, path: Path, data: bytes, every_s: float) -> None:
        def write() -> None:
            with path.open("ab", buffering=0) as file:
                while not self._stop.wait(every_s):
                    file.write(data)

        self._threads.append(threading.Thread(target=write, daemon=True))
        self._threads[-1].start()

    def _lose_messages(self) -> None:
        """Put forty messages on the way of retries whose queue does not exist."""
        url = self._run.facility.servers["rabbitmq"].address.url
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for number in range(40):
                channel.basic_publish("datauploader.again.1s", f"no.such.queue.{number}", b"{}")


@contextlib.contextmanager
def untrusted(folder: Path) -> Iterator[dict[str, object]]:
    """Serve WebDAV with a certificate of nobody."""
    certificate, key, port = folder / "crt", folder / "key", free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=s", "-days", "2", "-keyout", key,
         "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "dav").mkdir()
    command = [RCLONE, "serve", "webdav", folder / "dav", "--config=", f"--addr=127.0.0.1:{port}",
               f"--cert={certificate}", f"--key={key}"]  # fmt: skip
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield {"type": "webdav", "base": "base", "options": {"url": f"https://127.0.0.1:{port}", "vendor": "other"}}
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Measure, print what is shown and the ratio; return 1 where the ratio is above the bound."""
    parser = options_of(
        "p12",
        __doc__,
        broker=False,
        files=(2000, "how many files"),
        size=(2000, "bytes of each file"),
        minutes=(10.0, "how long the bad things go on"),
    )
    options = read(parser, files=5, minutes=0.1)
    logging.configure("bench", level="WARNING")
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir()
        with untrusted(folder) as remote, Facility(
            broker="rabbitmq", watched=data, settings={"remotes": {"untrusted": remote}}
        ) as facility:  # fmt: skip
            run = Run(facility, folder / "no ledger")
            bad = BadThings(run, data, threading.Event())
            print(f"warm: {timed(run, data, 'warm', options):.2f} s", flush=True)
            without = [timed(run, data, f"before{n}", options) for n in range(options.rounds)]
            processor, began = processor_seconds(), time.monotonic()
            bad.begin()
            beside = []
            for n in range(options.rounds):
                wait_until(began + 60 * options.minutes * n / options.rounds)
                beside.append(timed(run, data, f"beside{n}", options))
                print(f"beside, after {time.monotonic() - began:.0f} s: {beside[-1]:.2f} s", flush=True)
            wait_until(began + 60 * options.minutes)
            used, shown, settings = processor_since(processor), bad.shown(), arrangement(facility)
            print(json.dumps(shown, indent=1, default=str), flush=True)
            bad.end()
            without += [timed(run, data, f"after{n}", options) for n in range(options.rounds)]
    found = {"without": spread(without), "beside": spread(beside)}
    ratio = round(found["beside"]["median"] / found["without"]["median"], 2)
    show(found)
    print(f"\nRatio {ratio}; {settings}.")
    finish(options, ratio=ratio, **found, processor_s=used, shown=shown, settings=settings)
    return 0 if options.quick or ratio <= MOST else 1


def wait_until(moment: float) -> None:
    """Wait for a moment on the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def timed(run: Run, data: Path, name: str, options: argparse.Namespace) -> float:
    """Write files, upload them, and return the seconds from the request to the complete dataset."""
    folder = data / name
    write(folder, options.files, options.size)
    began = time.monotonic()
    path = str(folder.resolve())
    proved(run, run.request(name, "batch", path=path, quiet_period_s=0.5, remote="store"), options.files)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
