"""The desktop's parts by themselves: links that are good once, and answers that become a configuration."""

import stat
import tomllib
from pathlib import Path

import pytest
import tomli_w

from datauploader_catalog.settings import CatalogSettings, IcatSettings, ScicatSettings, VuoSettings
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.desktop.answers import WrongAnswers
from datauploader_gateway.desktop.configuration import configuration, defaults
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

SCICAT = {
    "catalogue": "scicat",
    "scicat_url": "https://scicat.example.org",
    "scicat_user": "datauploader",
    "scicat_password": "p",
    "scicat_contact": "data@facility.eu",
    "scicat_people": "",
}
ICAT = {
    "catalogue": "icat",
    "icat_url": "https://icat.example.org",
    "icat_plugin": "simple",
    "icat_user": "datauploader",
    "icat_password": "p",
    "icat_facility": "ESRF",
}


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
    document = configuration(answers(tmp_path, **chosen), DesktopFolder(tmp_path / "home")).document
    remote = parse_remotes(tomllib.loads(tomli_w.dumps(document))["remotes"])["storage"]
    assert (remote.type, remote.base) == (kind, str(tmp_path) if base is None else base)
    assert {name: value.get_secret_value() for name, value in remote.secrets.items()} == secrets
    assert not any(value in remote.options.values() for value in secrets.values())


def catalog_settings(folder: Path, chosen: dict[str, str]) -> CatalogSettings:
    """Return what the catalog service reads of these answers, after they were written to a file."""
    document = configuration(answers(folder, **chosen), DesktopFolder(folder / "home")).document
    return CatalogSettings(**tomllib.loads(tomli_w.dumps(document))["catalog"])


