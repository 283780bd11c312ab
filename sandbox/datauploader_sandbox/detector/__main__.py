"""Run the detector from a shell: `python -m datauploader_sandbox.detector FOLDER --scans 3`."""

import argparse
import signal
import sys
from pathlib import Path

from datauploader_sandbox.detector.plan import Plan
from datauploader_sandbox.detector.run import Detector


def main(arguments: list[str] | None = None) -> int:
    """Write what the arguments ask for, until it is written or a signal asks to stop."""
    options = read_arguments(arguments)
    ledger = options.ledger or options.folder.resolve().with_name(f"{options.folder.resolve().name}.ledger.jsonl")
    detector = Detector(options.folder, ledger, plan_from(options))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: detector.stop())
    detector.run()
    print(f"The ledger is {ledger}", file=sys.stderr)
    return 0


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; every default is the plan's own."""
    plan = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m datauploader_sandbox.detector", description="Write as instruments do."
    )
    parser.add_argument("folder", type=Path, help="the folder that somebody watches")
    parser.add_argument("--ledger", type=Path, help="where to write what was written (default: beside the folder)")
    parser.add_argument("--mode", choices=("scan", "burst", "hostile"), default=plan.mode)
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--scans", type=int, default=plan.scans, help="0 means without end")
    parser.add_argument("--frames", type=int, default=plan.frames)
    parser.add_argument("--shape", type=int, nargs=2, default=plan.shape, metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--seconds-per-frame", type=float, default=plan.seconds_per_frame)
    parser.add_argument("--total-bytes", type=int, help="begin no further scan after so many bytes")
    parser.add_argument("--files", type=int, default=plan.files, help="in burst mode")
    parser.add_argument("--file-size", type=int, default=plan.file_size, help="in burst mode")
    return parser.parse_args(arguments)


def plan_from(options: argparse.Namespace) -> Plan:
    """Make the plan that the command line describes."""
    return Plan(
        mode=options.mode,
        seed=options.seed,
        scans=options.scans,
        frames=options.frames,
        shape=tuple(options.shape),
        seconds_per_frame=options.seconds_per_frame,
        total_bytes=options.total_bytes,
        files=options.files,
        file_size=options.file_size,
    )


if __name__ == "__main__":
    sys.exit(main())
