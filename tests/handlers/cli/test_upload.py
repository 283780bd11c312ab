"""The command `upload`: what it asks of the gateway, and how it ends."""

import json
import threading

import pytest

from datauploader.errors import BadRequest
from datauploader_client.cli.request import read_parameter, split_paths

BASE = ("-i", "20250001", "-d", "scan1")


def request(gateway) -> dict:
    """Return the request that the gateway was sent."""
    return next(body for method, path, body in gateway.asked if (method, path) == ("POST", "/api/v1/uploads"))


def test_a_folder_becomes_a_request(run, gateway, tmp_path) -> None:
    """Everything that was said arrives; the only station is taken."""
    gateway.uploads["u-0001"] = gateway.upload(mode="sync")
    ran = run(
        "upload", str(tmp_path), *BASE, "--sync", "--exclude", "*.tmp", "--include", "*.h5", "--description", "First.",
        "--param", "energy=8.0[keV]", "--param", "sample=LaB6", "--remote", "archive", "--delete-after",
    )  # fmt: skip
    assert ran.code == 0, ran
    assert "datauploader watch u-0001" in ran.out
    assert "datauploader close u-0001" in ran.out
    assert request(gateway) == {
        "investigation": "20250001",
        "dataset": {
            "name": "scan1",
            "description": "First.",
            "parameters": [
                {"name": "energy", "value": 8.0, "units": "keV"},
                {"name": "sample", "value": "LaB6", "units": ""},
            ],
        },
        "path": str(tmp_path), "kind": "folder", "sources": None, "include": ["*.h5"], "exclude": ["*.tmp"],
        "mode": "sync", "remote": "archive", "delete_after": True, "station": "elettra.xrd1.ws01",
    }  # fmt: skip


def test_what_the_station_cannot_do_is_known_at_once(run, gateway, tmp_path) -> None:
    """Nobody walks away from an upload that was rejected a moment later."""
    gateway.uploads["u-0001"] = gateway.upload(state="rejected", over=True, troubles=["/etc is not below a root."])
    ran = run("upload", str(tmp_path), *BASE)
    assert ran.code == 1
    assert "The station cannot carry out this upload." in ran.err
    assert "/etc is not below a root." in ran.err
    assert "has begun" not in ran.out


def test_several_paths_become_one_root_with_sources(tmp_path, monkeypatch) -> None:
    """Their nearest common folder is the root."""
    monkeypatch.chdir(tmp_path)
    assert split_paths(["a", "b/c.h5"]) == (str(tmp_path), ["a", "b/c.h5"])
    assert split_paths(["b/../a"]) == (str(tmp_path / "a"), None)
    assert split_paths(["/data/x/1", "/data/x/2"]) == ("/data/x", ["1", "2"])
    assert split_paths(["/data/x", "/data/x/2"]) == ("/data", ["x", "x/2"])


def test_a_windows_path_is_left_as_it_is_on_linux() -> None:
    """The station may be another machine."""
    assert split_paths([r"D:\data\scan 1"]) == (r"D:\data\scan 1", None)
    assert split_paths([r"D:\data\a", r"D:\data\b"]) == (r"D:\data", ["a", "b"])


@pytest.mark.parametrize("paths", [["/data/a", "/srv/b"], ["/a", "/b"], [r"C:\a\x", r"D:\b\y"]])
def test_paths_without_a_common_folder_are_refused(paths) -> None:
    """Nobody wants the whole disk as root."""
    with pytest.raises(BadRequest, match="common parent"):
        split_paths(paths)


@pytest.mark.parametrize(
    ("text", "value", "units"),
    [
        ("a=1", 1, ""), ("a=-1.5e3[K]", -1500.0, "K"), ("a=x=y", "x=y", ""), ("a=", "", ""), ("a=true", True, ""),
        ("a=1.2.3", "1.2.3", ""), ("a=nan", "nan", ""), ("a= 5 [ mm ]", 5, "mm"), ("a=[x]", "", "x"),
        ("a=99999999999999999999", "99999999999999999999", ""), ("a=0012", "0012", ""), ("a=1e3", 1000.0, ""),
        ("a=0", 0, ""), ("a=two\nlines", "two\nlines", ""),
    ],
)  # fmt: skip
def test_parameters_are_read_as_people_write_them(text, value, units) -> None:
    """Numbers are numbers, the rest is text, the unit stands in brackets."""
    read = read_parameter(text)
    assert (read["value"], read["units"]) == (value, units)
    assert type(read["value"]) is type(value)


@pytest.mark.parametrize("text", ["energy", "=5", ""])
def test_what_is_no_parameter_is_usage(run, tmp_path, text) -> None:
    """With an example of how to write it."""
    ran = run("upload", str(tmp_path), *BASE, "--param", text)
    assert ran.code == 2
    assert "--param energy=8.0[keV]" in ran.err


