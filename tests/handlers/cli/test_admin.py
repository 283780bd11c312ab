"""The commands `admin` that write files: install, accounts, and what is refused before anything is written."""

import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from datauploader.errors import StateInUse
from datauploader.runtime.config import Settings, load
from datauploader_client.admin.files import read_env, write_file
from datauploader_client.admin.registering import Registering
from datauploader_client.admin.site import ARCHIVE_SECRET, alone, read_site
from datauploader_gateway.auth.accounts import Accounts
from datauploader_transfer.settings import TransferSettings
from datauploader_watcher.settings import WatcherSettings

ROOT = Path(__file__).resolve().parents[3]
HERE, ADDED = "elettra.xrd1.server", "elettra.xrd1.ws02"
ANSWERS = (
    "--station", HERE, "--host", "upload.facility.eu", "--acme-email", "it@facility.eu", "--timezone", "Europe/Rome",
    "--endpoint", "https://s3.facility.eu", "--bucket", "raw", "--access-key-id", "uploader", "--office",
    "https://vuo.facility.eu", "--account", "olga", "--account-id", "1101",
)  # fmt: skip
SECRETS = {"VUO_SECRET": "vuo secret #1", "ARCHIVE_SECRET_KEY": "s3-secret", "ACCOUNT_PASSWORD": "a long enough one"}


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Make a folder as a clone of the repository is, as far as an installation needs it."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / ".env.example", tmp_path)
    for name in ("sandbox.toml", "datauploader.example.toml"):
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy")
    return tmp_path


@pytest.fixture
def admin(run: Any, server: Path) -> Any:
    """Run a command `admin` on that folder."""
    return lambda *command, **given: run("admin", "--folder", str(server), *command, **given)


def secrets_file(server: Path, **changes: str) -> str:
    """Write the secrets that only the facility knows."""
    path = server / "secrets"
    path.write_text("".join(f"{name}={word}\n" for name, word in (SECRETS | changes).items()))
    return str(path)


def test_one_command_writes_all_that_a_facility_needs(admin: Any, server: Path) -> None:
    """Nothing is left to fill in; the first operator can sign in, and no secret was printed."""
    ran = admin("install", "--yes", *ANSWERS, "--secrets", secrets_file(server))
    assert ran.code == 0, ran.err
    assert "Still to do" not in ran.err
    assert not [word for word in SECRETS.values() if word in ran.out + ran.err]
    values, site = read_env(server / ".env"), server / "deploy" / "site"
    assert values["PUBLIC_URL"] == "https://upload.facility.eu"
    assert values["VUO_SECRET"] == SECRETS["VUO_SECRET"]
    assert (values["COMPOSE_PROFILES"], values["CERTIFICATES"]) == ("tls", "acme")
    assert json.loads(values["TRUSTED_PROXIES"]) == ["172.30.114.2"]
    written = tomllib.loads((site / "config" / "datauploader.toml").read_text())
    assert written["remotes"]["archive"]["base"] == "raw"
    assert written["remotes"]["archive"]["options"]["endpoint"] == "https://s3.facility.eu"
    assert written["catalog"]["vuo"]["base_url"] == "https://vuo.facility.eu"
    person = Accounts(site / "accounts" / "accounts.toml").verify("olga", SECRETS["ACCOUNT_PASSWORD"])
    assert person is not None
    assert (person.id, person.role) == ("1101", "operator")


