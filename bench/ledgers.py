"""Ledgers: what each service keeps of a million files, written through the ledger itself, without the services around.

For each service the processor milliseconds of a file while the first thousand, ten thousand … come, in events of 500
files; then how long compacting or forgetting them takes, and the size of the state file before and after. `--view`
fills the view in Redis instead, and asks for the first, a middle and the last page of files.
"""

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from measuring import finish, options_of, read
from processor import peak_memory

from datauploader.contracts import FileVersion, StoredFile
from datauploader.reliability import Schema, Store, inbox, outbox
from datauploader.reliability.blocks import compaction
from datauploader.reliability.upkeep import StateUpkeep
from datauploader.runtime import logging
from datauploader_catalog import claims
from datauploader_catalog import compaction as catalog_compaction
from datauploader_catalog import schema as catalog_schema
from datauploader_catalog.ledger import DatafileTable, WantedDatasets
from datauploader_gateway import redis_client
from datauploader_gateway.projection.paging import pack_cursor
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_testing.builders import THERE, UPLOAD, event, file_ready, file_stored, upload_requested
from datauploader_testing.servers.redis import RedisServer
from datauploader_transfer import compaction as transfer_compaction
from datauploader_transfer import schema as transfer_schema
from datauploader_transfer.ledger import JobTable
from datauploader_transfer.owners import ObjectOwners
from datauploader_watcher.domain.versions import Digests, Stamp
from datauploader_watcher.ledger import SCHEMA, FileTable, UploadTable
from datauploader_watcher.ledger.files import new_row
from datauploader_watcher.ledger.receipts import FileReceipt, FileReceipts

EVENT = 500
"""Files of one event, one transaction."""
Take = Callable[[Store, list[FileVersion]], None]


def main() -> int:
    """Fill the ledgers, or the view, and print the figures."""
    parser = options_of("ledgers", __doc__, rounds=0, broker=False, files=(1_000_000, "how many files"))
    parser.add_argument("--only", choices=tuple(SERVICES), help="one service alone")
    parser.add_argument("--view", action="store_true", help="the view in Redis instead")
    options = read(parser, files=2000)
    logging.configure("bench", level="WARNING")
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        if options.view:
            found = view(options)
        else:
            chosen = [options.only] if options.only else list(SERVICES)
            found = {name: SERVICES[name](Path(folder), options) for name in chosen}
    finish(options, found=found, most_memory_mb=round(max(peak_memory().values())))
    return 0


def batches(files: int) -> Iterator[list[FileVersion]]:
    """Yield versions, a hundred in a folder, as many as an event has."""
    versions = (
        FileVersion.of(
            name_of(number), size=2000, revision=1,
            mtime_ns=1_750_000_000_000_000_000 + number * 1_234_567, sha256=hashlib.sha256(b"%d" % number).hexdigest(),
            md5=hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest(),
        )
        for number in range(files)
    )  # fmt: skip
    while some := list(islice(versions, EVENT)):
        yield some


def measured(files: int, take: Callable[[list[FileVersion]], None]) -> dict[str, float]:
    """Give all files to somebody; return the processor milliseconds of a file, while so many came."""
    found: dict[str, float] = {}
    done, spent, counted, bound = 0, 0.0, 0, 1000
    for some in batches(files):
        began = time.process_time()
        take(some)
        spent += time.process_time() - began
        done, counted = done + len(some), counted + len(some)
        if done >= bound or done >= files:
            found[f"up to {done}"] = round(1000 * spent / counted, 4)
            print(f"{done} files: {found}", file=sys.stderr, flush=True)
            spent, counted, bound = 0.0, 0, bound * 10
    return found


def filled(
    path: Path, schemas: list[Schema], options: argparse.Namespace, begin: Callable[[Store], None], take: Take,
    end: Callable[[Store], Callable[[], bool]],
) -> dict[str, Any]:  # fmt: skip
    """Fill a ledger, and shrink it."""
    store = Store(path, [inbox.SCHEMA, outbox.SCHEMA, *schemas])
    begin(store)
    found: dict[str, Any] = {"processor ms of a file": measured(options.files, lambda some: take(store, some))}
    store.checkpoint()
    found["MB when full"] = round(path.stat().st_size / 1e6, 1)
    upkeep, longest, began, slices = StateUpkeep(store, end(store)), 0.0, time.process_time(), 0
    more = True
    while more:
        at = time.process_time()
        more = upkeep.tidy()
        longest, slices = max(longest, time.process_time() - at), slices + 1
    found |= {"processor seconds of shrinking": round(time.process_time() - began, 1), "slices": slices}
    found["processor ms of the longest slice"] = round(1000 * longest, 1)
    store.checkpoint()
    found["MB afterwards"] = round(path.stat().st_size / 1e6, 1)
    store.close()
    print(f"{path.stem}: {found}", flush=True)
    return found


