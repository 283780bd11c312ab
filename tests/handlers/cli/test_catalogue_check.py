"""`datauploader catalogue check` as its operator calls it, on a catalogue of files and folders."""

import json

import pytest

INVESTIGATION = {"name": "test", "visit": "1", "title": "For tests", "members": ["anna"]}


@pytest.fixture
def root(surroundings, tmp_path):
    """A catalogue with one investigation, which the environment names."""
    folder = tmp_path / "catalogue"
    (folder / "test").mkdir(parents=True)
    (folder / "catalogue.json").write_text("{}")
    (folder / "test" / "investigation.json").write_text(json.dumps(INVESTIGATION))
    surroundings.setenv("DATAUPLOADER_CATALOG_ADAPTER", "folder")
    surroundings.setenv("DATAUPLOADER_FOLDER_CATALOGUE_ROOT", str(folder))
    surroundings.setenv("DATAUPLOADER_CONFIG", "")
    return folder


def test_all_that_holds_is_said_line_by_line(run, root) -> None:
    """Exit code 0 though some was not tried; what was made is gone."""
    ran = run("catalogue", "check", "--user", "anna", "--investigation", "test", "--write")
    assert ran.code == 0, ran
    lines = ran.out.splitlines()
    assert lines[0] == "holds          The catalogue answers, and trusts this service."
    assert "not tried      A person's session tells who they are." in lines
    assert "does not hold  " not in ran.out
    assert lines[-1] == "27 holds, 0 does not hold, 2 not tried."
    assert [path.name for path in (root / "test").iterdir()] == ["investigation.json"]


def test_what_does_not_hold_comes_with_what_follows(run, root) -> None:
    """Exit code 1; programs get one JSON object a line."""
    ran = run("catalogue", "check", "--user", "nobody", "--json")
    found = {line["duty"]: line for line in map(json.loads, ran.out.splitlines())}
    listed = found["The person's investigations are listed, each with an id, a title and a folder."]
    assert ran.code == 1
    assert listed["mark"] == "does not hold"
    assert listed["seen"] == "None is listed for user 'nobody'."
    assert listed["therefore"].startswith("The person can choose none")
    assert run("catalogue", "check", "--user", "nobody").out.count("→ The person can choose none") == 1


def test_a_catalogue_that_is_not_reached_or_not_configured_is_exit_code_2(run, root, surroundings) -> None:
    """So that a script can tell it from a catalogue that does something wrong."""
    (root / "catalogue.json").unlink()
    ran = run("catalogue", "check", "--user", "anna")
    assert (ran.code, ran.out.splitlines()[0].startswith("does not hold  The catalogue answers")) == (2, True)
    surroundings.setenv("DATAUPLOADER_CATALOG_ADAPTER", "scicat")
    ran = run("catalogue", "check")
    assert (ran.code, "set DATAUPLOADER_CATALOG_SCICAT__BASE_URL" in ran.err) == (2, True)


def test_the_file_that_is_named_has_the_settings(run, root, surroundings, tmp_path) -> None:
    """Those of the environment come before it, as everywhere."""
    surroundings.delenv("DATAUPLOADER_CATALOG_ADAPTER")
    surroundings.delenv("DATAUPLOADER_FOLDER_CATALOGUE_ROOT")
    file = tmp_path / "test.toml"
    file.write_text(f"[catalog]\nadapter = 'folder'\n[folder_catalogue]\nroot = '{root}'\n")
    assert run("catalogue", "check", "--config", str(file), "--user", "anna").code == 0


@pytest.mark.parametrize("way", ["prompt", "file"])
def test_a_session_is_not_shown(run, root, tmp_path, way: str) -> None:
    """It comes from standard input or from a file, and what it came to is said alone."""
    (tmp_path / "session").write_text("a canary\n")
    option = ["--session"] if way == "prompt" else ["--session-file", str(tmp_path / "session")]
    ran = run("catalogue", "check", *option, stdin="a canary\n")
    assert "does not hold  A person's session tells who they are." in ran.out
    assert "canary" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--user", "anna"], "--write needs an investigation"), (["--investigation", "test"], "--write needs a person")],
)
def test_nothing_is_written_where_nobody_has_said_for_whom_and_where(run, root, options, sentence: str) -> None:
    """The investigation is never chosen for its operator."""
    ran = run("catalogue", "check", "--write", *options)
    assert (ran.code, sentence in ran.err) == (2, True)
    assert [path.name for path in (root / "test").iterdir()] == ["investigation.json"]