@pytest.mark.parametrize(
    ("chosen", "kind", "field", "value"),
    [
        ({}, VuoSettings, "secret", "s"),
        (SCICAT, ScicatSettings, "people_login", ""),
        (SCICAT | {"scicat_people": "ldap"}, ScicatSettings, "people_login", "ldap"),
        (SCICAT, ScicatSettings, "contact_email", "data@facility.eu"),
        (ICAT, IcatSettings, "base_dir", "/{name}/{visit}"),
        (ICAT, IcatSettings, "dataset_page", ""),
        (ICAT | {"icat_page": "https://d.eu/{dataset_id}"}, IcatSettings, "dataset_page", "https://d.eu/{dataset_id}"),
        (ICAT | {"icat_people": "ldap"}, IcatSettings, "people_plugin", "ldap"),
    ],
)
def test_each_catalogue_becomes_settings_of_the_catalog_service(
    tmp_path: Path, chosen: dict[str, str], kind: type, field: str, value: str
) -> None:
    """As the catalog service reads them; the others are left out."""
    settings = catalog_settings(tmp_path, chosen)
    blocks = [block for block in (settings.vuo, settings.scicat, settings.icat) if block]
    assert [type(block) for block in blocks] == [kind]
    found = getattr(blocks[0], field)
    assert getattr(found, "get_secret_value", lambda: found)() == value


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Answer that the catalogue is an empty folder beside the others."""
    for name in ("catalogue", "storage", "data"):
        (tmp_path / name).mkdir()
    return {
        "catalogue": "folder",
        "catalogue_folder": str(tmp_path / "catalogue"),
        "local_folder": str(tmp_path / "storage"),
        "folders": str(tmp_path / "data"),
        "account_name": "Anna Moretti",
        "account_password": "eight or more",
    }


def test_a_folder_becomes_a_catalogue_with_one_account(tmp_path: Path, folders: dict[str, str]) -> None:
    """Its person signs in with what they have typed; a folder that is a catalogue already is left as it is."""
    place = DesktopFolder(tmp_path / "home")
    chosen = configuration(answers(tmp_path, **folders), place)
    chosen.make_mark()
    place.write_config(tomli_w.dumps(chosen.document), chosen.accounts)
    written = tomllib.loads(place.config.read_text())
    assert CatalogSettings(**written["catalog"]).create_investigations
    assert written["folder_catalogue"] == {"root": str(tmp_path / "catalogue")}
    assert written["gateway"] == {"redis": "memory://", "accounts": str(place.accounts), "vuo": False}
    assert "eight or more" not in place.accounts.read_text() + place.config.read_text()
    assert stat.S_IMODE(place.accounts.stat().st_mode) == 0o600
    person = Accounts(place.accounts).verify("Anna Moretti", "eight or more")
    assert person
    assert person.id == "Anna Moretti"
    assert (tmp_path / "catalogue" / "catalogue.json").read_text() == "{}\n"
    (tmp_path / "catalogue" / "20260101").mkdir()
    assert configuration(answers(tmp_path, **folders), place).mark is None
    elsewhere = configuration(answers(tmp_path, **folders | WEBDAV | {"webdav_folder": "/"}), place)
    assert elsewhere.document["folder_catalogue"] == written["folder_catalogue"]
    place.remove_config()
    assert list(place.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("catalogue_folder", "", "is required"),
        ("catalogue_folder", "catalogue", "full path"),
        ("catalogue_folder", "/nowhere/at/all", "does not exist"),
        ("catalogue_folder", "{base}", "Choose an empty folder"),
        ("catalogue_folder", "{base}/data/inside", "outside the storage"),
        ("catalogue_folder", "{base}/storage", "outside the storage"),
        ("account_name", "", "is required"),
        ("account_name", "a" * 101, "at most 100"),
        ("account_password", "", "is required"),
        ("account_password", "seven77", "at least 8"),
        ("account_password", " eight or more", "space"),
    ],
)
def test_a_folder_or_an_account_that_cannot_be_used_is_said_at_its_field(
    tmp_path: Path, folders: dict[str, str], name: str, text: str, says: str
) -> None:
    """Nothing is made in a folder that holds something else, or whose content is uploaded."""
    (tmp_path / "data" / "inside").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WrongAnswers) as wrong:
        configuration(
            answers(tmp_path, **folders | {name: text.format(base=tmp_path)}), DesktopFolder(tmp_path / "home")
        )
    assert list(wrong.value.problems) == [name]
    assert says in wrong.value.problems[name]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_takes_no_files_is_said_at_its_field(tmp_path: Path, folders: dict[str, str]) -> None:
    """It was there when it was looked at; the mark cannot be made, so nothing is set up."""
    chosen = configuration(answers(tmp_path, **folders), DesktopFolder(tmp_path / "home"))
    (tmp_path / "catalogue").rmdir()
    with pytest.raises(WrongAnswers) as wrong:
        chosen.make_mark()
    assert "nothing can be written" in wrong.value.problems["catalogue_folder"]


@pytest.mark.parametrize(
    ("chosen", "name", "text", "says"),
    [
        (SCICAT, "scicat_url", "http://scicat.example.org", "https://"),
        (SCICAT, "scicat_user", "", "is required"),
        (SCICAT, "scicat_password", "", "is required"),
        (SCICAT, "scicat_contact", "data at facility", "mail address"),
        (SCICAT, "scicat_contact", "a@b.eu, c@d.eu", "mail address"),
        (SCICAT, "scicat_people", "oidc", "how people sign in"),
        (ICAT, "icat_url", "icat", "full address"),
        (ICAT, "icat_plugin", "", "is required"),
        (ICAT, "icat_user", "", "is required"),
        (ICAT, "icat_password", "", "is required"),
        (ICAT, "icat_facility", "", "is required"),
        (ICAT, "icat_page", "https://d.eu/datasets", "{dataset_id}"),
        (ICAT, "icat_page", "/{dataset_id}", "full address"),
        ({}, "catalogue", "other", "Choose a catalogue"),
        ({}, "catalogue", "", "Choose a catalogue"),
    ],
)
def test_what_cannot_be_used_of_another_catalogue_is_said_at_its_field(
    tmp_path: Path, chosen: dict[str, str], name: str, text: str, says: str
) -> None:
    """One sentence, and no configuration."""
    with pytest.raises(WrongAnswers) as wrong:
        configuration(answers(tmp_path, **chosen | {name: text}), DesktopFolder(tmp_path / "home"))
    assert list(wrong.value.problems) == [name]
    assert says in wrong.value.problems[name]


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


def test_wrong_answers_are_told_in_the_order_of_the_page(tmp_path: Path) -> None:
    """The page leads to the first of them."""
    with pytest.raises(WrongAnswers) as wrong:
        configuration({}, DesktopFolder(tmp_path / "home"))
    assert list(wrong.value.problems) == ["catalogue", "storage", "folders", "facility", "beamline", "station"]


@pytest.mark.attack("S26")
def test_the_files_with_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    """The folder as well."""
    place = DesktopFolder(tmp_path / "home")
    place.write_config("secret = 1", "")
    place.announce(DOOR, "secret")
    assert place.found_running() == (DOOR, "secret")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place.folder, place.config, place.running)]
    assert modes == [0o700, 0o600, 0o600]
