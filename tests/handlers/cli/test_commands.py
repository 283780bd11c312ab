"""The other commands: what they print for people and for programs, and their exit codes."""

import json
from importlib.metadata import version as installed

import pytest

from datauploader.contracts.rest.files import File, FileState

PROBLEM = {"type": "x", "title": "T", "detail": "There is a \x1b[31mproblem[/red].", "hint": "Do this."}

COMMANDS = [
    ("whoami",), ("investigations",), ("status",), ("status", "u-0001"), ("files", "u-0001"),
    ("status", "u-0001", "--timing"), ("station", "list"),
    ("close", "u-0001"), ("pause", "u-0001"), ("resume", "u-0001"), ("cancel", "u-0001"), ("retry", "u-0001"),
    ("describe", "u-0001"), ("describe", "u-0001", "--description", "x"),
    ("watch", "u-0001"), ("upload", ".", "-i", "1", "-d", "x"),
]  # fmt: skip
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@every_command
def test_what_the_gateway_says_reaches_the_person(run, gateway, command) -> None:
    """Harmless for the terminal, with what to do, never as a traceback."""
    gateway.failing = (403, PROBLEM)
    ran = run(*command)
    assert ran.code == 4, ran
    assert "There is a \\x1b[31mproblem[/red]." in ran.err
    assert "Do this." in ran.err
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 4), (403, 4), (404, 1), (409, 1), (422, 2), (429, 1), (500, 1), (502, 5), (503, 5), (504, 5)],
)
def test_each_kind_of_problem_has_its_exit_code(run, gateway, status, code) -> None:
    """A script needs not read."""
    gateway.failing = (status, PROBLEM)
    assert run("close", "u-0001").code == code


@pytest.mark.parametrize("command", [("close", "u-0001"), ("watch", "u-0001"), ("login", "-u", "x")], ids=" ".join)
def test_a_gateway_that_does_not_answer_is_unreachable(run, surroundings, command) -> None:
    """Exit code 5 and what to check."""
    surroundings.setenv("DATAUPLOADER_GATEWAY", "http://127.0.0.1:1")
    ran = run(*command, stdin="secret\n")
    assert ran.code == 5, ran
    assert "does not answer" in ran.err


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"items": 3}', b"null", b'"x"'])
def test_an_answer_of_somebody_else_is_a_sentence(run, gateway, surroundings, body) -> None:
    """A proxy's page with status 200 is no gateway."""
    gateway.failing = (200, json.loads(body) if body[0:1] != b"<" else {"html": 1})
    ran = run("investigations")
    assert ran.code == 1
    assert "did not answer like a gateway" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [("upload",), ("upload", "x"), ("nonsense",), ("status", "--nonsense"), ("files",), ("status", "--most", "0"),
     ("run",), ("run", "nonsense"), ("parked",), ("topology", "check"), ("parked", "list")],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_two(run, arguments) -> None:
    """What cannot be understood, or is not configured, is exit code 2."""
    ran = run(*arguments)
    assert ran.code == 2, ran
    assert "Traceback" not in ran.err


def test_errors_are_json_for_programs(run, gateway) -> None:
    """With --json the error is one object on stderr."""
    gateway.failing = (403, PROBLEM)
    ran = run("investigations", "--json")
    assert json.loads(ran.err) == {"error": PROBLEM["detail"], "hint": "Do this.", "exit": 4}
    assert ran.out == ""


def test_wrong_fields_are_listed(run, gateway) -> None:
    """Each with its own line."""
    gateway.failing = (
        422,
        {"detail": "The request is wrong.", "errors": [{"field": "mode", "message": "no such mode"}]},
    )
    ran = run("status")
    assert "  mode: no such mode" in ran.err


def test_names_from_outside_cannot_steer_the_terminal(run) -> None:
    """Neither ANSI codes nor markup of the printing library."""
    ran = run("investigations")
    assert ran.code == 0
    assert ran.out.startswith("20250001\tStrain [red]in\\x1b[31m films\topen\t")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] not in ("watch", "files")], ids=" ".join)