def test_what_was_not_answered_is_named_and_a_second_run_keeps_the_first(admin: Any, server: Path) -> None:
    """Who is interrupted goes on where he was."""
    ran = admin("install", "--yes", "--station", HERE)
    assert ran.code == 0
    assert "VUO_SECRET" in ran.err
    assert "example.org" in ran.err
    first = read_env(server / ".env")
    assert admin("install", "--yes", *ANSWERS, "--secrets", secrets_file(server)).code == 0
    second = read_env(server / ".env")
    assert {name: second[name] for name in first if "BROKER" in name and "PASSWORD" in name} == {
        name: word for name, word in first.items() if "BROKER" in name and "PASSWORD" in name
    }
    again = admin("install", "--yes")
    assert (again.code, read_env(server / ".env")) == (0, second)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (("--station", "ws01"), "facility.beamline.station"),
        (("--station", HERE, "--host", "https://upload.facility.eu"), "without https://"),
        (("--station", HERE, "--host", "upload.facility.eu", "--tls", "magic"), "acme, files, none"),
    ],
)
def test_a_wrong_answer_is_refused_before_anything_is_written(admin: Any, server: Path, answers: Any, why: str) -> None:
    """With what to write instead."""
    ran = admin("install", "--yes", *answers)
    assert ran.code == 2
    assert why in ran.err
    assert not (server / ".env").exists()


