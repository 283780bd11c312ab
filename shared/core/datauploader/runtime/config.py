"""Settings: environment first, then one TOML file, then defaults; one class a service, nothing read at import."""

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from datauploader.contracts.address import Station
from datauploader.contracts.model import Word
from datauploader.days import TimeZone
from datauploader.errors import ConfigurationError
from datauploader.runtime.registrations import Registrations, registrations_file
from datauploader.runtime.secret_files import Environment

CONFIG_VARIABLE = "DATAUPLOADER_CONFIG"


class _TomlSection(PydanticBaseSettingsSource):
    """The part of the configuration file that belongs to one settings class."""

    def __init__(self, settings: type[BaseSettings], section: str) -> None:
        super().__init__(settings)
        self._values = read_section(section)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        """Return the value for one field."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return everything that the section says."""
        return self._values


def read_section(section: str) -> dict[str, Any]:
    """Read one table of the file that DATAUPLOADER_CONFIG names; "" is the top level without its tables.

    Raises:
        ConfigurationError: the file is missing or is no TOML.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    if not path:
        return {}
    if not Path(path).exists():
        raise ConfigurationError(f"{CONFIG_VARIABLE} names {path}, which does not exist")
    document = read_toml(Path(path))
    if section:
        return dict(document.get(section, {}))
    return {key: value for key, value in document.items() if key in Settings.model_fields}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file in TOML.

    Raises:
        ConfigurationError: it is missing or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


class SectionSettings(BaseSettings):
    """Base of every settings class; `section` is its table in the configuration file."""

    section: ClassVar[str] = ""
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_", env_nested_delimiter="__", extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `Environment` stands for it
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the interface
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the interface
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order: arguments, environment, file."""
        return init_settings, Environment(settings_cls), _TomlSection(settings_cls, cls.section)


class Settings(SectionSettings):
    """What every service needs to know; top level of the file, `DATAUPLOADER_…` in the environment."""

    facility: Word = "facility"
    beamline: Word = "beamline"
    station: Word = "station"
    """This machine's own address; the gateway and the catalog serve all stations."""
    stations: tuple[str, ...] = ()
    """All stations of the facility as `facility.beamline.station`, for the topology; empty: this one."""
    registrations: Path | None = None
    """File with the facility's stations and harvesters, which `datauploader admin` writes; it counts instead of
    `stations`, and a change of it counts at once."""
    timezone: TimeZone = ""
    """The facility's time zone, such as `Europe/Rome`: it says which day it is, for names with `{date}` and for today's
    investigations; empty: this machine's, which is UTC in a container."""
    broker: SecretStr = SecretStr("memory://")
    """`amqp://user:password@host/vhost`, `amqps://…` or `memory://`. Nodes of a cluster stand with commas between:
    `amqps://user:password@a.facility.eu:5671,b.facility.eu:5671/vhost`. Whichever answers is used, and its certificate
    must bear its own name. One name that DNS resolves to several addresses works as well."""
    broker_users: dict[str, str] = Field(default_factory=dict)
    """Users at the broker whose name does not say which service they are, such as
    `{"ws01": "station:elettra.xrd1.ws01"}`; also `catalog`, `gateway`, `harvester:NAME`, and `operator`, who may say
    anything. What a user says is believed as far as its role goes."""
    declare: bool = True
    """Make missing exchanges and queues at the start; False only checks them."""
    state_dir: Path = Path("var/state")
    """Where each service keeps its own file."""
    alone: bool = True
    """Refuse to start where another process runs the same service on `state_dir`. Only catalogs may set it to false:
    several of them on one machine then share one ledger and its work."""
    log_level: str = "INFO"
    log_json: bool | None = None
    """None: JSON unless stderr is a terminal."""
    log_file: Path | None = None
    """Write the log to this file, of at most 10 MiB, and keep the five before it; None: to stderr."""
    health_host: str = "127.0.0.1"
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """Serve `/live`, `/ready` and `/metrics` here; None: not at all; 0: any free port."""
    remotes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named rclone remotes; only transfer needs more than the names."""
    crash_at: str = Field("", pattern=r"^([a-z_.-]+(:[1-9][0-9]*)?)?$")
    """For fault tests alone: die at this named point (`name`, or `name:3` for its third pass). Leave it empty."""

    @property
    def here(self) -> Station:
        """This machine's address."""
        return Station(facility=self.facility, beamline=self.beamline, station=self.station)

    @property
    def all_stations(self) -> tuple[Station, ...]:
        """Every station that the topology serves, as it is now."""
        stations = self.stations if self.registrations is None else self.registered.stations
        return tuple(Station.parse(text) for text in stations) or (self.here,)

    @property
    def registered(self) -> Registrations:
        """What the file of registrations says now; nothing where there is none.

        Raises:
            ConfigurationError: the file has been missing or wrong from the beginning.
        """
        return Registrations() if self.registrations is None else registrations_file(self.registrations).now()


class ClientSettings(SectionSettings):
    """What the command line needs to reach a gateway."""

    section: ClassVar[str] = "client"

    gateway: str = ""
    """Address of the gateway, such as `https://datauploader.example.org`; `login` remembers it otherwise."""
    token: SecretStr = SecretStr("")
    """Token for the gateway; `login` fetches and stores one otherwise."""
    client_dir: Path | None = None
    """Folder for the stored token; by default the user's own folder for settings."""


S = TypeVar("S", bound=SectionSettings)


def load(settings: type[S]) -> S:
    """Read the settings, and turn what is wrong with them into one sentence for each field.

    Raises:
        ConfigurationError: names every wrong field and how it is written.
    """
    try:
        return settings()
    except ValidationError as error:
        prefix = str(settings.model_config.get("env_prefix", ""))
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            where = "__".join(str(part) for part in problem["loc"]).upper()
            text = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{prefix}{where}: {text}" if where else text)  # else it names the settings that it concerns
        raise ConfigurationError("the configuration is wrong:\n  " + "\n  ".join(lines)) from None
