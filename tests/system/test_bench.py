"""Benchmarks compare what is stored, byte for byte, and print every figure; a quick run shows that, and no times."""

import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
COPIES = ["DataUploader", "rclone copy and check", "rclone copy transfers 8 and check"]
OPTIONAL = {"rsync and checksums", "s5cmd alone"}
"""They take part where their program is there."""
WATCHERS = {"lsyncd without delay", "Syncthing"}
"""Likewise."""


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


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "more"), [("p5", []), ("p6", ["DataUploader, batch"])])
def test_whoever_watches_a_folder_is_timed_and_compared(name: str, more: list[str]) -> None:
    """Ours brings every file; of each party there are its times, what it has lost, its version and settings."""
    figures, printed = quick_run(name)
    assert (figures["work"], figures["rounds"], figures["broker"]) == (name, 1, "memory")
    found = figures["parties"]
    assert set(found) - WATCHERS == {"DataUploader", "watchdog and rclone", *more}
    for party, one in found.items():
        assert f"round 1: {party} " in printed
        assert f"\n- {party} {one['version']}: {one['settings']}\n" in printed
        assert one["files"] == figures["files"] > 0
        assert one["processor_s"]
    assert found["DataUploader"]["lost"] == 0
    if name == "p5":  # the least that a station waits after a close
        took, there = found["DataUploader"]["took"], found["DataUploader"]["at_the_goal"]
        assert figures["waited_s"] <= took["least_s"] <= took["p50_s"] <= took["p99_s"] <= took["greatest_s"]
        assert there["p50_s"] <= took["p50_s"]
    assert figures["goals"]
    for absent in figures["missing"]:
        assert f"left out: {absent}" in printed


@pytest.mark.campaign
@pytest.mark.rabbitmq
def test_a_watcher_that_starts_again_on_known_files_is_timed() -> None:
    """It announces nothing, or the benchmark would have ended; whoever looks through the same tree is beside it."""
    figures, printed = quick_run("p7")
    assert figures["files"] == 500
    assert set(figures["parties"]) - {"rsync -n"} == {"DataUploader", "find -printf", "rclone check"}
    ours = figures["parties"]["DataUploader"]
    (parts,) = ours["parts"]
    assert max(parts.values()) == ours["median_s"]
    assert f"\n| DataUploader | {ours['median_s']:.2f} s |" in printed
    assert 0 < ours["memory_mb"] < 200


def test_a_watcher_that_stores_another_byte_ends_the_benchmark(bench, tmp_path: Path) -> None:
    """What has arrived is compared byte for byte; what has not is counted."""
    watching = bench("watching")
    goal = tmp_path / "goal"

    def party(content: Callable[[bytes], bytes], lost: str) -> Any:
        @contextlib.contextmanager
        def watch(source: Path) -> Iterator[Any]:
            def arrived(name: str, size: int) -> float | None:
                if (source / name).exists() and not name.endswith(lost):
                    (goal / name).parent.mkdir(parents=True, exist_ok=True)
                    (goal / name).write_bytes(content((source / name).read_bytes()))
                return watching.complete(goal, name, size)

            yield watching.Watching(goal, arrived)

        return watching.Watcher("somebody", "1", "", watch, idle_s=0.2)

    writing = watching.Writing(3, 10)
    with ThreadPoolExecutor(1) as writer:
        turn = watching.take_turn(party(bytes, "2.bin"), tmp_path / "first", writing, writer, 60)
        assert (len(turn.closed), len(turn.arrived), turn.lost) == (3, 2, 1)
        assert all(turn.there[name] == at for name, at in turn.arrived.items())
        careless = party(lambda content: content[:-1] + b"?" if len(content) == 10 else content, "nothing")
        with pytest.raises(SystemExit, match="does not hold what somebody should have brought"):
            watching.take_turn(careless, tmp_path / "second", writing, writer, 60)


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["p8", "p9", "p10", "p11", "p12"])
def test_a_quick_run_of_every_other_benchmark_comes_to_its_end_and_says_its_figures(name: str) -> None:
    """The last line holds the options, our release, and the processor seconds of each process somewhere."""
    figures, printed = quick_run(name)
    assert (figures["work"], figures["quick"]) == (name, True)
    assert {"release", "python", "cores"} <= set(figures)
    assert "'this process': " in printed or '"this process": ' in printed
    assert "\n| " in printed


@pytest.mark.campaign
def test_growth_is_measured_with_all_files_in_one_folder_too() -> None:
    """Each upload has its seconds for each file, and of every process its memory and open files."""
    figures, _ = quick_run("p11", "--flat")
    assert [step["files"] for step in figures["steps"]] == [2, 20, 2]
    for step in figures["steps"]:
        assert step["ms_per_file"] > 0
        assert min(step["memory_mb"].values()) > 0
        assert step["open_files"]["rclone rcd"] > 0
        assert {"watcher", "transfer", "catalog", "gateway"} <= set(step["state_complete_mb"])
        for name, size in step["state_complete_mb"].items():
            assert step["state_greatest_mb"][name] >= size


@pytest.mark.campaign
def test_many_uploads_are_told_apart_in_the_event_log() -> None:
    """Each upload has its own moment of the first verified file, and none has one after its dataset was complete."""
    figures, _ = quick_run("p9")
    (turn,) = figures["many"]
    assert len(turn["first_verified_s"]["all"]) == len(turn["complete_s"]["all"]) == 3
    for first, complete in zip(turn["first_verified_s"]["all"], turn["complete_s"]["all"], strict=True):
        assert 0 < first < complete


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
    assert name(["redis-server 127.0.0.1:6379", ""]) == "Redis"
    assert name(["sh", "-c", "md5sum"]) == ""
