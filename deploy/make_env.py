"""Writes what docker-compose.yml needs: .env with random secrets, broker users and rights, Redis access rules."""

import argparse
import base64
import hashlib
import json
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from datauploader.contracts.address import Station
from datauploader.errors import BadRequest
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader_client.new_harvester import check_name, password_variable

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent / ".env.example"
SECRETS = (
    "BROKER_CATALOG_PASSWORD", "BROKER_GATEWAY_PASSWORD", "BROKER_NEXUS_PASSWORD", "BROKER_OPERATIONS_PASSWORD",
    "BROKER_OPERATOR_PASSWORD", "BROKER_STATION_PASSWORD", "REDIS_PASSWORD",
)  # fmt: skip
SANDBOX_SECRETS = ("VUO_SECRET", "ARCHIVE_SECRET_KEY")
"""Secrets that a real facility gets from others, and only the sandbox makes."""
SANDBOX_STATION = "sandbox.xrd1.ws01"
ACCOUNTS = """\
# Local accounts of the gateway, beside those of the user office; read again when it changes.
# [[account]]
# name = "anna"
# user_id = "1234"              # who this is in the user office
# password = "$argon2id$…"      # an argon2 hash; without one the entry only gives a role
# role = "operator"             # user, staff (of the beamlines below) or operator
# beamlines = ["elettra.xrd1"]
"""


def read_env(path: Path) -> dict[str, str]:
    """Read the lines NAME=value; a missing file has none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'") for name, value in pairs}


def complete(
    values: Mapping[str, str], station: str, added: Iterable[str], harvesters: Iterable[str], *, sandbox: bool
) -> dict[str, str]:
    """Fill what is empty: names of the station, the lists of stations and harvesters, secrets."""
    done = dict(values)
    words = station.split(".") if station else [done.get(name) or "" for name in ("FACILITY", "BEAMLINE", "STATION")]
    here = Station.parse(".".join(words)).key
    done |= dict(zip(("FACILITY", "BEAMLINE", "STATION"), words, strict=True)) | {"STATION_USER": here}
    known = [here, *json.loads(done.get("STATIONS") or "[]"), *(Station.parse(text).key for text in added)]
    done["STATIONS"] = json.dumps(list(dict.fromkeys(known)), separators=(",", ":"))
    kept = [*json.loads(done.get("HARVESTERS") or "[]"), *harvesters]
    for name in kept:
        check_name(name)
    done["HARVESTERS"] = json.dumps(list(dict.fromkeys(kept)), separators=(",", ":"))
    own = tuple(password_variable(name) for name in kept)  # nexus is there anyway
    for name in SECRETS + own + (SANDBOX_SECRETS if sandbox else ()):
        done[name] = done.get(name) or secrets.token_urlsafe(32)
    return done


def render(values: Mapping[str, str]) -> str:
    """Write the template with these values, and after it the lines that it does not know."""
    rest = dict(values)
    lines = []
    for line in TEMPLATE.read_text(encoding="utf-8").splitlines():
        name, equals, default = line.partition("=")
        is_setting = equals and not line.startswith("#")
        lines.append(f"{name}={_quoted(rest.pop(name, '') or default)}" if is_setting else line)
    return "\n".join([*lines, *(f"{name}={_quoted(value)}" for name, value in rest.items())]) + "\n"


def _quoted(value: str) -> str:
    return f"'{value}'" if set(value) & set(' "#$') else value


def password_hash(password: str) -> str:
    """Hash as RabbitMQ does: four random bytes of salt, then SHA-256 over salt and password, in base64."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def broker_users(values: Mapping[str, str], stations: Mapping[Station, str]) -> list[BrokerUser]:
    """List who signs in at the broker: each service of the server, the operator, and each station under its name."""
    own = [
        BrokerUser("catalog", "catalog", password_hash=password_hash(values["BROKER_CATALOG_PASSWORD"])),
        BrokerUser("gateway", "gateway", password_hash=password_hash(values["BROKER_GATEWAY_PASSWORD"])),
        BrokerUser("operations", "operations", password_hash=password_hash(values["BROKER_OPERATIONS_PASSWORD"])),
        BrokerUser("operator", "operator", password_hash=password_hash(values["BROKER_OPERATOR_PASSWORD"])),
        BrokerUser(
            "nexus", "harvester", harvester="nexus", password_hash=password_hash(values["BROKER_NEXUS_PASSWORD"])
        ),
    ]
    own += [
        BrokerUser(name, "harvester", harvester=name, password_hash=password_hash(values[password_variable(name)]))
        for name in json.loads(values["HARVESTERS"])
        if name != "nexus"
    ]
    return own + [
        BrokerUser(station.key, "station", station=station, password_hash=password_hash(password))
        for station, password in stations.items()
    ]


