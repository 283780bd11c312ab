"""The desktop's parts by themselves: links that are good once, and answers that become a configuration."""

import stat
import tomllib
from pathlib import Path

import pytest
import tomli_w

from datauploader_gateway.desktop.answers import WrongAnswers, configuration, defaults
from datauploader_gateway.desktop.one_time_login import MOST_COOKIES, OneTimeLogin, new_link
from datauploader_gateway.desktop.place import DesktopFolder
from datauploader_transfer.domain.remotes import parse_remotes

DOOR = "http://127.0.0.1:1/desktop/open"
WEBDAV = {
    "storage": "webdav",
    "webdav_url": "https://s.example.org/dav",
    "webdav_user": "me",
    "webdav_password": 'a"b\\',
}
S3 = {"storage": "s3", "s3_key": "AK", "s3_secret": "SK", "s3_bucket": "experiments/xrd1", "s3_endpoint": "https://s3"}
SFTP = {"storage": "sftp", "sftp_host": "s.example.org", "sftp_user": "me", "sftp_password": "p"}


def token(secret: str) -> str:
    """Return the token of a new link."""
    return new_link(DOOR, secret).partition("?token=")[2]


@pytest.mark.attack("S1")
def test_a_link_is_good_once_and_for_its_own_secret_alone() -> None:
    """Whoever sees it in the list of processes comes too late, and nobody can make one."""
    login, link = OneTimeLogin("secret"), token("secret")
    cookie = login.enter(link)
    assert cookie
    assert login.admits(cookie)
    assert login.enter(link) is None
    assert login.enter(token("another")) is None
    for garbage in ("", ".", "x", "ä.ö", link[:-1], f"x{link}"):
        assert login.enter(garbage) is None
    assert not any(login.admits(value) for value in ("", "ä", link, cookie[:-1]))


def test_old_cookies_are_forgotten_at_some_time() -> None:
    """Memory is bounded; the newest browsers stay."""
    login = OneTimeLogin("secret")
    cookies = [login.enter(token("secret")) for _ in range(MOST_COOKIES + 1)]
    assert not login.admits(cookies[0] or "")
    assert all(login.admits(cookie or "") for cookie in cookies[1:])


def answers(folder: Path, **changes: str) -> dict[str, str]:
    """Return answers that are right."""
    right = {"catalogue_url": "https://vuo.example.org", "catalogue_secret": "s", "local_folder": str(folder)}
    return defaults() | right | {"folders": str(folder), "sftp_known_hosts": ""} | changes


@pytest.mark.parametrize(
    ("chosen", "kind", "base", "secrets"),
    [
        ({}, "local", None, {}),
        (WEBDAV, "webdav", "", {"pass": 'a"b\\'}),
        (S3, "s3", "experiments/xrd1", {"secret_access_key": "SK"}),
        (SFTP, "sftp", "", {"pass": "p"}),
    ],
    ids=["local", "webdav", "s3", "sftp"],
)
def test_each_kind_of_storage_becomes_a_remote(
    tmp_path: Path, chosen: dict[str, str], kind: str, base: str | None, secrets: dict[str, str]
) -> None:
    """As transfer reads it, after it was written to a file; what belongs to other kinds is left out."""
    document = configuration(answers(tmp_path, **chosen), DesktopFolder(tmp_path / "home"))
    remote = parse_remotes(tomllib.loads(tomli_w.dumps(document))["remotes"])["storage"]
    assert (remote.type, remote.base) == (kind, str(tmp_path) if base is None else base)
    assert {name: value.get_secret_value() for name, value in remote.secrets.items()} == secrets
    assert not any(value in remote.options.values() for value in secrets.values())


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("catalogue_url", "http://vuo.example.org", "https://"),
        ("catalogue_url", "vuo", "full address"),
        ("catalogue_url", "https://[", "full address"),
        ("catalogue_secret", "", "is required"),
        ("catalogue_secret", 'x"\n[remotes.evil]', "cannot be displayed"),
        ("catalogue_secret", "x" * 5000, "4096"),
        ("folders", "", "at least one"),
        ("folders", "data", "full path"),
        ("folders", "/nowhere\0", "/nowhere"),
        ("folders", "\n".join(["/tmp"] * 51), "at most 50"),
        ("storage", "combine", "Choose"),
        ("station", "WS 01", "lower-case letters"),
        ("local_folder", "/nowhere/at/all", "does not exist"),
    ],
)
def test_what_cannot_be_used_is_said_at_its_field(tmp_path: Path, name: str, text: str, says: str) -> None:
    """One sentence, and no configuration."""
    with pytest.raises(WrongAnswers) as wrong:
        configuration(answers(tmp_path, **{name: text}), DesktopFolder(tmp_path / "home"))
    assert list(wrong.value.problems) == [name]
    assert says in wrong.value.problems[name]


@pytest.mark.attack("S26")
def test_the_files_with_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    """The folder as well."""
    place = DesktopFolder(tmp_path / "home")
    place.write_config("secret = 1")
    place.announce(DOOR, "secret")
    assert place.found_running() == (DOOR, "secret")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place.folder, place.config, place.running)]
    assert modes == [0o700, 0o600, 0o600]
