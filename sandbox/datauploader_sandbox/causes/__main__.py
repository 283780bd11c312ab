"""Measures how soon the page and the alerts tell of faults; `./dev causes` writes docs/causes.md with it."""

import shutil
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from datauploader_sandbox.causes.faults import FAULTS
from datauploader_sandbox.causes.report import rows, table
from datauploader_sandbox.causes.scene import NAMED_S, Fault, Measured, scene


def measure(faults: Sequence[Fault], folder: Path, firing_s: float) -> Iterator[Measured]:
    """Make one fault after the other in one facility; of one that is not told of, say so and go on."""
    with scene(folder) as here:
        for fault in faults:
            try:
                yield here.measure(fault, firing_s)
            except (AssertionError, RuntimeError) as missing:
                print(f"{fault.name}: {missing}", flush=True)


def write(page: Path, found: Measured) -> None:
    """Put a row into the page; those of other faults stay."""
    before = rows(page.read_text(encoding="utf-8")) if page.exists() else {}
    page.write_text(table([found], datetime.now(UTC), before), encoding="utf-8")


def main() -> int:
    """Measure the faults whose names hold a word, or all, and write the page."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose names hold one of these")
    parser.add_argument("--firing", type=float, default=0.0, metavar="MINUTES",
                        help="wait until alerts fire whose rules must hold for at most so many minutes")  # fmt: skip
    parser.add_argument("--write", type=Path, help="write this page; rows of faults that were not made stay")
    options = parser.parse_args()
    chosen = [one for one in FAULTS if not options.words or any(word in one.name for word in options.words)]
    folder, good = Path(tempfile.mkdtemp(prefix="causes-")), 0
    try:
        for found in measure(chosen, folder, 60 * options.firing):
            print(found, flush=True)
            good += found.seconds <= NAMED_S and found.causes <= 1
            if options.write:
                write(options.write, found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{good} of {len(chosen)} faults are told of within {NAMED_S:g} s, each by one cause", flush=True)
    return 0 if good == len(chosen) else 1


if __name__ == "__main__":
    raise SystemExit(main())
