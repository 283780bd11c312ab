"""Named remotes: what an administrator defines and a request may only name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from datauploader_transfer.errors import BadRemote

__all__ = ["SOURCE", "RemoteDefinition", "parse_remotes"]

SOURCE = "source"
"""The name under which rclone knows the local disk that the files come from."""

_NAME = re.compile(r"[a-z0-9_-]+")
_WORD = re.compile(r"[a-z0-9_]+")
_URLS = {"webdav": "url", "s3": "endpoint"}
"""Which option of a backend holds its address."""
_FIELDS = {"type", "base", "options", "secrets", "read_back", "in_parallel", "ca_file"}


@dataclass(frozen=True, slots=True)
class RemoteDefinition:
    """The definition of a remote: rclone's backend type, its options, and the base path below which we write.

    `read_back` may be switched off by the operator; files on a storage without hashes are then
    `unverified`. `in_parallel` overrides how many files travel at once. `ca_file` holds the certificates to
    trust instead of the system's.
    """

    name: str
    type: str
    base: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    read_back: bool = True
    in_parallel: int | None = None
    ca_file: Path | None = None

    @property
    def url(self) -> str:
        """Return the address of a storage that answers over HTTP, "" of any other."""
        return self.options.get(_URLS.get(self.type, ""), "")

    @property
    def fs(self) -> str:
        """Return the base as rclone addresses it.

        The slash after an S3 prefix says that it is no object; without it rclone asks the storage, and
        takes a refusal for a yes.
        """
        return self.below("")

    def below(self, folder: str) -> str:
        """Return a folder below the base as rclone addresses it, with "" the base itself."""
        path = "/".join(part for part in (self.base.rstrip("/") or self.base, folder) if part) if folder else self.base
        slash = "/" if self.type == "s3" and path and not path.endswith("/") else ""
        return f"{self.name}:{path}{slash}"


def parse_remotes(definitions: Mapping[str, Mapping[str, object]]) -> dict[str, RemoteDefinition]:
    """Check the definitions of the configuration and return them by name.

    Raises:
        BadRemote: the first definition that cannot be used, and why.
    """
    return {name: _parse(name, fields) for name, fields in definitions.items()}


def _parse(name: str, fields: Mapping[str, object]) -> RemoteDefinition:
    if not _NAME.fullmatch(name) or name.startswith("-") or name == SOURCE:
        raise BadRemote(
            f"A remote cannot be called {name!r}. Use small letters, digits, '_' and '-' (not first), "
            f"and another name than {SOURCE!r}."
        )
    if unknown := set(fields) - _FIELDS:
        raise BadRemote(f"Remote {name} has the unknown fields {sorted(unknown)}; known are {sorted(_FIELDS)}.")
    kind = fields.get("type")
    if not isinstance(kind, str) or not _WORD.fullmatch(kind):
        raise BadRemote(f"Remote {name} needs a `type`, one of rclone's backends such as webdav, s3 or sftp.")
    secrets = {key: SecretStr(value) for key, value in _options(name, fields.get("secrets", {})).items()}
    base = fields.get("base", "")
    if not isinstance(base, str) or "\x00" in base or ".." in base.split("/"):
        raise BadRemote(f"Remote {name}: the base must be a path without '..'.")
    if kind == "local" and not (base.startswith("/") or re.match(r"[A-Za-z]:[\\/]", base)):
        raise BadRemote(f"Remote {name}: the base of a local remote must be an absolute path.")
    options = _options(name, fields.get("options", {}))
    read_back, in_parallel = fields.get("read_back", True), fields.get("in_parallel")
    if not isinstance(read_back, bool):
        raise BadRemote(f"Remote {name}: read_back is true or false.")
    if in_parallel is not None and (
        not isinstance(in_parallel, int) or isinstance(in_parallel, bool) or in_parallel < 1
    ):
        raise BadRemote(f"Remote {name}: in_parallel is a whole number from 1.")
    return RemoteDefinition(
        name=name,
        type=kind,
        base=base,
        options=options,
        secrets=secrets,
        read_back=read_back,
        in_parallel=in_parallel,
        ca_file=_ca_file(name, kind, fields.get("ca_file")),
    )


def _options(name: str, options: object) -> dict[str, str]:
    if not isinstance(options, Mapping):
        raise BadRemote(f"Remote {name}: options and secrets must be tables of names and values.")
    found = {}
    for key, value in options.items():
        if not isinstance(key, str) or not _WORD.fullmatch(key):
            raise BadRemote(f"Remote {name}: {key!r} is no option of rclone; write it as in rclone's manual.")
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        found[key] = text.lower() if isinstance(value, bool) else text
    return found


def _ca_file(name: str, kind: str, path: object) -> Path | None:
    if path is None:
        return None
    if kind not in _URLS:
        raise BadRemote(f"Remote {name}: ca_file is for {' and '.join(_URLS)}, which speak HTTPS.")
    if not isinstance(path, str) or not Path(path).is_absolute():
        raise BadRemote(f"Remote {name}: ca_file must be an absolute path to a file of certificates (PEM).")
    return Path(path)