def test_json_is_one_object_with_everything_that_the_gateway_said(run, command) -> None:
    """Fields that this release does not know included."""
    ran = run(*command, "--json")
    assert ran.code == 0, ran
    document = json.loads(ran.out)
    if command[0] == "investigations":
        assert document["items"][0]["new"] == 1


def test_the_list_of_uploads_can_be_cut(run, gateway) -> None:
    """Tab-separated in a pipe."""
    gateway.uploads["u-0002"] = gateway.completed() | {"id": "u-0002"}
    rows = [row.split("\t") for row in run("status").out.splitlines()]
    assert [row[0] for row in rows] == ["u-0001", "u-0002"]
    assert rows[1][3:7] == ["completed", "10/10", "10.0 kB", ""]


@pytest.mark.parametrize(("state", "code"), [("running", 0), ("done", 0), ("partly", 3), ("failed", 1)])
def test_the_status_of_one_upload_is_its_exit_code(run, gateway, state, code) -> None:
    """So that a script can wait for it."""
    stuck = {"state": "sealed", "needs_person": True, "found": 4, "failed": 2}
    gateway.uploads["u-0001"] = {
        "running": gateway.upload(found=4, stored=1),
        "done": gateway.completed(),
        "partly": gateway.upload(**stuck, stored=2),
        "failed": gateway.upload(**stuck),
    }[state]
    gateway.files = [file("a\nb.tif", "failed", detail="The storage is full.", hint="Make room.")]
    ran = run("status", "u-0001")
    assert ran.code == code, ran
    if state in ("partly", "failed"):
        lines = ran.out.splitlines()
        assert lines[1] == "  failed a\\nb.tif  The storage is full. Make room."
        assert lines[2] == "  … and 1 more failed"
        assert "datauploader files u-0001 --state failed" in ran.out


def file(path: str, state: FileState, **more: str) -> dict:
    """Describe a file."""
    known = File(path=path, size=1000, revision=1, state=state, proof=None, released=False, **more)
    return known.model_dump(mode="json")


def test_where_the_time_of_the_files_goes_is_a_table(run, gateway) -> None:
    """With a step that this release does not know, and what is to be known of clocks beside it."""
    figures = {"files": 1200, "p50_s": 0.35, "p95_s": 4.25, "max_s": 7300.0, "before": 0}
    steps = ("seen", "announced", "moved", "verified", "stored")
    known = [{"step": step, **figures} for step in steps]
    gateway.timing = {"steps": [*known, {"step": "thawed", **figures, "before": 3}]}
    ran = run("status", "u-0001", "--timing")
    *others, first, second = (line.split("\t") for line in ran.out.splitlines())
    assert [line[0] for line in others] == ["Seen", "Found finished", "Moved", "Verified"]
    assert (first[0], first[2:]) == ("Moved and verified", ["1,200", "0.35 s", "4.2 s", "2 h"])
    assert second[0] == "thawed"
    assert "3 files seem to have ended a step before it began" in " ".join(ran.err.split())


def test_an_upload_without_times_and_a_gateway_without_them_say_so(run, gateway) -> None:
    """Neither shows an empty table."""
    ran = run("status", "u-0001", "--timing")
    assert (ran.code, ran.out) == (0, "")
    assert "Nothing is known of this upload's times" in ran.err
    gateway.timing = {}
    assert "Update the gateway" in run("status", "u-0001", "--timing").err
    assert run("status", "--timing").code == 2


def test_all_files_are_listed_page_by_page(run, gateway) -> None:
    """And only those that were asked for."""
    gateway.files = [file(f"f{n}", "failed" if n < 3 else "verified") for n in range(7)]
    assert len(run("files", "u-0001").out.splitlines()) == 7
    failed = run("files", "u-0001", "--state", "failed", "--json").out.splitlines()
    assert [json.loads(line)["path"] for line in failed] == ["f0", "f1", "f2"]


def test_an_upload_id_cannot_reach_another_route(run, gateway) -> None:
    """Slashes in an id stay in the id."""
    run("status", "../me")
    assert gateway.asked[-1][1] != "/api/v1/me"


