"""Secrets from files: where `NAME_FILE` is in the environment, its file has the value of the setting `NAME`.

That is how secrets reach a container without standing in its settings: https://docs.docker.com/compose/how-tos/use-secrets/.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic_settings import EnvSettingsSource

from datauploader.errors import ConfigurationError

_SUFFIX = "_FILE"
_SECRETS = "secrets"
"""The table of a remote in which every value is a secret."""


class Environment(EnvSettingsSource):
    """The environment, with the secrets that it names files of."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        plain = dict(super()._load_env_vars())
        for variable in tuple(plain):
            name = secret_of(variable, str(self.env_prefix), self.settings_cls)
            if not name:
                continue
            path = plain.pop(variable)
            if not path:
                continue
            if plain.get(name):
                raise ConfigurationError(f"{name.upper()} and {variable.upper()} are both set; keep one of them")
            try:
                plain[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise ConfigurationError(f"{variable.upper()} names {path}, which is not UTF-8 text") from None
            except OSError as error:
                raise ConfigurationError(
                    f"{variable.upper()} names {path}, which cannot be read: {error.strerror}"
                ) from error
        return plain


def secret_of(variable: str, prefix: str, kind: type[BaseModel]) -> str | None:
    """Return the variable whose value the file is to give, None where this one names no such file.

    Only secrets are read from files: other settings are files themselves, such as a certificate.
    """
    name = variable[: -len(_SUFFIX)]
    if not variable.upper().endswith(_SUFFIX) or not name.lower().startswith(prefix.lower()):
        return None
    parts = name[len(prefix) :].lower().split("__")
    return name if _is_secret(kind, parts) else None


def _is_secret(kind: Any, parts: list[str]) -> bool:
    if len(parts) > 1 and parts[-2] == _SECRETS:
        return True
    field = kind.model_fields.get(parts[0])
    if field is None:
        return False
    choices = {field.annotation, *get_args(field.annotation)}
    if len(parts) == 1:
        return SecretStr in choices
    return any(_is_secret(one, parts[1:]) for one in choices if isinstance(one, type) and issubclass(one, BaseModel))
