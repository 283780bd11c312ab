"""Ask the oracle: `python -m datauploader_sandbox.oracle --ledger L --directory D`; exit code 1 says amiss."""

import argparse
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from datauploader_sandbox.oracle.evidence import Content, read_catalogue, read_ledger, read_receipts
from datauploader_sandbox.oracle.judgement import Evidence, Verdict, judge
from datauploader_sandbox.oracle.storage import read_directory, read_remote

SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Read the evidence, judge it, and say what was found."""
    options = read_arguments(arguments)
    evidence = Evidence(
        ledger=read_ledger(options.ledger),
        stored=read_storage(options),
        catalogue=read_catalogue(load(options.catalogue), options.dataset) if options.catalogue else None,
        receipts=read_receipts(options.receipts) if options.receipts else (),
    )
    verdict = judge(evidence)
    report(verdict, files=len(evidence.ledger), as_json=options.json)
    return 0 if verdict.holds else 1


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m datauploader_sandbox.oracle",
        description="Compare what was written with what is stored, catalogued and called verified.",
    )
    parser.add_argument("--ledger", type=Path, required=True, help="what the generator wrote")
    storage = parser.add_mutually_exclusive_group()
    storage.add_argument("--directory", type=Path, help="the storage, as the directory that holds what was uploaded")
    storage.add_argument("--remote", help="the storage, as an rclone remote with path: name:path")
    parser.add_argument(
        "--rclone", type=Path, default=Path(sys.executable).with_name("rclone"), help="the rclone program"
    )
    parser.add_argument("--rclone-config", type=Path, help="the configuration that defines the remote")
    parser.add_argument("--catalogue", help="the state of the catalogue double: a file, or its http address")
    parser.add_argument("--dataset", help="look at this dataset of the catalogue only (id or name)")
    parser.add_argument("--receipts", type=Path, help="JSON lines of {path, sha256, verified}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if not (options.directory or options.remote or options.catalogue):
        parser.error(
            "give a storage (--directory or --remote), a --catalogue, or both: there is nothing to compare with"
        )
    if options.remote and not options.rclone_config:
        parser.error("--remote needs --rclone-config")
    return options


def read_storage(options: argparse.Namespace) -> dict[bytes, Content] | None:
    """Read the storage that the command line names."""
    if options.directory:
        return read_directory(options.directory)
    if options.remote:
        return read_remote(options.rclone, options.rclone_config, options.remote)
    return None


def load(where: str) -> dict[str, Any]:
    """Load a JSON object from a file or an http address."""
    if where.startswith(("http://", "https://")):
        with urllib.request.urlopen(where, timeout=30) as answer:
            state: dict[str, Any] = json.load(answer)
    else:
        state = json.loads(Path(where).read_text(encoding="utf-8"))
    return state


def report(verdict: Verdict, *, files: int, as_json: bool) -> None:
    """Print the counts and the first findings of each kind."""
    findings = {kind: getattr(verdict, kind)[:SHOWN] for kind, count in verdict.counts.items() if count}
    if as_json:
        print(json.dumps({"files": files, **verdict.counts, "findings": findings}))
        return
    print(f"{files} files:", ", ".join(f"{kind} {count}" for kind, count in verdict.counts.items()))
    for kind, sentences in findings.items():
        for sentence in sentences:
            print(f"  {kind}: {sentence}")


if __name__ == "__main__":
    sys.exit(main())
