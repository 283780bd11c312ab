"""Benchmarks compare what is stored, byte for byte, and print every figure; a quick run shows that, and no times."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
COPIES = ["DataUploader", "rclone copy and check", "rclone copy transfers 8 and check"]
OPTIONAL = {"rsync and checksums", "s5cmd alone"}
"""They take part where their program is there."""


def quick_run(name: str, *options: str) -> tuple[dict[str, Any], str]:
    """Run a benchmark with tiny files to its end; return its figures and all that it printed."""
    command = [sys.executable, BENCH / f"{name}.py", "--quick", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures, done.stdout


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import modules of the benchmarks by name, as their scripts do."""
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module


@pytest.mark.parametrize(
    ("name", "storages", "options", "more"),
    [
        ("p1", ["local"], (), []),
        pytest.param("p2", ["webdav", "apache"], (), [], marks=pytest.mark.campaign),
        pytest.param("p3", ["s3", "sftp"], (), [], marks=pytest.mark.campaign),
        pytest.param("p4", ["s3"], ("--storage", "s3"), ["rclone copy alone"], marks=pytest.mark.campaign),
    ],
)
def test_a_quick_run_compares_every_result_and_prints_every_figure(
    name: str, storages: list[str], options: tuple[str, ...], more: list[str]
) -> None:
    """Whoever takes part has its seconds, their spread, its ratio, its processor seconds, version and settings."""
    figures, printed = quick_run(name, *options)
    assert (figures["work"], figures["rounds"], figures["broker"]) == (name, 1, "memory")
    assert list(figures["storages"]) == storages
    for storage, found in figures["storages"].items():
        assert found["server"]
        assert set(found["parties"]) - OPTIONAL == {*COPIES, *more}
        for party, one in found["parties"].items():
            assert f"{storage}, round 1: {party} " in printed
            assert f"\n| {party} | {one['median_s']:.2f} s |" in printed
            assert one["version"]
            assert one["settings"]
            assert one["bytes"] == figures["files"] * figures["size"] > 0
            (seconds,) = one["seconds"]
            assert one["spread_s"] == [seconds, seconds]
            assert one["ratio_spread"] == [one["ratio"], one["ratio"]] == one["ratios"] * 2
            assert {"this process", "its programs", "rclone rcd"} <= set(one["processor_s"])
    for absent in figures["missing"]:
        assert f"left out: {absent}" in printed


def test_a_result_that_is_not_the_source_ends_the_benchmark(bench, tmp_path: Path) -> None:
    """A party that stores one other byte has no figures."""
    measuring, parties = bench("measuring"), bench("parties")
    expected = measuring.write(tmp_path / "source", 3, 10)

    def bring(name: str) -> None:
        (tmp_path / "source").rename(tmp_path / name)
        next((tmp_path / name).rglob("*2.bin")).write_bytes(b"other bytes")

    party = parties.Party("a careless one", "1", "", bring)
    with pytest.raises(SystemExit, match="does not hold what a careless one should have brought"):
        measuring.take_turns([party], 1, tmp_path, expected, title="here")


def test_parties_take_turns_and_each_is_the_first_once(bench, tmp_path: Path) -> None:
    """Nobody always finds the disk as another party left it."""
    measuring, parties = bench("measuring"), bench("parties")
    order: list[str] = []
    expected = measuring.write(tmp_path / "source", 1, 10)

    def party(name: str) -> Any:
        def bring(folder: str) -> None:
            order.append(name)
            parties.end(["cp", "-r", tmp_path / "source", tmp_path / folder])

        return parties.Party(name, "1", "", bring)

    both = [party(parties.OURS), party("theirs")]
    turns = measuring.take_turns(both, 2, tmp_path, expected, title="here", keep=False)
    assert order == [parties.OURS, "theirs", "theirs", parties.OURS]
    found = measuring.figures(both, turns)
    assert len(found["theirs"]["ratios"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_process_is_named_for_its_service_or_program(bench) -> None:
    """What a service or a server starts counts as its own unless it has a name."""
    name = bench("processor").process_name
    assert name(["/env/bin/python", "/env/bin/datauploader", "run", "watcher", ""]) == "watcher"
    assert name(["/env/bin/rclone", "rcd", "--rc-addr", ""]) == "rclone rcd"
    assert name(["sshd: /usr/sbin/sshd -D [listener] 0 of 10-200 startups", ""]) == "sshd"
    assert name(["sh", "-c", "md5sum"]) == ""
