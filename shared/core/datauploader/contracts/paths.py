"""How a file is named in what travels: relative to the root of its upload, whatever its bytes are."""

from functools import cached_property
from typing import Self

from pydantic import model_validator

from datauploader.contracts.model import WireModel
from datauploader.contracts.names import RelativePath, check_relative, unpack


class FilePath(WireModel):
    """A path below the root of its upload that survives whatever its bytes are."""

    path: RelativePath
    """`/`-separated; display text where `path_b64` is given."""
    path_b64: str | None = None
    """The bytes in base64, only where they are not UTF-8."""

    @model_validator(mode="after")
    def _bytes_are_below_the_root(self) -> Self:
        if self.path_b64 is not None:
            raw = unpack(self.path, self.path_b64)
            check_relative(raw.decode("utf-8", "surrogateescape"))
        return self

    @cached_property
    def raw(self) -> bytes:
        """The bytes of the path."""
        return unpack(self.path, self.path_b64)
