"""P10: how fast the gateway says how an upload is while 500 browsers watch it, and what they cost the upload.

Each round uploads the same files twice: once unwatched, once with so many open streams of its page, which a process of
their own reads as browsers do. The streams are there before the files, which come all at once. All the while one client
asks for the status, and each answer is timed.
"""

import argparse
import asyncio
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measuring import finish, options_of, processor_since, read, show, spread, write
from parties import arrangement
from processor import processor_seconds

from datauploader.runtime import logging
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run

PAUSE_S = 0.02
"""Between an answer and the next question."""
_MESSAGE, _END = b'data: <div class="headline', b"event: end"


def main() -> int:
    """Run the rounds and print the figures."""
    parser = options_of(
        "p10",
        __doc__,
        rounds=3,
        files=(10_000, "how many files"),
        size=(20_000, "bytes of each file"),
        streams=(500, "open streams"),
    )
    parser.add_argument("--watch", nargs=2, help=argparse.SUPPRESS)
    options = read(parser, files=5, size=2000, streams=3)
    if options.watch:
        return asyncio.run(watch(*options.watch, options.streams))
    del options.watch
    logging.configure("bench", level="WARNING")
    turns: dict[str, list[dict[str, Any]]] = {"alone": [], "watched": []}
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        source = Path(folder, "source")
        write(source, options.files, options.size)
        most = {"gateway": {"streams_per_person": options.streams + 10}}
        with Facility(broker=options.broker, watched=Path(folder, "watched"), settings=most) as facility:
            run = Run(facility, Path(folder, "no ledger"))
            for number in range(options.rounds):
                for name, streams in (("alone", 0), ("watched", options.streams)):
                    turns[name].append(upload(run, source, f"{name} {number + 1}", streams))
                    print(f"round {number + 1}, {name}: {turns[name][-1]}", flush=True)
            settings = arrangement(facility)
    found = {f"{name}, seconds": spread([one["seconds"] for one in some]) for name, some in turns.items()}
    found |= {f"{name}, status p99": spread([one["p99_ms"] for one in some], "ms") for name, some in turns.items()}
    pairs = zip(turns["alone"], turns["watched"], strict=True)
    found["slower"] = spread([watched["seconds"] / alone["seconds"] for alone, watched in pairs], "times")
    show(found)
    finish(options, **found, **turns, settings=settings)
    return 0


def upload(run: Run, source: Path, name: str, streams: int) -> dict[str, Any]:
    """Upload everything, watched by so many; return the seconds it took and how long the status took, in ms."""
    folder = run.facility.watched / name
    folder.mkdir()
    upload_id = run.request(name, path=str(folder.resolve()))
    run.opened(upload_id)
    watchers = begin_to_watch(run, upload_id, streams) if streams else None
    shutil.copytree(source, folder / "files", copy_function=os.link)
    before, began = processor_seconds(), time.monotonic()
    run.control(upload_id, "close")
    times = ask(run, upload_id)
    taken, used = time.monotonic() - began, processor_since(before)
    if watchers is not None:
        said = json.loads(watchers.communicate(timeout=60)[0])
        size = said["bytes"] / 1e6
        print(f"  {size:.0f} MB in {said['messages']} messages; {said['ended']} streams came to the end", flush=True)
    ranks = statistics.quantiles(times, n=100)
    return {
        "seconds": round(taken, 2), "asked": len(times), "p50_ms": round(ranks[49], 1), "p99_ms": round(ranks[98], 1),
        "worst_ms": round(max(times), 1), "processor_s": used,
    }  # fmt: skip


def ask(run: Run, upload_id: str) -> list[float]:
    """Ask for the status until the dataset is complete; return the milliseconds of each answer."""
    parts = urlsplit(run.facility.url)
    client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    times: list[float] = []
    state = ""
    while state != "completed":
        began = time.perf_counter()
        client.request("GET", f"/api/v1/uploads/{upload_id}", headers={"Authorization": f"Bearer {run.token}"})
        answer = client.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        state = json.loads(body)["state"]
        if state in ("cancelled", "refused", "rejected"):
            raise SystemExit(f"the upload ended as {state}")
        time.sleep(PAUSE_S)
    client.close()
    return times


def begin_to_watch(run: Run, upload_id: str, streams: int) -> subprocess.Popen[str]:
    """Open the streams in a process of their own; return when all have been answered."""
    url = f"{run.facility.url}/uploads/{upload_id}/live"
    command = [sys.executable, __file__, "--streams", str(streams), "--watch", url, run.token]
    watchers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watchers.stdout is not None
    began = time.monotonic()
    if watchers.stdout.readline() != "watching\n":
        raise SystemExit("the streams could not be opened")
    print(f"  {streams} streams were open after {time.monotonic() - began:.1f} s", flush=True)
    return watchers


async def watch(url: str, token: str, streams: int) -> int:
    """Read so many streams of one page to their end; print what came."""
    seen: Counter[str] = Counter()
    opened = asyncio.Event()

    async def one() -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readline()
        if b" 200 " in answer:
            seen["streams"] += 1
        else:
            print(f"a stream was answered {answer!r}", file=sys.stderr)
        if seen["streams"] == streams:
            opened.set()
        tail = b""
        while data := await reader.read(65536):  # in large pieces: a browser's work is not done on this machine
            seen["bytes"] += len(data)
            text = tail + data
            tail = text[1 - len(_MESSAGE) :]  # too short to hold a whole one, which would be counted twice
            seen["messages"] += text.count(_MESSAGE)
            if _END in text:
                seen["ended"] += 1
                break
        writer.close()

    everybody = asyncio.gather(*(one() for _ in range(streams)))
    await asyncio.wait([everybody, asyncio.ensure_future(opened.wait())], return_when=asyncio.FIRST_COMPLETED)
    print("watching" if opened.is_set() else "failed", flush=True)
    await everybody
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
