"""What is taken for a picture: PNG, JPEG or WebP that begins and ends as such, small in bytes and in pixels."""

import struct

import pytest
from pydantic import ValidationError

from datauploader.contracts import Picture
from datauploader.contracts.pictures import LARGEST_PICTURE, LONGEST_SIDE, head

END = b"\0\0\0\0IEND\xaeB`\x82"


def png(width: int = 3, height: int = 2, more: bytes = b"") -> bytes:
    """Make as much of a PNG as is looked at."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\0\0\0\0" + more + END


def webp(body: bytes) -> bytes:
    """Make as much of a WebP as is looked at."""
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


JPEG = b"\xff\xd8\xff\xe0\0\4ab\xff\xff\xc4\0\2\xff\xc2\0\x0b\x08\0\2\0\3\1\1\1\1\xff\xda\0\2xyz\xff\xd9"
LOSSY = webp(b"VP8 \x0c\0\0\0\1\2\3\x9d\x01\x2a" + struct.pack("<HH", 3, 2) + b"\0\0")
LOSSLESS = webp(b"VP8L\x08\0\0\0\x2f" + struct.pack("<I", (3 - 1) | (2 - 1) << 14) + b"\0\0\0")
EXTENDED = webp(b"VP8X\x0a\0\0\0\0\0\0\0\2\0\0\1\0\0")


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(png(), "png"), (JPEG, "jpeg"), (LOSSY, "webp"), (LOSSLESS, "webp"), (EXTENDED, "webp")],
    ids=["png", "jpeg", "lossy", "lossless", "extended"],
)
def test_a_picture_is_known_by_its_head(data: bytes, media_type: str) -> None:
    """Its type, width and height come from its own bytes, not from what somebody says."""
    assert head(data) == (f"image/{media_type}", 3, 2)
    picture = Picture.of(data, "x" * 500)
    assert (picture.content, picture.width, picture.height, len(picture.title)) == (data, 3, 2, 120)
    assert Picture.model_validate_json(picture.model_dump_json()) == picture


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no whole"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no whole"),
        (b"GIF89a\1\0\1\0", "no whole"),
        (png()[:-1], "no whole"),
        (png() + b"<script>", "no whole"),
        (JPEG[:14] + b"\xff\xd9", "no whole"),
        (JPEG[:-1], "no whole"),
        (b"\xff\xd8" + b"\xff" * 50 + b"\xff\xd9", "no whole"),
        (LOSSY + b"\0", "no whole"),
        (webp(b"VP9 "), "no whole"),
        (png(LONGEST_SIDE + 1), "1025 x 2 pixels"),
        (png(0), "0 x 2 pixels"),
        (png(more=bytes(LARGEST_PICTURE)), "32809 bytes"),
    ],
)
def test_what_is_no_small_whole_picture_is_refused_with_the_reason(data: bytes, why: str) -> None:
    """A page shows them to people: nothing that a browser could take for anything else."""
    with pytest.raises(ValueError, match=why):
        Picture.of(data)


def test_a_picture_that_travels_is_what_it_says() -> None:
    """Whoever may publish may say anything."""
    said = Picture.of(png()).model_dump()
    for wrong in ({"media_type": "image/jpeg"}, {"media_type": "text/html"}, {"width": 4}, {"data": "no base64"}):
        with pytest.raises(ValidationError):
            Picture.model_validate(said | wrong)
