"""Small pictures of what is in a file, of few bytes, whose head is looked at before anybody shows them."""

import base64
import binascii
import struct
from typing import Literal, Self

from pydantic import Field, model_validator

from datauploader.contracts.model import WireModel

LARGEST_PICTURE = 32 * 1024
"""Bytes of one; in base64 it fits into an event of 64 KiB."""
LONGEST_SIDE = 1024
"""Pixels."""
MOST_PICTURES = 4
"""Of one file, by one harvester."""
MOST_OF_UPLOAD = 24
"""Pictures that a harvester sends of one upload, and files of one upload of which the view keeps pictures."""
LONGEST_TITLE = 120
LONGEST_BASE64 = (LARGEST_PICTURE + 2) // 3 * 4

MediaType = Literal["image/png", "image/jpeg", "image/webp"]


class Picture(WireModel):
    """A picture: a quick look at what is in a file."""

    title: str = Field(default="", max_length=LONGEST_TITLE)
    """What is seen, such as `frame 12 of 25`."""
    media_type: MediaType
    width: int = Field(ge=1, le=LONGEST_SIDE)
    """Pixels, as the picture's own head says."""
    height: int = Field(ge=1, le=LONGEST_SIDE)
    data: str = Field(max_length=LONGEST_BASE64)
    """The picture in base64."""

    @classmethod
    def of(cls, data: bytes, title: str = "") -> Self:
        """Build a picture from its bytes.

        Raises:
            ValueError: it is no picture that may travel; says why.
        """
        if len(data) > LARGEST_PICTURE:
            raise ValueError(f"it has {len(data)} bytes, of which at most {LARGEST_PICTURE} are taken")
        media_type, width, height = head(data)
        if max(width, height) > LONGEST_SIDE or min(width, height) < 1:
            raise ValueError(f"it has {width} x {height} pixels; each side may have 1 to {LONGEST_SIDE}")
        return cls(
            title=title[:LONGEST_TITLE], media_type=media_type, width=width, height=height,
            data=base64.b64encode(data).decode("ascii"),
        )  # fmt: skip

    @model_validator(mode="after")
    def _is_what_it_says(self) -> Self:
        try:
            found = head(self.content)
        except binascii.Error as error:
            raise ValueError(f"a picture is not base64: {error}") from None
        if found != (self.media_type, self.width, self.height):
            raise ValueError(f"a picture is {found}, and said to be {self.media_type} of {self.width} x {self.height}")
        return self

    @property
    def content(self) -> bytes:
        """The bytes of the picture."""
        return base64.b64decode(self.data, validate=True)


def head(data: bytes) -> tuple[MediaType, int, int]:
    """Return what the bytes of a picture are, and its width and height; it must begin and end as its format does.

    Formats: PNG, W3C recommendation, 5.2 and 11.2.1; JPEG, ITU-T T.81, B.1 and B.2.2; WebP, RFC 9649, 2.3 to 2.7.

    Raises:
        ValueError: it is none of these, or not whole.
    """
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and data.endswith(b"IEND\xaeB`\x82"):
            return "image/png", *struct.unpack_from(">II", data, 16)
        if data[:2] == b"\xff\xd8" and data.endswith(b"\xff\xd9"):
            return "image/jpeg", *_jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            (length,) = struct.unpack_from("<I", data, 4)
            if length + 8 == len(data):
                return "image/webp", *_webp(data)
    except (struct.error, IndexError):
        pass
    raise ValueError("it is no whole PNG, JPEG or WebP")


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at] == 0xFF:  # noqa: PLR2004 - a marker
        marker, at = data[at + 1], at + 2
        if marker == 0xFF:  # noqa: PLR2004 - fill
            at -= 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004 - a frame
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        else:
            at += struct.unpack_from(">H", data, at)[0]
    raise IndexError


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:  # noqa: PLR2004 - its signature
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise IndexError