def test_steering_says_what_happens(run, gateway) -> None:
    """The right action is asked for."""
    for action in ("close", "pause", "resume", "cancel", "retry"):
        ran = run(action, "u-0001")
        assert ran.code == 0
        assert gateway.asked[-1][:2] == ("POST", f"/api/v1/uploads/u-0001/{action}")
        assert "u-0001 (scan1)" in ran.out


@pytest.mark.fault("F64")
def test_files_that_are_written_on_are_taken_or_left_out_by_name(run, gateway) -> None:
    """Each command names its files; a name that is no text is sent as it really is."""
    restless = [{"path": "z\ufffd.log", "path_b64": "ev8ubG9n", "since": "2026-01-01T00:00:00Z"}]
    gateway.uploads["u-0001"] = gateway.upload(restless=restless)
    for command in ("take", "leave-out"):
        ran = run(command, "u-0001", "z\ufffd.log", "plain.log")
        assert ran.code == 0, ran
        method, path, body = gateway.asked[-1]
        assert (method, path) == ("POST", f"/api/v1/uploads/u-0001/{command}")
        assert [file["path_b64"] for file in body["files"]] == ["ev8ubG9n", None]
    assert run("take", "u-0001").code == 2


def test_watching_prints_steady_lines_in_a_pipe(run, gateway) -> None:
    """Not one for each event: changes of state and failures at once, the rest every ten seconds."""
    gateway.events = [("upload", gateway.upload(found=1000, stored=n)) for n in range(200)]
    gateway.events += [
        ("files", {"upload": "u-0001", "state": "failed", "files": 1, "paths": ["a\x1b.tif"], "detail": "Full."}),
        ("upload", gateway.upload(found=1000, stored=999, failed=1, state="sealed")),
        ("end", gateway.completed(1000)),
    ]
    ran = run("watch", "u-0001")
    assert ran.code == 0, ran
    lines = ran.out.splitlines()
    assert len(lines) < 8, lines
    assert "u-0001 failed: a\\x1b.tif: Full." in lines
    assert "u-0001 scan1 finishing: 1 file failed, 0 of 1,000 files, 999 kB of 1.00 MB, time left unknown" in lines
    assert lines[-1] == "Complete: 1,000 files, 1.00 MB, all verified."


def test_version_names_what_is_installed(run) -> None:
    """Every distribution of ours."""
    assert f"ceric-datauploader-core {installed('ceric-datauploader-core')}" in run("version").out
    told = json.loads(run("version", "--json").out)
    assert told["ceric-datauploader-watcher"] == installed("ceric-datauploader-watcher")


def test_a_plug_in_that_is_installed_and_not_set_up_is_no_trouble(run, surroundings) -> None:
    """Once one of its settings is made, those that it cannot do without are asked for."""
    ran = run("config", "check", "--json")
    assert ran.code == 0
    assert not {"notifier", "converter", "ro_crate"} & {check["name"] for check in json.loads(ran.out)["checks"]}
    surroundings.setenv("DATAUPLOADER_CONVERTER_SECONDS", "60")
    ran = run("config", "check")
    assert ran.code == 2
    assert "DATAUPLOADER_CONVERTER_COMMAND" in ran.out


def test_config_check_finds_wrong_and_unread_settings(run, surroundings) -> None:
    """Wrong is exit code 2; a variable that nobody reads is shown."""
    assert run("config", "check").code == 0
    surroundings.setenv("DATAUPLOADER_BROKR", "x")
    surroundings.setenv("DATAUPLOADER_HEALTH_PORT", "many")
    ran = run("config", "check")
    assert ran.code == 2
    assert "DATAUPLOADER_HEALTH_PORT" in ran.out.splitlines()[1]
    assert "DATAUPLOADER_BROKR  this setting is not used" in ran.out


