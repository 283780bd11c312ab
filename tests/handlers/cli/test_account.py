"""Signing in leaves a token that only its owner can read, and a password nowhere."""

import json
import stat


def test_signing_in_stores_a_token_for_its_owner_alone(run, gateway, tmp_path) -> None:
    """The password comes by standard input; the file has mode 0600."""
    ran = run("login", "--user", "anna", signed_in=False, stdin="secret\n")

    path = tmp_path / "client" / "login.json"
    assert ran.code == 0, ran
    assert "Anna" in ran.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in path.read_text() + ran.out + ran.err
    assert gateway.asked[0][2]["password"] == "secret"
    assert run("whoami", signed_in=False).code == 0


def test_a_vuo_session_signs_in_too(run, gateway) -> None:
    """The cookie is read like a password."""
    assert run("login", "--vuo-session", signed_in=False, stdin="cookie\n").code == 0
    assert gateway.asked[0][2]["method"] == "vuo"


def test_where_there_is_an_identity_provider_the_page_gives_the_token(run, gateway, tmp_path) -> None:
    """The address of the page on one line of its own, the pasted token checked and kept."""
    gateway.ways["oidc"] = {"name": "Elettra", "start": "/api/v1/oidc/start"}
    ran = run("login", signed_in=False, stdin="du_good\n")
    assert ran.code == 0, ran
    assert any(line.startswith(f"{gateway.url}/token?name=datauploader%20on%20") for line in ran.err.splitlines())
    assert "Anna Rossi" in ran.out
    assert "du_good" not in ran.out + ran.err
    assert json.loads((tmp_path / "client" / "login.json").read_text())["token"] == "du_good"


def test_a_pasted_token_that_is_none_is_not_kept(run, gateway, tmp_path) -> None:
    """Exit code 4, whatever was pasted; `--web` asks for the page where a password would do as well."""
    ran = run("login", "--web", signed_in=False, stdin="something else\n")
    assert ran.code == 4
    assert not (tmp_path / "client" / "login.json").exists()


def test_a_password_is_asked_for_where_that_is_the_way(run, gateway) -> None:
    """Without an identity provider, `login` alone asks for name and password as ever."""
    assert run("login", signed_in=False, stdin="anna\nsecret\n").code == 0
    assert gateway.asked[-1][2]["username"] == "anna"


def test_a_wrong_password_is_not_allowed_and_nothing_is_stored(run, tmp_path) -> None:
    """Exit code 4 and a sentence."""
    ran = run("login", "--user", "anna", signed_in=False, stdin="guess\n")
    assert ran.code == 4
    assert "the password is wrong" in ran.err
    assert not (tmp_path / "client" / "login.json").exists()


def test_a_password_that_does_not_come_is_usage(run) -> None:
    """An empty standard input does not hang or send nothing."""
    assert run("login", "--user", "anna", signed_in=False).code == 2


def test_without_signing_in_every_command_says_how(run) -> None:
    """Exit code 4, and the command to run."""
    ran = run("status", signed_in=False)
    assert ran.code == 4
    assert "datauploader login" in ran.err


def test_a_stored_token_is_sent_to_its_own_gateway_only(run, gateway, surroundings) -> None:
    """Another address in the environment must not receive the token of this one."""
    run("login", "--user", "anna", signed_in=False, stdin="secret\n")
    asked = len(gateway.asked)
    surroundings.setenv("DATAUPLOADER_GATEWAY", gateway.url.replace("127.0.0.1", "localhost"))
    assert run("whoami", signed_in=False).code == 4
    assert len(gateway.asked) == asked


def test_signing_out_revokes_and_forgets(run, gateway, tmp_path) -> None:
    """The token is worthless at the gateway and gone here."""
    run("login", "--user", "anna", signed_in=False, stdin="secret\n")
    assert run("logout", signed_in=False).code == 0
    assert gateway.asked[-1][:2] == ("DELETE", "/api/v1/tokens/current")
    assert not (tmp_path / "client" / "login.json").exists()
    assert run("logout", signed_in=False).code == 0


def test_signing_out_without_the_gateway_says_that_it_is_half_done(run, gateway, tmp_path) -> None:
    """The token is removed here, and still valid there: exit code 3."""
    run("login", "--user", "anna", signed_in=False, stdin="secret\n")
    gateway.failing = (503, {"detail": "Redis is away"})
    ran = run("logout", signed_in=False)
    assert ran.code == 3
    assert "remains valid" in ran.err
    assert not (tmp_path / "client" / "login.json").exists()


def test_whoami_tells_the_whole_answer_as_json(run) -> None:
    """One object on one line."""
    assert json.loads(run("whoami", "--json").out)["user"]["name"] == "Anna Rossi"


def test_a_damaged_token_file_says_what_to_do(run, tmp_path) -> None:
    """No traceback for a half-written file."""
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "login.json").write_text("{")
    ran = run("whoami", signed_in=False)
    assert ran.code == 2
    assert "sign in again" in ran.err
