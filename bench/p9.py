"""P9: many uploads at once, beside one upload of the same files.

Both take turns in one facility, from the first request to the last complete dataset. What the station has said in the
event log tells afterwards when the first file of each upload was verified and when its dataset was complete. An upload
starves when it waits longer than `--patience` for its first verified file.
"""

import sys
import tempfile
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from measuring import busy, finish, options_of, processor_since, read, spread, text_of, tree, write
from parties import FOLDER, arrangement, proved
from processor import processor_seconds

from datauploader.contracts import FileStored
from datauploader.contracts.datasets import DatasetCompleted
from datauploader.messaging import Delivery, Start, connect
from datauploader.runtime import logging
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run

MOST = 1.2
"""Times as long as the one upload."""


def main() -> int:
    """Run the rounds and print the figures; return 1 where the many take longer than the bound, or one starves."""
    parser = options_of(
        "p9",
        __doc__,
        uploads=(100, "uploads at once"),
        files=(1000, "files of each"),
        size=(2000, "bytes of each file"),
        patience=(60.0, "seconds after which an upload without a verified file starves"),
    )
    options = read(parser, uploads=3, files=5)
    logging.configure("bench", level="WARNING")
    many, one = [], []
    with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        source = Path(folder, "source")
        digests = {f"{n:03}": write(source / f"{n:03}", options.files, options.size) for n in range(options.uploads)}
        digests["."] = tree(source)
        with Facility(broker=options.broker, watched=source) as facility:
            run = Run(facility, Path(folder, "no ledger"))
            for number in range(options.rounds):
                turns = [(many, [name for name in digests if name != "."]), (one, ["."])]
                for turn, names in turns if number % 2 == 0 else turns[::-1]:
                    wanted = {name: digests[name] for name in names}
                    turn.append(upload(run, f"round-{number + 1}-{len(names)}", wanted, options))
                print(f"round {number + 1}: {many[-1]['seconds']} s, {one[-1]['seconds']} s", flush=True)
            settings = arrangement(facility)
    found = {
        "ratio": spread([ours["seconds"] / other["seconds"] for ours, other in zip(many, one, strict=True)], "times"),
        "many_s": spread([turn["seconds"] for turn in many]),
        "one_s": spread([turn["seconds"] for turn in one]),
        "many": many,
        "one": one,
        "settings": settings,
    }
    print(table(options.uploads, found))
    finish(options, **found)
    starved = any(turn["first_verified_s"]["greatest"] > options.patience for turn in many)
    return 1 if not options.quick and (starved or found["ratio"]["median"] > MOST) else 0


def upload(run: Run, dataset: str, digests: dict[str, str], options: Any) -> dict[str, Any]:
    """Upload these folders of the source at once, and compare what is stored; return what it took."""
    files = options.files if len(digests) == options.uploads else options.files * options.uploads
    before, began, moment = processor_seconds(), time.monotonic(), datetime.now(UTC)
    ids = {}
    for name in digests:
        path = str((run.facility.watched / name).resolve())
        ids[run.request(f"{dataset}-{name.strip('.')}", "batch", path=path)] = name
    for upload_id in ids:
        proved(run, upload_id, files)
    seconds, used = time.monotonic() - began, processor_since(before)
    for name in ids.values():
        stored = run.facility.storage / FOLDER / f"{dataset}-{name.strip('.')}"
        if tree(stored) != digests[name]:
            raise SystemExit(f"{stored} does not hold what was uploaded")
    first, complete = told(run.facility, moment, set(ids))
    return {
        "seconds": round(seconds, 2),
        "first_verified_s": spread(first),
        "complete_s": spread(complete),
        "processor_s": used,
    }


def told(facility: Facility, since: datetime, uploads: set[str]) -> tuple[list[float], list[float]]:
    """Read in the event log when each upload had its first verified file, and when it was complete."""
    verified: dict[str, list[float]] = defaultdict(list)
    complete: dict[str, float] = {}
    end = threading.Event()

    def note(delivery: Delivery) -> None:
        event = delivery.event
        after = (event.time - since).total_seconds()
        if isinstance(event.data, FileStored) and event.data.files[0].state == "verified":
            verified[event.data.upload_id].append(after)
        if isinstance(event.data, DatasetCompleted):
            complete[event.data.upload_id] = after

    bus = connect(facility.broker_address, name="bench p9")
    reader = bus.replay(Start(time=since - timedelta(seconds=1)), note, at_end=end.set)
    if not end.wait(300):
        raise SystemExit(f"the event log could not be read: {bus.health().detail}")
    reader.stop()
    bus.close()
    if not uploads <= verified.keys() & complete.keys():
        raise SystemExit("the event log does not tell of every upload")
    return [min(verified[one]) for one in uploads], [complete[one] for one in uploads]


def table(uploads: int, found: dict[str, Any]) -> str:
    """Write the figures as a table of Markdown."""
    lines = ["\n| | Median | Spread | First verified | Complete | Processor |", "|---|---|---|---|---|---|"]
    for title, kind in ((f"{uploads} uploads", "many"), ("one upload", "one")):
        last = found[kind][-1]
        ranks = [
            " / ".join(str(last[what][rank]) for rank in ("least", "median", "greatest")) + " s"
            for what in ("first_verified_s", "complete_s")
        ]
        took, used = text_of(found[f"{kind}_s"]), busy(last["processor_s"])
        lines.append(f"| {title} | {took} | {' | '.join(ranks)} | {used} |")
    ratio = found["ratio"]
    lines.append(f"\nRatio {ratio['median']} ({ratio['least']} to {ratio['greatest']}); {found['settings']}.")
    lines.append("The last three columns are of the last round: the least, median and greatest of its uploads.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
