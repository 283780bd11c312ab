"""The gateway's settings: table `[gateway]`, or `DATAUPLOADER_GATEWAY_…` in the environment."""

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator
from pydantic_settings import SettingsConfigDict

from datauploader.runtime.config import SectionSettings
from datauploader_gateway.settings.folders import FolderPattern
from datauploader_gateway.settings.mail import MailSettings
from datauploader_gateway.settings.oidc import Beamline, OidcSettings, RoleRule

SERVICE = "gateway"


class GatewaySettings(SectionSettings):
    """Where the gateway listens, whom it lets in, and what it keeps where."""

    section: ClassVar[str] = "gateway"
    model_config = SettingsConfigDict(
        env_prefix="DATAUPLOADER_GATEWAY_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; any other than loopback needs `public_url`."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free one."""
    public_url: str = ""
    """The address that browsers use, such as `https://upload.facility.eu`; "" is the gateway's own."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is believed."""
    redis: SecretStr = SecretStr("memory://")
    """`redis://…`, `rediss://…`, or `memory://` within this process."""
    session_idle_s: int = Field(default=8 * 3600, gt=0)
    """A session that is not used for so long is over."""
    session_longest_s: int = Field(default=7 * 24 * 3600, gt=0)
    """A session is over after so long, used or not."""
    accounts: Path | None = None
    """TOML or JSON file of local accounts; None: no local sign-in."""
    vuo: bool = True
    """Accept sessions of the catalogue (of VUO, SciCat, ICAT), and names and passwords of it where the catalog service
    is set up for them; it checks both."""
    vuo_token_days: int = Field(default=30, ge=1, le=365)
    """Longest life of a token that somebody makes who signed in with the catalogue."""
    oidc: OidcSettings = OidcSettings()
    """The facility's identity provider."""
    roles: tuple[RoleRule, ...] = ()
    """Who is staff or operator, by what the identity provider says of them."""
    mail: MailSettings = MailSettings()
    """The mail server, and who gets mail when."""
    location: str = "{investigation}/{dataset}"
    """Where uploads go below the remote, for investigations without a base directory."""
    location_in_base: str = "{base_dir}/{dataset}"
    """The same, where the catalogue says where an investigation's data belong."""
    dataset_name: str = "{folder}"
    """What a dataset is called where nobody says: `{folder}` is the chosen folder's name, `{date}` today."""
    metadata_schema: Path | None = None
    """JSON Schema of what is asked about every dataset; None: nothing."""
    offer_delete_after: bool = False
    """Let people ask that local copies are removed once they are stored; stations must allow it as well."""
    stations_for: Literal["beamline", "everybody"] = "beamline"
    """Who is shown, and may upload, what a station holds: who has an open investigation at its beamline, or none of
    whose beamline the catalogue tells (`beamline`); or everybody who has signed in. Operators, and staff of the
    beamline, always."""
    beamlines: dict[str, Beamline] = Field(default_factory=dict)
    """Beamlines by their names in the catalogue, as `facility.beamline`, where these are more than another spelling."""
    folder_owners: dict[str, tuple[FolderPattern, ...]] = Field(default_factory=dict)
    """By station or `facility.beamline`, which folders belong to which investigation, such as
    `/data/{investigation}/**`: then people are shown no other ones there. None: whoever is shown a station is shown all
    of its folders."""
    ask_timeout_s: float = Field(default=5.0, gt=0)
    """How long the catalogue and the stations may take to answer."""
    attempts_per_account: int = Field(default=5, gt=0)
    """Sign-ins to one account from one address within five minutes."""
    attempts_per_address: int = Field(default=30, gt=0)
    """Failed sign-ins from one address within five minutes."""
    attempts_from_strangers: int = Field(default=50, gt=0)
    """Failed sign-ins to one account within an hour from addresses that it was never used from."""
    streams_per_person: int = Field(default=30, gt=0)
    """Live pages and event streams that one person may have open at the same time."""
    kept_days: float = Field(default=90, gt=0)
    """Days for which the status of an upload is kept after its last event."""
    report_interval_s: float = Field(default=30.0, gt=0)
    """How often the gateway says that it is alive."""
    request_patience_s: float = Field(default=60.0, gt=0)
    """How long a request may be without an answer before it is said again; doubles up to an hour."""
    operations_broker: SecretStr = SecretStr("")
    """Address of the broker with an account that may read and give back parked messages; "": they are only counted."""
    harvesters: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}$")], ...] = ()
    """Harvesters whose queues operators see, such as `nexus`."""
    consumers: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}$")], ...] = ()
    """Other consumers whose queues operators see, such as `notifier`; registered ones are seen anyway."""
    broker_page: str = ""
    """The broker's management page, for operators to go on to; "": no link."""
    grafana_page: str = ""
    """The dashboard, likewise."""
    desktop: SecretStr = SecretStr("")
    """What links to the desktop's page are made with; `datauploader desktop` sets it, nobody else."""
    audit_every: float | None = Field(default=None, gt=0)
    """Days after which the storage of a complete dataset is compared with its manifest again; None: only when somebody
    asks. Each look keeps the upload's status for another `kept_days`."""
    watch_interval_s: float = Field(default=2.0, gt=0)
    """How often the gateway looks whether Redis and the view are as they should be."""

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, text: str) -> str:
        parts = urlsplit(text)
        if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/")):
            raise ValueError("write scheme and host alone, such as https://upload.facility.eu")
        return text.rstrip("/")

    @field_validator("dataset_name")
    @classmethod
    def _is_name(cls, text: str) -> str:
        if set("{}") & set(text.replace("{folder}", "").replace("{date}", "")) or not text.strip():
            raise ValueError("only {folder} and {date} may stand in braces")
        return text

    @field_validator("broker_page", "grafana_page")
    @classmethod
    def _is_link(cls, text: str) -> str:
        parts = urlsplit(text)
        if text and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("write a whole address, such as https://rabbitmq.facility.eu/")
        return text

    @field_validator("location", "location_in_base")
    @classmethod
    def _is_template(cls, text: str) -> str:
        try:
            text.format(investigation="i", dataset="d", base_dir="b")
        except (KeyError, IndexError, ValueError):
            raise ValueError("only {investigation}, {dataset} and {base_dir} may stand in braces") from None
        return text

    @property
    def secure(self) -> bool:
        """Browsers reach the gateway over https."""
        return self.public_url.startswith("https:")

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach the gateway directly."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