def test_doctor_looks_at_everything_and_finds_it_well(run, gateway, surroundings, tmp_path) -> None:
    """State folder, gateway, clock, watched folders, rclone and a remote that it really writes to."""
    (tmp_path / "data").mkdir()
    surroundings.setenv("DATAUPLOADER_WATCHER_ROOTS", json.dumps([str(tmp_path / "data")]))
    remote = {"type": "local", "base": str(tmp_path / "storage")}
    surroundings.setenv("DATAUPLOADER_REMOTES", json.dumps({"store": remote}))
    (tmp_path / "storage").mkdir()
    ran = run("doctor", "--json")
    found = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert ran.code == 0, ran
    wanted = {"clock", "gateway redis", "state folder", "rclone", "remote store", f"upload folder {tmp_path / 'data'}"}
    assert wanted <= set(found)


def test_a_report_for_whoever_helps_has_everything_but_secrets(run, surroundings, tmp_path) -> None:
    """Neither from settings, nor from the log, nor in what a check says of an address."""
    log, made = tmp_path / "datauploader.log", tmp_path / "report.json"
    log.write_text("broker_disconnected: amqp://ws01:broker canary@host\nstorageé canary is the key")
    surroundings.setenv("DATAUPLOADER_LOG_FILE", str(log))
    surroundings.setenv("DATAUPLOADER_BROKER", "amqp://ws01:broker%20canary@127.0.0.1:1/")
    surroundings.setenv("DATAUPLOADER_REMOTES__STORE__TYPE", "s3")
    surroundings.setenv("DATAUPLOADER_REMOTES__STORE__SECRETS__SECRET_ACCESS_KEY", "storageé canary")
    surroundings.setenv("DATAUPLOADER_REMOTES__STORE__OPTIONS__ENDPOINT", "https://anna:canary@s3.example.org")
    assert run("doctor", "--report", str(made)).code != 0
    document = json.loads(made.read_text(encoding="utf-8"))
    assert document["settings"]["common"]["remotes"]["store"]["type"] == "s3"
    assert document["versions"]["ceric-datauploader-core"]
    assert [check["detail"] for check in document["checks"] if not check["ok"]]
    assert document["log"][0].startswith("broker_disconnected")
    assert "canary" not in made.read_text(encoding="utf-8").replace(str(tmp_path), "")


def test_doctor_says_what_is_wrong_first_and_what_to_do(run, surroundings, tmp_path) -> None:
    """Each trouble with its remedy, and the rest is looked at all the same."""
    surroundings.setenv("DATAUPLOADER_GATEWAY", "http://no-such-host.invalid")
    surroundings.setenv("DATAUPLOADER_STATE_DIR", "/proc/nowhere")
    surroundings.setenv("DATAUPLOADER_WATCHER_ROOTS", json.dumps([str(tmp_path / "gone")]))
    ran = run("doctor")
    assert ran.code == 1
    wrong = [line for line in ran.out.splitlines() if line.startswith("failed")]
    assert wrong == ran.out.splitlines()[: len(wrong)], "what is wrong comes first"
    assert "/proc/nowhere cannot be written to" in ran.out
    assert "no-such-host.invalid cannot be resolved" in ran.out
    assert "it cannot be read (No such file or directory); check that the drive is connected" in ran.out
    assert "no remote is configured; add a table [remotes.<name>]" in ran.out


@pytest.mark.fault("F59")
def test_metadata_that_are_not_taken_are_counted_and_said_at_their_file(run, gateway) -> None:
    """Beside the files themselves, which are well."""
    upload = gateway.uploads["u-0001"]
    upload["counts"]["metadata_lacks"] = {"files": 3, "bytes": 30}
    assert "metadata of 3 files not accepted" in " ".join(run("status", "u-0001").out.split())
    upload["counts"]["metadata_unread"] = {"files": 2, "bytes": 20}
    shown = " ".join(run("status", "u-0001").out.split())
    assert "metadata of 2 files not read, metadata of 1 file not accepted" in shown
    gateway.files = [file("a.nxs", "catalogued", metadata_problem="ORA-12899: too large")]
    assert "Metadata: ORA-12899: too large" in " ".join(run("files", "u-0001").out.split())