def test_an_authority_of_ones_own_reaches_containers_and_stations(admin: Any, server: Path) -> None:
    """One option; each station's file trusts it, also after its password was changed."""
    (server / "own.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    assert admin("install", "--yes", *ANSWERS[:4], "--tls", "files", "--ca-file", str(server / "own.pem")).code == 0
    assert read_env(server / ".env")["CA_FILE"] == "/etc/datauploader/ca.crt"
    site = server / "deploy" / "site"
    assert (site / "config" / "ca.crt").read_text() == (site / "stations" / "ca.crt").read_text()
    assert admin("add-station", ADDED, "--offline").code == 0
    for _ in range(2):
        broker = read_env(site / "stations" / f"{ADDED}.env")["DATAUPLOADER_BROKER"]
        assert broker.endswith("@upload.facility.eu:5671/%2F?cafile=/etc/datauploader/ca.crt")
        assert admin("rotate", ADDED, "--offline").code == 0


def test_a_station_gets_files_in_which_nothing_is_left_to_fill_in(admin: Any, server: Path, surroundings: Any) -> None:
    """Its services read from them what they watch, where files go, with which key, and whom they trust."""
    (server / "own.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    given = ("--ca-file", str(server / "own.pem"), "--secrets", secrets_file(server))
    assert admin("install", "--yes", *ANSWERS, *given).code == 0
    added = admin("add-station", ADDED, "--watch", "/data/a", "--watch", "/data/b", "--offline")
    assert added.code == 0, added.err
    stations = server / "deploy" / "site" / "stations"
    assert f"{ADDED}.toml" in added.out
    assert (stations / f"{ADDED}.toml").stat().st_mode & 0o777 == 0o600
    surroundings.setenv("DATAUPLOADER_CONFIG", str(stations / f"{ADDED}.toml"))
    for name, word in read_env(stations / f"{ADDED}.env").items():
        surroundings.setenv(name, word)
    assert load(WatcherSettings).roots == load(TransferSettings).roots == (Path("/data/a"), Path("/data/b"))
    settings = load(Settings)
    assert settings.remotes["archive"]["options"]["endpoint"] == "https://s3.facility.eu"
    assert settings.remotes["archive"]["secrets"] == {"secret_access_key": SECRETS["ARCHIVE_SECRET_KEY"]}
    assert settings.timezone == "Europe/Rome"
    assert os.environ["SSL_CERT_FILE"] == "/etc/datauploader/ca.crt"


def test_what_a_stations_file_was_given_by_hand_stays(admin: Any, server: Path) -> None:
    """A key of its own to the storage, or a setting of a consumer, is not lost when a password changes."""
    assert admin("install", "--yes", *ANSWERS, "--secrets", secrets_file(server)).code == 0
    assert admin("add-station", ADDED, "--watch", "/data", "--offline").code == 0
    assert admin("add-consumer", "chat", "--events", "file.stored.v1", "--beside-broker", "--offline").code == 0
    site = server / "deploy" / "site"
    station, consumer = site / "stations" / f"{ADDED}.env", site / "consumers" / "chat.env"
    before = read_env(station)
    station.write_text(station.read_text().replace(SECRETS["ARCHIVE_SECRET_KEY"], "'a key #2'"))
    consumer.write_text(f"{consumer.read_text()}DATAUPLOADER_CHAT_URL=https://chat.facility.eu\n")
    assert admin("rotate", ADDED, "--offline").code == 0
    now = read_env(station)
    assert now[ARCHIVE_SECRET] == "a key #2"
    assert now["STATION_PASSWORD"] != before["STATION_PASSWORD"]
    assert read_env(consumer)["DATAUPLOADER_CHAT_URL"] == "https://chat.facility.eu"
    assert "chat-consumer:9464" in (site / "monitoring" / "chat-consumer.targets.yml").read_text()


def test_a_station_on_windows_gets_one_file_with_everything(admin: Any, server: Path, surroundings: Any) -> None:
    """Its service has no environment; whom it trusts, Windows knows. A new password is written there, too."""
    (server / "own.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    given = ("--ca-file", str(server / "own.pem"), "--secrets", secrets_file(server))
    assert admin("install", "--yes", *ANSWERS, *given).code == 0
    folders = ["D:\\data", "\\\\server\\share\\data"]
    added = admin("add-station", ADDED, "--watch", folders[0], "--watch", folders[1], "--offline")
    assert added.code == 0, added.err
    path = server / "deploy" / "site" / "stations" / f"{ADDED}.toml"
    assert tomllib.loads(path.read_text())["watcher"]["roots"] == folders
    surroundings.setenv("DATAUPLOADER_CONFIG", str(path))
    settings = load(Settings)
    assert settings.here.key == ADDED
    assert settings.remotes["archive"]["secrets"] == {"secret_access_key": SECRETS["ARCHIVE_SECRET_KEY"]}
    environment = read_env(path.with_suffix(".env"))
    assert "cafile" not in path_of_broker(path)
    assert environment["DATAUPLOADER_BROKER"].startswith(path_of_broker(path))
    assert admin("rotate", ADDED, "--offline").code == 0
    again = read_env(path.with_suffix(".env"))
    assert again["STATION_PASSWORD"] != environment["STATION_PASSWORD"]
    assert again["DATAUPLOADER_BROKER"].startswith(path_of_broker(path))


def path_of_broker(configuration: Path) -> str:
    """Return the broker's address with its password, as a station's configuration has it."""
    return str(tomllib.loads(configuration.read_text())["broker"])


def test_stations_with_another_key_to_the_storage_are_named_and_get_the_new_one(admin: Any, server: Path) -> None:
    """The key was changed in .env: a file keeps the former one until its line is removed, because it may be its own."""
    assert admin("install", "--yes", *ANSWERS, "--secrets", secrets_file(server)).code == 0
    assert admin("add-station", ADDED, "--watch", "/data", "--offline").code == 0
    assert ARCHIVE_SECRET not in admin("list", "--offline").err
    env, station = server / ".env", server / "deploy" / "site" / "stations" / f"{ADDED}.env"
    env.write_text(env.read_text().replace(SECRETS["ARCHIVE_SECRET_KEY"], "another-secret"))
    for told in (admin("apply", "--offline").err, admin("list", "--offline").err):
        assert f"{ADDED} have another key" in told
        assert ARCHIVE_SECRET in told
    assert read_env(station)[ARCHIVE_SECRET] == SECRETS["ARCHIVE_SECRET_KEY"]
    lines = station.read_text().splitlines(keepends=True)
    station.write_text("".join(line for line in lines if not line.startswith(ARCHIVE_SECRET)))
    assert ARCHIVE_SECRET not in admin("apply", "--offline").err
    assert read_env(station)[ARCHIVE_SECRET] == "another-secret"


@pytest.mark.parametrize("folders", [["data"], ["D:data"], ["\\data"], ["/data", "D:\\data"]])
def test_folders_that_no_computer_has_are_refused(admin: Any, server: Path, folders: list[str]) -> None:
    """Before anything is registered; a computer has either Linux or Windows."""
    assert admin("install", "--yes", "--station", HERE).code == 0
    ran = admin("add-station", ADDED, *(word for one in folders for word in ("--watch", one)), "--offline")
    assert ran.code == 2
    assert "/data/xrd1" in ran.err
    assert read_site(server).registrations.stations == (HERE,)


def test_a_site_of_the_release_before_is_taken_over(admin: Any, server: Path) -> None:
    """Its files move to where they lie now; stations, passwords and what was written by hand stay."""
    assert admin("install", "--yes", "--station", HERE).code == 0
    assert admin("add-station", ADDED, "--offline").code == 0
    site = server / "deploy" / "site"
    now = (site / "stations" / f"{ADDED}.env").read_text()
    for old, new in (
        ("datauploader.toml", "config"), ("accounts.toml", "accounts"), ("definitions.json", "broker"),
    ):  # fmt: skip
        (site / new / old).rename(site / old)
    (site / "datauploader.toml").write_text("# mine\n")
    (site / "redis" / "users.acl").rename(site / "redis.acl")
    (site / "config" / "registrations.json").unlink()
    for name in ("config", "accounts", "broker", "redis"):
        shutil.rmtree(site / name)
    with (server / ".env").open("a") as file:
        file.write(f'STATIONS=["{HERE}","{ADDED}"]\n')
    ran = admin("apply", "--offline")
    assert ran.code == 0, ran.err
    assert (site / "config" / "datauploader.toml").read_text() == "# mine\n"
    assert (site / "stations" / f"{ADDED}.env").read_text() == now
    assert read_site(server).registrations.stations == (HERE, ADDED)
    assert "STATIONS" not in read_env(server / ".env")
    assert not (site / "definitions.json").exists()


def test_two_administrators_do_not_write_at_the_same_time(admin: Any, server: Path) -> None:
    """The second one is told so, and loses nothing of the first one's work."""
    assert admin("install", "--yes", "--station", HERE).code == 0
    site = read_site(server)
    with alone(site), pytest.raises(StateInUse, match="somebody else"):
        Registering(site, None).add_station(ADDED)
    assert not site.file_of(ADDED).exists()


def test_a_file_is_replaced_as_a_whole_and_never_wider_than_its_mode(tmp_path: Path) -> None:
    """A reader never sees a half, and a container that mounts the folder sees the new one."""
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as reader:
        write_file(path, "new", 0o600)
        assert reader.read() == "old"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    inode = path.stat().st_ino
    write_file(path, "new", 0o600)
    assert path.stat().st_ino == inode
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_accounts_are_added_with_a_hash_and_once(admin: Any, server: Path) -> None:
    """The password comes from standard input; a short one and a second account of that name are refused."""
    assert admin("install", "--yes", "--station", HERE).code == 0
    for password, code in (("short", 2), ("a long enough one", 0), ("another long one", 2)):
        assert admin("add-account", "anna", "--user-id", "7", stdin=f"{password}\n").code == code
    accounts = Accounts(server / "deploy" / "site" / "accounts" / "accounts.toml")
    assert accounts.verify("anna", "a long enough one") is not None
    assert accounts.verify("anna", "another long one") is None


def test_services_read_the_registrations_as_they_are_now(admin: Any, server: Path, surroundings: Any) -> None:
    """The file that the containers mount is the one that the commands write."""
    assert admin("install", "--yes", "--station", HERE).code == 0
    surroundings.setenv("DATAUPLOADER_REGISTRATIONS", str(server / "deploy" / "site" / "config" / "registrations.json"))
    settings = Settings()
    assert [station.key for station in settings.all_stations] == [HERE]
    assert admin("add-station", ADDED, "--offline").code == 0
    assert [station.key for station in settings.all_stations] == [HERE, ADDED]