def transfer(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every file is announced, taken, noted, stored."""

    def take(store: Store, some: list[FileVersion]) -> None:
        with store.transaction() as db:
            JobTable(db).add_ready(event(file_ready(*some)))
        with store.transaction() as db:
            table = JobTable(db)
            jobs = table.take_jobs(UPLOAD, time.time(), most_files=EVENT, most_bytes=10**12, busy=())
            table.backlog()
        stored = stored_of([job.file for job in jobs])
        with store.transaction() as db:
            versions = [(one.object, one.file.digests.values()) for one in stored]
            ObjectOwners(db).note_versions(THERE.remote, UPLOAD, versions, wrote=True)
        with store.transaction() as db:
            JobTable(db).mark_stored(UPLOAD, stored)

    return filled(
        folder / "transfer.sqlite", [transfer_schema.SCHEMA], options, lambda _store: None, take,
        lambda store: compaction(store, -1, transfer_compaction.compact_some),
    )  # fmt: skip


def catalog(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every file is stored, and registered."""

    def begin(store: Store) -> None:
        with store.transaction() as db:
            WantedDatasets(db).add_upload(event(upload_requested()))

    def take(store: Store, some: list[FileVersion]) -> None:
        with store.transaction() as db:
            DatafileTable(db).add_stored(UPLOAD, stored_of(some))
        with store.reading() as db:
            wanted = DatafileTable(db).wanted_files(UPLOAD, EVENT)
        with store.transaction() as db:
            DatafileTable(db).mark_registered(UPLOAD, wanted)

    def end(store: Store) -> Callable[[], bool]:
        with store.transaction() as db:
            db.execute("UPDATE uploads SET state = 'completed'")
        return compaction(store, -1, catalog_compaction.compact_some)

    path = folder / "catalog.sqlite"
    return filled(path, [catalog_schema.SCHEMA, claims.SCHEMA], options, begin, take, end)


def watcher(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every file is found, announced, stored, catalogued; in the end all are forgotten."""
    digests = Digests(b"\x01" * 32, b"\x02" * 16)

    def begin(store: Store) -> None:
        with store.transaction() as db:
            UploadTable(db).add(event(upload_requested()))

    def take(store: Store, some: list[FileVersion]) -> None:
        now = time.time()
        with store.transaction() as db:
            table = FileTable(db)
            rows = []
            for file in some:
                directory, _, name = file.raw.rpartition(b"/")
                folder, stamp = table.make_folder(1, directory), Stamp(file.size, file.mtime_ns, 7)
                found = digests._replace(sha256=bytes.fromhex(file.sha256))
                rows.append(new_row(folder, name, file.raw, stamp, found, 1))
            table.put(1, rows, announced=(now, now + 120))
        for state in ("stored", "catalogued"):
            with store.transaction() as db:
                FileReceipts(db).apply_receipts(1, [FileReceipt(row.version, state, object="x") for row in rows])

    def end(store: Store) -> Callable[[], bool]:
        with store.transaction() as db:
            db.execute("UPDATE uploads SET state = 'completed', heard_at = 5")

        def forget_some() -> bool:
            with store.transaction() as db:
                upload = UploadTable(db).find_forgettable(10)
                if upload is not None:
                    FileTable(db).forget(upload, EVENT)
            return upload is not None

        return forget_some

    return filled(folder / "watcher.sqlite3", [SCHEMA], options, begin, take, end)


def view(options: argparse.Namespace) -> dict[str, Any]:
    """Fold stored files into the view, and ask for pages."""
    with RedisServer() as server:
        client = redis_client.connect(server.address.url)
        writer = ViewWriter(client, kept_s=1e6)
        writer.apply(event(upload_requested()))
        found: dict[str, Any] = {
            "processor ms of a file": measured(
                options.files, lambda some: bool(writer.apply(event(file_stored(*some))))
            )
        }
        found["MB in Redis"] = round(client.info("memory")["used_memory"] / 1e6, 1)
        found["ms of a page"] = asyncio.run(pages(server.address.url, options.files))
        client.close()
    print(found, flush=True)
    return found


async def pages(url: str, files: int) -> dict[str, float]:
    """Ask for the first page of a hundred files, one in the middle and the last one."""
    client = redis_client.connect_async(url)
    reader, found = ViewReader(client), {}
    behind = {"first": b"", "middle": name_of(files // 2), "last": name_of(files - 101)}
    for which, path in behind.items():
        after = pack_cursor("verified", path) if path else ""
        began = time.perf_counter()
        items, _ = await reader.files(UPLOAD, ["verified"], after, 100)
        found[which] = round(1000 * (time.perf_counter() - began), 2)
        assert len(items) == 100, (which, len(items))
    await client.aclose()
    return found


def name_of(number: int) -> bytes:
    """Return the path of the so-manieth file."""
    return b"scan_%05d/image_%07d.h5" % (number // 100, number)


def stored_of(files: list[FileVersion]) -> list[StoredFile]:
    """Return files as the storage has them."""
    return list(file_stored(*files).files)


SERVICES = {"transfer": transfer, "catalog": catalog, "watcher": watcher}

if __name__ == "__main__":
    sys.exit(main())
