"""What an operator can set for the catalog service, read from DATAUPLOADER_CATALOG_… variables."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from datauploader.days import TimeZone
from datauploader.runtime.config import SectionSettings

ProcedureName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_$]+(\.[A-Za-z0-9_$]+)?$")]


class VuoProcedures(BaseModel):
    """Names of VUO's procedures; the first two are known, all others are assumed (docs/catalogues/vuo.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    identify: ProcedureName = "vuo_sso.detail"
    authorise: ProcedureName = "vlab.sm_get_investigation_info"
    list_investigations: ProcedureName = "datauploader.list_investigations"
    find_investigation: ProcedureName = "datauploader.find_investigation"
    create_investigation: ProcedureName = "datauploader.create_investigation"
    find_dataset: ProcedureName = "datauploader.find_dataset"
    create_dataset: ProcedureName = "datauploader.create_dataset"
    add_datafiles: ProcedureName = "datauploader.add_datafiles"
    add_parameters: ProcedureName = "datauploader.add_parameters"
    describe_dataset: ProcedureName = "datauploader.describe_dataset"
    describe_investigation: ProcedureName = "datauploader.describe_investigation"
    complete_dataset: ProcedureName = "datauploader.complete_dataset"
    show_dataset: ProcedureName = "datauploader.show_dataset"
    """Only for `datauploader catalogue check`, which does without where VUO has none."""


class HttpCatalogueSettings(BaseModel):
    """How to reach a catalogue over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    system: ClassVar[str]
    """What people call it; the settings' block is named alike."""
    secrets: ClassVar[str]
    """What it is sent that nobody else may read."""

    base_url: AnyHttpUrl
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    proxy: str = ""
    """HTTP proxy on the way to the catalogue, such as `http://proxy.facility.eu:3128`; the environment's are not
    used."""
    allow_http: bool = False
    """Speak without TLS to another machine; for a sandbox network only."""
    connect_timeout: float = Field(default=5.0, gt=0)
    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one whole answer."""
    read_attempts: int = Field(default=3, ge=1)
    """Tries of a read within one call; the long waiting is the service's, not the adapter's."""
    dataset_page: str = ""
    """Address of a dataset's page with `{dataset_id}` in it; empty: `<base_url>/datasets/{dataset_id}`."""

    def dataset_url(self, dataset_id: str) -> str:
        """Fill a dataset's id into the address of its page."""
        page = self.dataset_page or f"{str(self.base_url).rstrip('/')}/datasets/{{dataset_id}}"
        return page.replace("{dataset_id}", quote(dataset_id, safe=""))

    @model_validator(mode="after")
    def _require_tls(self) -> Self:
        if self.base_url.scheme == "https" or self.allow_http or _is_loopback(self.base_url.host):
            return self
        raise ValueError(
            f"{self.system} at {self.base_url} would get {self.secrets} without TLS; "
            "use https, or set allow_http in a sandbox"
        )


class VuoSettings(HttpCatalogueSettings):
    """How to reach VUO."""

    system = "VUO"
    secrets = "the shared secret's hashes and people's sessions"

    base_url: AnyHttpUrl
    """Up to and without `/pls/vuo`, for example https://vuo.example.org."""
    secret: SecretStr = Field(min_length=1)
    """Shared with VUO; every FRM_HASH is made with it."""
    path: str = "/pls/vuo/"
    batch_files: int = Field(default=1000, ge=1)
    batch_bytes: int = Field(default=500_000, ge=1000)
    """Characters of the JSON text in one form field; some PL/SQL gateways take no more than 32,000."""
    procedures: VuoProcedures = VuoProcedures()
    parameter_names: dict[str, str] = Field(default_factory=dict)
    """Other names for form parameters, as {"FRM_NAME": "FRM_DATASET_NAME"}."""