def test_a_name_that_no_storage_bears_is_refused_before_anything_is_sent(run, gateway, tmp_path) -> None:
    """The sentence says what is wrong with it."""
    ran = run("upload", str(tmp_path), "-i", "1", "-d", "../x")
    assert ran.code == 2
    assert "a name must not contain" in ran.err
    assert gateway.asked == []


def test_with_several_stations_one_must_be_named(run, gateway, tmp_path, surroundings) -> None:
    """Unless this machine is one of them."""
    gateway.stations.append({"station": "elettra.xrd1.ws02", "silent": False})
    ran = run("upload", str(tmp_path), *BASE)
    assert ran.code == 2
    assert "elettra.xrd1.ws01, elettra.xrd1.ws02" in ran.err
    assert run("upload", str(tmp_path), *BASE, "--station", "elettra.xrd1.ws02").code == 0
    for name, value in (("FACILITY", "elettra"), ("BEAMLINE", "xrd1"), ("STATION", "ws02")):
        surroundings.setenv(f"DATAUPLOADER_{name}", value)
    assert run("upload", str(tmp_path), *BASE).code == 0
    assert gateway.asked[-1][2]["station"] == "elettra.xrd1.ws02"


def test_a_station_without_a_watcher_is_not_chosen(run, gateway, tmp_path) -> None:
    """Services of a server report as stations do; the only one with a watcher is meant."""
    gateway.stations.append({"station": "elettra.xrd1.server", "silent": False, "has_watcher": False})
    assert run("upload", str(tmp_path), *BASE).code == 0
    assert gateway.asked[-1][2]["station"] == "elettra.xrd1.ws01"


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (lambda g: g.completed(), 0),
        (lambda g: g.completed(failed=1), 3),
        (lambda g: g.upload(state="sealed", needs_person=True, found=10, stored=8, catalogued=8, failed=2), 3),
        (lambda g: g.upload(state="sealed", needs_person=True, found=2, failed=2), 1),
        (lambda g: g.upload(state="rejected", over=True), 1),
        (lambda g: g.upload(state="cancelled", over=True), 1),
        (lambda g: g.upload(state="cancelled", over=True, stored=1), 3),
        (lambda g: g.upload(state="refused", needs_person=True), 1),
    ],
    ids=["complete", "one failed", "stuck partly", "stuck", "rejected", "cancelled", "cancelled partly", "refused"],
)
def test_following_ends_with_the_code_of_the_upload(run, gateway, tmp_path, last, code) -> None:
    """0 done, 1 failed, 3 partly; it does not wait for a person for ever."""
    upload = last(gateway)
    gateway.events = [("upload", gateway.upload(found=10)), ("end" if upload["over"] else "upload", upload)]
    ran = run("upload", str(tmp_path), *BASE, "--follow")
    assert ran.code == code, ran
    assert "u-0001 scan1" in ran.out


@pytest.mark.fault("F55")
def test_following_a_batch_of_nothing_ends_with_its_question(run, gateway, tmp_path) -> None:
    """A script must not take an empty folder for a complete dataset."""
    question = "There are no files in /data/scan1. Mount the drive, or start a new upload of another folder."
    gateway.events = [("upload", gateway.upload(needs_person=True, troubles=[question]))]
    ran = run("upload", str(tmp_path), *BASE, "--follow")
    assert ran.code == 1
    assert f"{question} To complete it as an empty dataset, run: datauploader close u-0001" in ran.out + ran.err


def test_following_as_json_prints_one_object_a_line(run, gateway, tmp_path) -> None:
    """The last one is the upload at its end."""
    gateway.events = [
        ("upload", gateway.upload(found=10)),
        ("files", {"upload": "u-0001", "state": "failed", "files": 1, "paths": ["a\u2028b"], "detail": "No."}),
        ("end", gateway.completed()),
    ]
    ran = run("upload", str(tmp_path), *BASE, "--follow", "--json")
    lines = [json.loads(line) for line in ran.out.split("\n") if line]
    assert [line["event"] for line in lines] == ["upload", "files", "end"]
    assert lines[1]["paths"] == ["a\u2028b"]
    assert lines[-1]["state"] == "completed"


def test_following_survives_a_restart_of_the_gateway(run, gateway, tmp_path) -> None:
    """It goes on after the last event that it saw, and says that the gateway was away."""
    gateway.events = [("upload", gateway.upload(found=10)), ("upload", gateway.upload(found=10, stored=3))]

    def restart() -> None:
        for _ in range(1000):
            if gateway.connections:
                break
            threading.Event().wait(0.01)
        gateway.stop()
        gateway.events.append(("end", gateway.completed()))
        gateway.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    ran = run("upload", str(tmp_path), *BASE, "--follow")
    restarting.join()

    assert ran.code == 0, ran
    assert gateway.connections[0] is None
    assert gateway.connections[-1] == "2"


