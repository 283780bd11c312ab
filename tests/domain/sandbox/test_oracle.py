"""The oracle finds each kind of damage, and is content with a sound run."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.oracle import Evidence, judge, read_catalogue, read_ledger
from datauploader_sandbox.oracle.__main__ import main
from datauploader_sandbox.oracle.evidence import Content, Datafile, Receipt, Written
from datauploader_sandbox.oracle.promises import Promises, watch

A, B, OLD, TORN = Content("a" * 64, 10), Content("b" * 64, 20), Content("c" * 64, 5), Content("d" * 64, 7)
LEDGER = {
    b"a": Written(A, {A.sha256, OLD.sha256}),
    b"\xff b": Written(B, {B.sha256}),
    b"link": Written(OLD, {OLD.sha256}, optional=True),
}
STORED = {b"a": A, b"\xff b": B}
CATALOGUE = (Datafile("1/ds", b"a", A), Datafile("1/ds", "\ufffd b".encode(), B))
RECEIPTS = (
    Receipt(b"a", OLD.sha256, verified=True),
    Receipt(b"a", A.sha256, verified=True),
    Receipt(b"\xff b", B.sha256, verified=False),
)
SOUND = Evidence(LEDGER, STORED, CATALOGUE, RECEIPTS)


def test_a_sound_run_holds() -> None:
    """Older versions may have been verified before; optional files may be missing or there."""
    assert judge(SOUND).holds, judge(SOUND)
    assert judge(Evidence(LEDGER, {**STORED, b"link": OLD})).holds


@pytest.mark.parametrize(
    ("damage", "kind", "says"),
    [
        ({"stored": {b"a": A}}, "lost", r"storage: '\udcff b' is missing"),
        ({"stored": {**STORED, b"a": OLD}}, "wrong", "storage: 'a' holds an older version"),
        ({"stored": {**STORED, b"a": TORN}}, "wrong", "storage: 'a' holds bytes that never existed"),
        ({"stored": {**STORED, b"link": TORN}}, "wrong", "storage: 'link' holds bytes that never existed"),
        ({"stored": {**STORED, b"a.partial": A}}, "unexpected", "storage: nobody wrote 'a.partial'"),
        ({"stored": {**STORED, b"link": OLD}}, "lost", "catalogue: 'link' is missing"),
        ({"catalogue": CATALOGUE[:1]}, "lost", r"catalogue: '\udcff b' is missing"),
        (
            {"catalogue": (*CATALOGUE[1:], Datafile("1/ds", b"a", OLD))},
            "wrong",
            "catalogue: 'a' holds an older version",
        ),
        ({"catalogue": (*CATALOGUE, Datafile("1/ds", b"x", A))}, "unexpected", "catalogue: nobody wrote 'x'"),
        ({"catalogue": (*CATALOGUE, CATALOGUE[0])}, "duplicated", "catalogue: 'a' is there 2 times, in 1/ds"),
        (
            {"catalogue": (*CATALOGUE, Datafile("1/other", b"a", A))},
            "duplicated",
            "catalogue: 'a' is there 2 times, in 1/ds, 1/other",
        ),
        ({"receipts": (Receipt(b"a", TORN.sha256, verified=True),)}, "false_verified", "in a state that it never had"),
        ({"receipts": (Receipt(b"a", OLD.sha256, verified=True),)}, "false_verified", "what is read back differs"),
        ({"receipts": (Receipt(b"x", A.sha256, verified=True),)}, "false_verified", "is not on the storage"),
    ],
)
def test_each_damage_is_found(damage: dict[str, Any], kind: str, says: str) -> None:
    """The kind of the damage is counted, and a sentence names the file."""
    verdict = judge(replace(SOUND, **damage))
    assert not verdict.holds
    assert any(says in sentence for sentence in getattr(verdict, kind)), verdict


GONE = Written(A, {A.sha256, OLD.sha256}, gone=True)


@pytest.mark.parametrize(
    ("stored", "catalogued", "kind"),
    [
        (None, None, ""),
        (OLD, OLD, ""),
        (A, A, ""),
        (OLD, None, "lost"),
        (A, OLD, "wrong"),
        (TORN, TORN, "wrong"),
    ],
)
def test_a_file_that_is_gone_is_there_in_one_of_its_states_or_nowhere(
    stored: Content | None, catalogued: Content | None, kind: str
) -> None:
    """Storage and catalogue must agree on which one, and bytes that it never held are wrong as ever."""
    verdict = judge(
        Evidence(
            {b"a": GONE},
            {b"a": stored} if stored else {},
            [Datafile("1/ds", b"a", catalogued)] if catalogued else [],
        )
    )
    assert {name for name, count in verdict.counts.items() if count} == ({kind} if kind else set()), verdict


def test_two_datasets_of_one_name_are_two() -> None:
    """The catalogue double's state is read as it comes; a dataset can be picked by id or name."""
    datafiles = [{"path": "a", "size": 10, "sha256": "a" * 64, "location": "/x/a", "registrations": 2}]
    state = {
        "datasets": [
            {"id": "7001", "name": "ds", "investigation_id": "1", "complete": True, "datafiles": datafiles},
            {"id": "7002", "name": "other", "investigation_id": "1", "complete": False, "datafiles": datafiles},
        ],
        "duplicates": {},
    }
    assert len(read_catalogue(state)) == 2
    assert read_catalogue(state, "7001") == read_catalogue(state, "ds") == [Datafile("1/ds", b"a", A)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Have a hostile folder and its ledger."""
    Detector(tmp_path / "stored", tmp_path / "ledger.jsonl", Plan(mode="hostile")).run()
    return tmp_path


def test_the_program_says_it_in_its_exit_code(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for a sound storage; 1 with one JSON object that counts, when a file was cut short."""
    arguments = ["--ledger", str(run / "ledger.jsonl"), "--directory", str(run / "stored"), "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["lost"] == 0
    os.truncate(run / "stored" / "hostile" / "case", 1)
    (run / "stored" / "hostile" / "-rf").unlink()
    assert main(arguments) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["lost"], said["wrong"], said["unexpected"]) == (1, 1, 0)


def test_a_line_that_a_crash_cut_is_passed_over(run: Path) -> None:
    """The generator may be killed while it writes its ledger."""
    before = read_ledger(run / "ledger.jsonl")
    with (run / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"path": "half a li')
    assert read_ledger(run / "ledger.jsonl") == before


def test_it_reads_a_storage_back_through_rclone(tmp_path: Path) -> None:
    """Any remote that rclone knows can be judged, as a program of its own."""
    Detector(tmp_path / "stored", tmp_path / "ledger.jsonl", Plan(scans=1, frames=1, seconds_per_frame=0)).run()
    (tmp_path / "rclone.conf").write_text("[there]\ntype = local\n")
    command = [
        *(sys.executable, "-m", "datauploader_sandbox.oracle", "--ledger", str(tmp_path / "ledger.jsonl")),
        *("--remote", f"there:{tmp_path / 'stored'}", "--rclone-config", str(tmp_path / "rclone.conf")),
    ]
    sound = subprocess.run(command, capture_output=True, text=True, check=False)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    (tmp_path / "stored" / "acquisition.log").write_bytes(b"changed on the storage")
    damaged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert damaged.returncode == 1
    assert "wrong: storage: 'acquisition.log' holds bytes that never existed" in damaged.stdout


@pytest.mark.parametrize(
    ("kept", "stored", "lost"),
    [
        ({A.sha256}, {**STORED, b"a": OLD}, False),
        (set(), {**STORED, b"elsewhere": A, b"a": OLD}, False),
        (set(), {**STORED, b"a": OLD}, True),
    ],
)
def test_bytes_that_are_called_stored_must_be_somewhere(kept, stored, lost) -> None:
    """What was written last lies on the writer's disk or anywhere on the storage while its file is called stored."""
    verdict = judge(Evidence(LEDGER, stored, None, RECEIPTS, kept=kept))
    says = "'a' is called stored, and what was written last exists nowhere"
    assert (says in verdict.lost) is lost


def complete(*files: tuple[str, bytes], complete: bool = True) -> dict[str, Any]:
    """Write a catalogue's state with one dataset."""
    datafiles = [
        {
            "path": name,
            "location": f"store:x/{name}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
        for name, content in files
    ]
    return {"datasets": [{"investigation_id": "1", "name": "ds", "complete": complete, "datafiles": datafiles}]}


@pytest.fixture
def promises(tmp_path: Path) -> Promises:
    """Keep two objects, one with a byte in its name that is no text, and promise them."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a").write_bytes(b"one")
    (folder / os.fsdecode(b"\xff")).write_bytes(b"two")
    made = Promises(tmp_path)
    assert made.look(complete(("a", b"one"), ("\\xff", b"two"))) == []
    return made


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "storage: 'a' of the complete 1/ds is missing"),
        (lambda path: path.write_bytes(b"ONE"), "storage: 'a' of the complete 1/ds holds other bytes"),
    ],
)
def test_a_complete_dataset_must_stay_as_it_was(promises, tmp_path, damage, says) -> None:
    """An object that is altered or lost later is found, is never forgotten, and is found without a catalogue."""
    whole = (tmp_path / "x" / "a").read_bytes()
    damage(tmp_path / "x" / "a")
    assert promises.look({"datasets": []}) == [says]
    (tmp_path / "x" / "a").write_bytes(whole)

    def away() -> dict[str, Any]:
        raise ConnectionError

    assert watch(promises, away) == [says]


def test_a_complete_dataset_must_not_be_changed_in_the_catalogue(promises) -> None:
    """Another checksum under the same path, after the dataset was complete, is a broken promise."""
    assert promises.look(complete(("a", b"other"))) == [
        "catalogue: 'a' of 1/ds was changed after the dataset was complete"
    ]


def test_what_is_not_complete_promises_nothing_and_what_a_test_damages_is_excused(promises, tmp_path) -> None:
    """Only complete datasets are held to; a test may damage an object on purpose when it says so."""
    assert promises.look(complete(("never", b""), complete=False)) == []
    promises.excuse(tmp_path / "x" / "a")
    (tmp_path / "x" / "a").unlink()
    assert promises.look({"datasets": []}) == []