class ScicatSettings(HttpCatalogueSettings):
    """How to reach SciCat, and what it is told (docs/catalogues/scicat.md)."""

    system = "SciCat"
    secrets = "passwords and people's tokens"

    base_url: AnyHttpUrl
    """Up to and without `/api`, for example https://scicat.example.org."""
    username: str = ""
    """The service's functional account, which is in ADMIN_GROUPS; empty where `token` is given."""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    """A long-lived token of that account, instead of its name and password."""
    api: Literal["auto", "v3", "v4"] = "auto"
    """By which interface datasets are written; `auto`: by /api/v4 where SciCat has it."""
    contact_email: str = Field(pattern=r"^[^@\s;]+@[^@\s;]+\.[^@\s;]+$")
    """Whom a dataset names as its contact where neither the person nor the proposal has an address."""
    base_dir: str = "/{investigation}"
    """Where the data of an investigation belong, with `{investigation}` (the proposal's id), `{group}` (the one that
    owns it), `{beamline}` and `{year}` (of its beginning) in it."""
    source_folder: str = "/{path}"
    """A dataset's folder as SciCat shows it, with `{path}` on the storage and `{remote}`, its name, in it."""
    creation_location: str = "/{beamline}"
    """Where a dataset was taken, such as `/CERIC/Elettra/{beamline}`."""
    pid: str = "{UUID}"
    """The pids of datasets, such as `20.500.12345/{uuid}`: `{UUID}`, in capital letters, or `{uuid}` is made of
    investigation and name. It must never change while datasets are uploaded."""
    closed_after_days: int | None = Field(default=None, ge=0)
    """Days after the end of a proposal from which it takes no more uploads; empty: it takes them for ever."""
    timezone: TimeZone = ""
    """In which the days of proposals are told, such as `Europe/Rome`; empty: this machine's."""
    creators: tuple[str, ...] = ()
    """Groups whose members may have proposals made from here, besides create_investigations; empty: nobody."""
    create_group: str = ""
    """The group that owns a proposal that is made from here, with `{investigation}`, `{visit}` and `{user}` (the
    person's name at SciCat) in it; empty: none are made."""
    people_login: Literal["", "login", "ldap"] = ""
    """How people sign in at the gateway with their name and password of SciCat: by its own accounts (`login`), or by
    the directory that it asks (`ldap`); empty: with tokens alone."""
    people_by: Literal["id", "username"] = "id"
    """By which of SciCat's words for a person they are known here; the gateway's `user_claim` must say the same, and no
    identity provider knows SciCat's own ids."""
    uid_claim: str = ""
    """The claim of the identity provider with a person's number on the storage, such as `uidNumber`."""
    gid_claim: str = ""
    block_files: int = Field(default=2000, ge=1, le=20_000)
    """Files in one origdatablock."""
    block_bytes: int = Field(default=900_000, ge=1000, le=15_000_000)
    """Bytes of one request; SciCat takes 16 MB, many servers before it no more than 1 MB."""
    metadata_bytes: int = Field(default=1_000_000, ge=1000, le=12_000_000)
    """Bytes of one dataset's scientific metadata, those of its files included; it is sent whole each time."""
    file_metadata_bytes: int = Field(default=200_000, ge=0)
    """Bytes of it that are the files' own, for which SciCat has no other place; 0: none are kept."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.token.get_secret_value()) == bool(self.username and self.password.get_secret_value()):
            raise ValueError("SciCat needs either username and password of the service's account, or a token of it")
        if not re.fullmatch(r"[\x21-\x7e]*", self.token.get_secret_value()):
            raise ValueError("the token for SciCat has characters that no token has, such as spaces or line feeds")
        if "{uuid}" not in self.pid.lower():
            raise ValueError("pid needs {UUID} or {uuid} in it, else all datasets would have the same one")
        _check_pattern("base_dir", self.base_dir, "investigation", "group", "beamline", "year")
        _check_pattern("source_folder", self.source_folder, "path", "remote")
        _check_pattern("creation_location", self.creation_location, "beamline")
        _check_pattern("create_group", self.create_group, "investigation", "visit", "user")
        _check_pattern("pid", self.pid, "uuid", "UUID")
        return self


class IcatSettings(HttpCatalogueSettings):
    """How to reach ICAT, and what things are called there."""

    system = "ICAT"
    secrets = "the service's password and people's sessions"

    base_url: AnyHttpUrl
    """Up to and without `/icat`, for example https://icat.example.org."""
    path: str = "/icat/"
    plugin: str = Field(min_length=1)
    """The authenticator by which the service signs in, such as `simple` or `db`."""
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)
    facility: str = Field(min_length=1)
    """Name of the Facility whose investigations these are."""
    base_dir: str = Field(pattern=r"^/[^{}]*(\{(id|name|visit|beamline|year)\}[^{}]*)+$")
    """Where an investigation's data belong, which ICAT does not say: `{id}`, `{name}`, `{visit}`, `{beamline}` and
    `{year}` each stand for one folder."""
    dataset_page: str = Field(default="", pattern=r"^$|\{dataset_id\}")
    """Address of a dataset's page with `{dataset_id}` in it; ICAT has none of its own. Empty: there are none."""
    login_page: str = ""
    """Address where people sign in, shown when their session has ended."""
    investigation_type: str = "experiment"
    """The InvestigationType of investigations that are made here."""
    dataset_types: dict[str, str] = Field(default_factory=dict)
    """Other names of DatasetTypes, as {"raw": "experiment_raw"}."""
    people_plugin: str = ""
    """The authenticator by which people sign in at the gateway with their name and password, such as `ldap`; empty:
    with sessions alone."""
    people_by: Literal["id", "name"] = "name"
    """By what of ICAT's User people are known here, and so to the gateway: its id, or its name."""
    user_prefix: str = ""
    """What their names begin with in ICAT and not here, such as `oidc/`."""
    leader_roles: tuple[str, ...] = ("PI", "Principal Investigator", "principal_experimenter")
    """The roles of an InvestigationUser that make a principal investigator."""
    owner_role: str = "Investigator"
    """The role of a person who makes an investigation here."""
    closed_after_days: int | None = Field(default=None, ge=0)
    """Days after the end of an investigation from which it takes no more uploads; empty: it takes them for ever."""
    timezone: TimeZone = ""
    """In which the days of investigations are told, such as `Europe/Rome`; empty: this machine's."""
    no_units: str = ""
    """What stands for the units of a parameter that has none; `N/A` where ICAT's database is Oracle."""
    timeout: float = Field(default=60.0, gt=0)
    batch_files: int = Field(default=1000, ge=1)
    """Datafiles in one transaction."""
    batch_bytes: int = Field(default=1_000_000, ge=1000)
    """Characters of the JSON text in one request; application servers take 2,000,000 unless they are told otherwise."""

    def dataset_url(self, dataset_id: str) -> str:
        """Fill a dataset's id into the address of its page; "" where none is configured."""
        return super().dataset_url(dataset_id) if self.dataset_page else ""


