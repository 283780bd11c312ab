"""How a file is named in what travels: relative to the root of its upload, whatever its bytes are."""

from typing import Annotated

from pydantic import AfterValidator

from datauploader.contracts.model import WireModel
from datauploader.contracts.names import RelativePath, check_relative, unpack


def _check_packed(packed: str | None) -> str | None:
    if packed is not None:
        check_relative(unpack("", packed).decode("utf-8", "surrogateescape"))
    return packed


PackedPath = Annotated[str | None, AfterValidator(_check_packed)]


class FilePath(WireModel):
    """A path below the root of its upload that survives whatever its bytes are."""

    path: RelativePath
    """`/`-separated; display text where `path_b64` is given."""
    path_b64: PackedPath = None
    """The bytes in base64, only where they are not UTF-8."""

    @property
    def raw(self) -> bytes:
        """The bytes of the path."""
        return self.path.encode() if self.path_b64 is None else unpack(self.path, self.path_b64)