def station_passwords(values: Mapping[str, str], folder: Path) -> dict[Station, str]:
    """Return each station's password: this server's own from .env, the others' from their files or new ones."""
    found = {}
    for text in json.loads(values["STATIONS"]):
        kept = read_env(folder / f"{text}.env").get("STATION_PASSWORD")
        own = values["BROKER_STATION_PASSWORD"] if text == values["STATION_USER"] else None
        found[Station.parse(text)] = own or kept or secrets.token_urlsafe(32)
    return found


def station_file(station: Station, password: str, broker: str) -> str:
    """Write the environment of a station elsewhere; its machine needs nothing else that is secret."""
    scheme, _, place = broker.partition("://")
    return (
        f"# The station {station.key}: belongs into /etc/datauploader/station.env of its machine, mode 0600.\n"
        f"DATAUPLOADER_FACILITY={station.facility}\nDATAUPLOADER_BEAMLINE={station.beamline}\n"
        f"DATAUPLOADER_STATION={station.station}\n"
        f"DATAUPLOADER_BROKER={scheme}://{station.key}:{password}@{place}/%2F\nSTATION_PASSWORD={password}\n"
    )


def redis_rules(password: str) -> str:
    """Write the access rules: the gateway keeps to its own keys and to harmless commands; health may only ping."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return (
        "user default off resetpass resetkeys resetchannels -@all\n"
        "user health on nopass resetkeys resetchannels -@all +ping\n"
        f"user gateway on #{digest} resetchannels ~datauploader:* +@all -@admin -@dangerous -@scripting +info\n"
    )


def write(path: Path, text: str, mode: int) -> None:
    """Write a file that is never readable by more than `mode` says; the same inode stays, containers may hold it."""
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text, encoding="utf-8")


def make(options: argparse.Namespace) -> Path:
    """Write everything that is not there yet, and what follows from it; return the folder of the site."""
    known = read_env(options.env)
    station = options.station or (SANDBOX_STATION if options.sandbox and not known.get("STATION") else "")
    values = complete(known, station, options.add_station, options.add_harvester, sandbox=options.sandbox)
    values |= {"SITE_DIR": str(options.site.resolve())} if options.site else {}
    write(options.env, render(values), 0o600)
    site = HERE.parent / read_env(options.env)["SITE_DIR"]
    site.mkdir(parents=True, exist_ok=True)
    site.chmod(0o700)  # the files in it must be readable by the containers' users, the folder to nobody
    stations = station_passwords(values, site / "stations")
    document = definitions(stations, broker_users(values, stations))
    write(site / "definitions.json", json.dumps(document, indent=1) + "\n", 0o644)
    write(site / "redis.acl", redis_rules(values["REDIS_PASSWORD"]), 0o644)
    _write_stations(site / "stations", stations, read_env(options.env))
    example = HERE / ("sandbox.toml" if options.sandbox else "datauploader.example.toml")
    for path, text in ((site / "datauploader.toml", example.read_text("utf-8")), (site / "accounts.toml", ACCOUNTS)):
        if not path.exists():
            write(path, text, 0o644)
    return site


def _write_stations(folder: Path, stations: Mapping[Station, str], values: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for station, password in stations.items():
        if station.key != values["STATION_USER"]:
            write(folder / f"{station.key}.env", station_file(station, password, values["BROKER_PUBLIC_URL"]), 0o600)


def main() -> int:
    """Read the options, write the files, say what is left to do."""
    parser = argparse.ArgumentParser(prog="./dev env", description=__doc__)
    parser.add_argument(
        "--sandbox", action="store_true", help="a facility in a box: makes the double's secrets as well"
    )
    parser.add_argument("--station", default="", help="this server's own station, facility.beamline.station")
    parser.add_argument("--add-station", action="append", default=[], help="another station, facility.beamline.station")
    parser.add_argument("--add-harvester", action="append", default=[], help="another harvester's name, such as spec")
    parser.add_argument("--env", type=Path, default=HERE.parent / ".env")
    parser.add_argument("--site", type=Path, help="the folder of the site (default: what .env says)")
    options = parser.parse_args()
    try:
        site = make(options)
    except BadRequest as error:
        sys.stderr.write(f"{error}; {error.hint}\n")
        return 2
    except ValueError as error:
        reason = str(error).splitlines()[0] if options.station else "no station is named in " + str(options.env)
        sys.stderr.write(f"{reason}; say --station facility.beamline.station, in a-z, 0-9, _ and -\n")
        return 2
    left = [name for name, value in read_env(options.env).items() if not value]
    sys.stdout.write(f"wrote {options.env} and {site}\n" + (f"still to fill in: {', '.join(left)}\n" if left else ""))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
