"""`python -m datauploader_sandbox.demo`: the whole system on this machine, and an upload to look at."""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from datauploader.contracts.rest.uploads import Upload
from datauploader.runtime import logging
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.catalogues import System
from datauploader_sandbox.facility import SERVICES, STATION, Facility
from datauploader_sandbox.processes import PROGRAM

INVESTIGATION = "20260101"
"""One of the double's, to which Anna may upload."""
OVER_S = 600.0
"""Longest wait of `--once` for the dataset to be complete, counted from the last file."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; return 0 when every file was verified and catalogued."""
    options = _options(arguments)
    logging.configure("demo", level="WARNING")
    folder = options.folder.resolve() if options.folder else None
    if folder and not folder.is_dir():
        print(f"{folder} is not a folder; give an existing one, or none to use generated data", file=sys.stderr)
        return 2
    tell = _silent if options.json else _tell
    tell(f"Starting a facility on this machine ({options.broker}, {options.catalogue}) …")
    services = (*SERVICES, "thumbnails-harvester")
    with Facility(broker=options.broker, watched=folder, catalogue=options.catalogue, services=services) as facility:
        tell(f"  gateway     {facility.url}   (sign in with {facility.catalogue.sign_in_hint})")
        tell(f"  catalogue   {facility.catalogue.url or facility.folder / 'catalogue'}")
        if options.broker == "rabbitmq":
            broker = facility.servers["rabbitmq"].address
            tell(f"  RabbitMQ    {broker.management_url}   (user {broker.user}, password {broker.password})")
        try:
            return _upload(facility, options, tell)
        except KeyboardInterrupt:
            tell("\nStopping.")
            return 130


def _upload(facility: Facility, options: argparse.Namespace, tell: Any) -> int:
    began = time.monotonic()
    token = facility.sign_in()
    with GatewayClient(facility.url, token) as gateway:
        name = f"demo {datetime.now().astimezone():%Y-%m-%d %H.%M.%S}"
        upload = gateway.request_upload(_request(facility.watched, name), key=name)
        follower = None if options.json else _follow(facility.url, token, upload.id)
        if options.folder is None:
            _detect(facility, options)
        gateway.control(upload.id, "close")
        final = _wait(gateway, upload.id)
        if follower is not None:
            follower.wait(30)
        result = _result(final, time.monotonic() - began)
        if options.json:
            print(json.dumps(result), flush=True)
        else:
            tell(f"Dataset: {result['dataset_url']}")
        well = final.state == "completed" and result["verified"] == result["catalogued"] == result["files"]
        if not options.once:
            tell("Everything stays up until you press Ctrl-C.")
            threading.Event().wait()
        return 0 if well else 1


def _request(watched: Path, name: str) -> dict[str, object]:
    return {
        "investigation": INVESTIGATION,
        "dataset": {"name": name, "description": "written by ./dev demo"},
        "station": ".".join(STATION),
        "path": str(watched.resolve()),
        "mode": "sync",
        "quiet_period_s": 1.0,
    }


def _detect(facility: Facility, options: argparse.Namespace) -> None:
    """Let the detector write into the watched folder, as an instrument would, until its plan is done."""
    from datauploader_sandbox.detector import Detector, Plan  # noqa: PLC0415 - h5py is needed only here

    plan = Plan(scans=options.scans, frames=options.frames)
    detector = Detector(facility.watched, facility.folder / "detector.jsonl", plan)
    detector.start()
    detector.finish()


def _follow(url: str, token: str, upload_id: str) -> subprocess.Popen[bytes]:
    """Show the progress with our own command line, as a user would see it."""
    environment = {**os.environ, "DATAUPLOADER_GATEWAY": url, "DATAUPLOADER_TOKEN": token}
    return subprocess.Popen([PROGRAM, "watch", upload_id], env=environment)


def _wait(gateway: GatewayClient, upload_id: str) -> Upload:
    end = time.monotonic() + OVER_S
    while not (upload := gateway.upload(upload_id)).over and not upload.needs_person:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return upload


def _result(upload: Upload, seconds: float) -> dict[str, object]:
    counts = upload.counts
    return {
        "files": counts.found.files,
        "bytes": counts.found.bytes,
        "stored": counts.stored.files,
        "verified": counts.verified.files,
        "catalogued": counts.catalogued.files,
        "failed": counts.failed.files,
        "left_out": upload.left_out,
        "seconds": round(seconds, 2),
        "dataset_url": upload.dataset_url,
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev demo", description="Run a facility here and upload to it.")
    parser.add_argument("folder", nargs="?", type=Path, help="what to upload; without it a detector writes")
    parser.add_argument("--once", action="store_true", help="end when the dataset is complete")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")
    parser.add_argument("--broker", choices=("memory", "rabbitmq"), default="memory")
    parser.add_argument("--catalogue", choices=get_args(System), default="vuo", help="which system is the user office")
    parser.add_argument("--scans", type=int, default=3, help="how many scans the detector makes")
    parser.add_argument("--frames", type=int, default=8, help="frames of each scan")
    return parser.parse_args(arguments)


def _tell(sentence: str) -> None:
    print(sentence, flush=True)


def _silent(_sentence: str) -> None:
    """Say nothing, so that the JSON object stands alone."""


if __name__ == "__main__":
    sys.exit(main())