def test_a_token_that_ends_while_following_says_that_the_upload_goes_on(run, gateway, tmp_path) -> None:
    """Exit code 4, and nobody thinks that the upload is lost."""
    gateway.uploads["u-0001"] = gateway.upload()
    ran = run("watch", "u-0002")
    assert ran.code == 1
    assert "there is no upload u-0002" in ran.err


def previewed(**changes) -> dict:
    """Return what the gateway says of a dry run."""
    return {
        "path": "/data", "sources": ["."], "remote": "archive", "location": "20250001/scan1", "files": 3,
        "bytes": 3_000_000, "first": ["a"], "settling": 1, "settling_first": ["a"], "oldest": None, "newest": None,
        "left_out": [{"reason": "excluded", "detail": "a pattern", "count": 2, "examples": ["x\x1b[31m.tmp"]}],
        "together_with": [{"upload": None, "mine": False, "files": 1}], "partial": False, "trouble": "",
        "destination": {"exists": True, "objects": 7, "bytes": 70, "first": [], "partial": True},
        "destination_trouble": "", "continues": [], "alike": "", "seconds": 60.0,
        "conflicts": {"differing": 2, "first": ["a", "b"], "same_size": 1, "partial": True}, **changes,
    }  # fmt: skip


def test_a_dry_run_tells_and_begins_nothing(run, gateway, tmp_path) -> None:
    """Lines for people, in which a name steers no terminal; the upload is not asked for."""
    gateway.preview = previewed()
    ran = run("upload", str(tmp_path), *BASE, "--dry-run")
    assert ran.code == 0, ran
    assert "3 files, 3.00 MB" in ran.out
    assert "at least 7 objects" in ran.out
    assert "at least 2 different files of the same name (a, b)" in ran.out
    assert "x\\x1b[31m.tmp" in ran.out
    assert "another person's upload: 1 file" in ran.out
    assert [path for method, path, _ in gateway.asked if method == "POST"] == ["/api/v1/uploads/preview"]


@pytest.mark.fault("F47")
def test_a_dataset_that_is_taken_is_told_with_the_ways_out(run, gateway, tmp_path) -> None:
    """Before anything begins, in the dry run too; --continue says that it goes on with one's own."""
    hint = "Say that this upload goes on with it, or upload under another name, such as “scan1 (2)”."
    problem = {"title": "t", "detail": "You have begun it.", "hint": hint, "status": 409}
    gateway.failing = (409, {**problem, "type": "https://datauploader.ceric.eu/problems/dataset-continues"})
    for more in ((), ("--dry-run",)):
        ran = run("upload", str(tmp_path), *BASE, *more, "--station", "elettra.xrd1.ws01")
        assert ran.code != 0
        assert "You have begun it." in ran.err
        assert "scan1 (2)" in ran.err
        assert "--continue" in ran.err
    gateway.failing = None
    gateway.preview = previewed(continues=["u-0000"])
    assert "u-0000" in run("upload", str(tmp_path), *BASE, "--dry-run", "--continue").out
    assert run("upload", str(tmp_path), *BASE, "--continue").code == 0
    said = [body.get("continue_dataset", False) for method, _, body in gateway.asked if method == "POST"]
    assert said == [False, False, True, True]


def test_a_dry_run_is_one_object_for_programs(run, gateway, tmp_path) -> None:
    """With everything that the gateway said."""
    gateway.preview = previewed()
    ran = run("upload", str(tmp_path), *BASE, "--dry-run", "--json")
    assert json.loads(ran.out) == json.loads(json.dumps(gateway.preview))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"files": 0}, 1),
        ({"left_out": [{"reason": "unreadable", "detail": "", "count": 1, "examples": []}]}, 3),
        ({"trouble": "the drive went away"}, 3),
        ({"destination": None, "destination_trouble": "timeout"}, 0),
    ],
)
def test_the_exit_code_tells_how_a_dry_run_went(run, gateway, tmp_path, changes, code) -> None:
    """1 where a batch has nothing to upload, 3 where some of it cannot be read."""
    gateway.preview = previewed(**changes)
    assert run("upload", str(tmp_path), *BASE, "--dry-run").code == code
    if not gateway.preview["files"]:
        assert run("upload", str(tmp_path), *BASE, "--dry-run", "--sync").code == 0


def test_a_dry_run_that_is_refused_ends_like_the_upload(run, gateway, tmp_path) -> None:
    """Not allowed is 4, silence is 5, a wrong field is 2."""
    for status, code in ((403, 4), (504, 5), (422, 2)):
        gateway.failing = (status, {"title": "no", "detail": "the station says no", "status": status})
        ran = run("upload", str(tmp_path), *BASE, "--dry-run", "--station", "elettra.xrd1.ws01")
        assert (ran.code, "the station says no" in ran.err) == (code, True)