class UserOfficeSettings(BaseModel):
    """Where the UserOffice software says who belongs to which proposal (docs/catalogues/useroffice.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr = Field(min_length=1)
    """Address of the user office's broker, such as `amqps://datauploader:password@broker.facility.eu/useroffice`: an
    account of its own, and the virtual host."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    allow_plain: bool = False
    """Speak without TLS to another machine; for a sandbox network only."""
    exchange: str = Field(default="user_office_backend.fanout", min_length=1)
    """Where the user office publishes."""
    queue: str = Field(default="datauploader.membership", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    """The queue of our own that is bound there; no other program may consume it."""
    queue_type: Literal["quorum", "classic"] = "quorum"
    people_by: Literal["oidcSub", "id", "email"] = "oidcSub"
    """By which field of a message people are known here; the gateway's `user_claim` must have the same values."""
    issuer: str = ""
    """Only people count whose `oauthIssuer` this is; empty: all. The same `oidcSub` at two providers is two people."""
    proposal_is: Literal["name", "id"] = "name"
    """What of the catalogue's investigation is the proposal's `shortCode`."""
    decides: tuple[Literal["members", "proposer", "dataAccessUsers", "visitors"], ...] = Field(
        default=("members", "proposer", "dataAccessUsers"), min_length=1
    )
    """The fields of a message whose people may upload."""

    @model_validator(mode="after")
    def _require_tls(self) -> Self:
        try:
            address = urlsplit(self.url.get_secret_value())
            host = address.hostname
        except ValueError:
            raise ValueError(
                "url of [catalog.useroffice] cannot be read; write amqps://user:password@host/vhost"
            ) from None
        if address.scheme == "amqps" or self.allow_plain or _is_loopback(host):
            return self
        raise ValueError(
            f"the user office's broker at {host} would get its password without TLS, and anybody could say who "
            "may upload; use amqps, or set allow_plain in a sandbox"
        )


class CatalogSettings(SectionSettings):
    """Settings of the catalog service that concern the catalogue itself."""

    section: ClassVar[str] = "catalog"

    model_config = SettingsConfigDict(
        env_prefix="DATAUPLOADER_CATALOG_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # the input holds the secret
    )

    adapter: str = Field(default="vuo", pattern=r"^[a-z][a-z0-9_-]*$")
    """Which catalogue: `vuo`, `scicat`, `icat`, `memory` for a trial, or one that is installed beside, as `folder`."""
    vuo: VuoSettings | None = None
    scicat: ScicatSettings | None = None
    icat: IcatSettings | None = None
    useroffice: UserOfficeSettings | None = None
    """Take from the UserOffice software's messages who may upload to what, instead of asking the catalogue."""
    threads: int = Field(default=4, ge=1, le=32)
    """Uploads that are brought into the catalogue at the same time."""
    patience_s: float = Field(default=180, gt=0)
    """How long the catalogue may be away, or fail at something, until people and operators are told; also how long an
    error that nobody knows is tried again as one that passes."""
    compact_days: float = Field(default=7.0, gt=0)
    """So many days after an upload has ended its files are kept compressed instead of in a row each; nothing is
    forgotten, and whatever is asked about them later is answered as before."""
    report_interval_s: float = Field(default=30.0, gt=0)
    """How often the catalog service says that it is alive, and what keeps it from its work."""
    audit: bool = True
    """Complete a dataset only after its storage was listed and compared with the manifest; the stations' transfer
    services do that, so they must be of a release that can."""
    create_investigations: bool = False
    """Let people make investigations from here; whom, the catalogue decides."""
    gateway_users: tuple[str, ...] = ("gateway",)
    """The broker's users who may ask for uploads in a person's name, beside the catalog's own: the gateway's."""
    rule_owners: dict[str, str] = Field(default_factory=dict)
    """By `facility.beamline.station`, or `*` for all others: the catalogue's id of the person who answers for the
    station's standing rules. They then reach this person's investigations alone; without one, every investigation."""
    storage_prefix: str = "/"
    """What is cut from the base directories that the catalogue names, because a remote has a base of its own."""

    @model_validator(mode="after")
    def _require_the_chosen_block(self) -> Self:
        if self.adapter == "vuo" and self.vuo is None:
            raise ValueError(
                "the adapter is vuo, but nothing says where VUO is; set DATAUPLOADER_CATALOG_VUO__BASE_URL "
                "and DATAUPLOADER_CATALOG_VUO__SECRET, or DATAUPLOADER_CATALOG_ADAPTER=memory for a trial"
            )
        if self.adapter == "scicat" and self.scicat is None:
            raise ValueError(
                "the adapter is scicat, but nothing says where SciCat is; set DATAUPLOADER_CATALOG_SCICAT__BASE_URL "
                "and what else docs/catalogues/scicat.md asks for"
            )
        if self.adapter == "icat" and self.icat is None:
            raise ValueError(
                "the adapter is icat, but nothing says where ICAT is; set DATAUPLOADER_CATALOG_ICAT__BASE_URL and "
                "the other settings of docs/catalogues/icat.md, or DATAUPLOADER_CATALOG_ADAPTER=memory for a trial"
            )
        if self.useroffice is not None and self.create_investigations:
            raise ValueError(
                "create_investigations cannot be on with [catalog.useroffice]: proposals are the user office's to make"
            )
        return self


def _check_pattern(setting: str, pattern: str, *names: str) -> None:
    try:
        pattern.format(**dict.fromkeys(names, "x"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        allowed = ", ".join(f"{{{name}}}" for name in names)
        raise ValueError(f"only {allowed} may stand in braces in {setting}, not {pattern!r}") from error


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False
