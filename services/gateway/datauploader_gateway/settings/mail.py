"""What an administrator says about mail: table `[gateway.mail]`; off while there is no host."""

import re
import ssl
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
_LONGEST = 254
"""Characters of an address (RFC 5321, section 4.5.3.1.3, less the angle brackets)."""


def is_address(text: str) -> bool:
    """Tell whether this is one plain mail address, with nothing that could mean more in a header."""
    return len(text) <= _LONGEST and _ADDRESS.fullmatch(text) is not None


class MailSettings(BaseModel):
    """The mail server, and who gets mail."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = ""
    """Name of the SMTP server; empty: no mail is sent."""
    port: int = Field(default=587, ge=1, le=65535)
    """587 for `starttls`, 465 for `tls`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`none` speaks without TLS; only to this machine, and in a sandbox network with `allow_plain`."""
    allow_plain: bool = False
    """Speak without TLS to a server on another machine; for a sandbox network only."""
    cafile: Path | None = None
    """Certificates to trust instead of the system's."""
    user: str = ""
    """The account at the server; empty: the server asks for none."""
    password: SecretStr = SecretStr("")
    """Its password."""
    sender: str = ""
    """The address that mails come from, such as `datauploader@facility.eu`."""
    address: str = ""
    """Address of people of whom no other is known, such as `{user}@facility.eu`; empty: they get no mail."""
    templates: Path | None = None
    """Folder with the facility's own templates; those that are not in it are the built-in ones."""
    failed_after_s: float = Field(default=600, ge=0)
    """How long failed files may stand still before their person gets a mail."""
    silent_after_s: float = Field(default=3600, gt=0)
    """How long a station with open uploads may be silent before their people get a mail."""
    retry_s: float = Field(default=60, gt=0)
    """First pause after the server was away or did not take a mail; doubles up to an hour."""
    given_up_after_days: float = Field(default=5, gt=0)
    """A mail that the server has not taken for so long is given up."""
    timeout_s: float = Field(default=20, gt=0)
    """How long the server may take to answer."""

    @property
    def on(self) -> bool:
        """Mail is sent here."""
        return bool(self.host)

    @field_validator("address")
    @classmethod
    def _has_user(cls, text: str) -> str:
        if text and (text.count("{user}") != 1 or not is_address(text.replace("{user}", "user"))):
            raise ValueError("write an address that contains {user} once, such as {user}@facility.eu")
        return text

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.on:
            return self
        if not is_address(self.sender):
            raise ValueError("sender must be one plain mail address, such as datauploader@facility.eu")
        if self.security == "none" and not self.allow_plain and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError(f"mail to {self.host} needs starttls or tls, or allow_plain in a sandbox")
        try:
            ssl.create_default_context(cafile=self.cafile)
        except OSError as error:
            raise ValueError(f"the certificates in {self.cafile} cannot be used: {error}") from error
        return self
