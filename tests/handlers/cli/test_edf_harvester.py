"""The EDF harvester, a program in Perl: tried as people try it, on files as detectors write them, whole and broken."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.posix

HARVESTER = Path(__file__).parents[3] / "harvesters" / "edf" / "harvester.toml"
HEADER = """\
HeaderID = EH:000001:000000:000000 ;
Image = 1 ;
ByteOrder = LowByteFirst ;
DataType = UnsignedShort ;
Dim_1 = 20 ;
Dim_2 = 30 ;
Size = 1200 ;
title = ZrO2, 5 µm "dry" ;
date = 2026-01-02T03:04:05.000006 ;
count_time = 0.5 ;
WaveLength = 1.0402e-10 ;
run = 0042 ;
serial = 12345678901234567890 ;
offset = nan ;
motor_pos = 1.5 -2 0 ;
motor_mne = sx sy th ;
counter_pos = 100 7e2 ;
counter_mne = mon det ;
"""


def image(header: str = HEADER, data: bytes = bytes(1200)) -> bytes:
    """Return a header, filled up to a block, and the bytes of an image."""
    text = ("{\n" + header).encode()
    return text.ljust(-(-(len(text) + 2) // 512) * 512 - 2) + b"}\n" + data


@pytest.fixture
def said(run, tmp_path):
    """Return the values and the problem that `harvest try` shows of a file."""

    def say(content: bytes, name: str = "frame.edf") -> tuple[dict[str, object], str]:
        (tmp_path / name).write_bytes(content)
        shown = json.loads(run("harvest", "try", str(HARVESTER), str(tmp_path / name), "--json").out)
        return {one["name"]: one["value"] for one in shown["parameters"]}, shown["problem"]

    return say


def test_a_file_of_the_detector_says_what_was_measured(said) -> None:
    """Numbers are numbers, motors and counters have their names, and images are counted to the end of the file."""
    values, problem = said(image() + image(HEADER.replace("Image = 1", "Image = 2")) + image())
    assert problem == ""
    assert values == {
        "data_type": "UnsignedShort", "width": 20, "height": 30, "title": 'ZrO2, 5 µm "dry"',
        "start_time": "2026-01-02T03:04:05.000006", "count_time": 0.5, "WaveLength": 1.0402e-10, "run": 42,
        "serial": "12345678901234567890", "offset": "nan", "motor/sx": 1.5, "motor/sy": -2, "motor/th": 0,
        "counter/mon": 100, "counter/det": 700, "images": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "problem", "images"),
    [
        pytest.param(image() + image()[:-1], "image 2 has 1199 of 1200 bytes: it was cut off", 1, id="cut off"),
        pytest.param(image() + image()[:100], "the header of image 2 has no end", 1, id="half a header"),
        pytest.param(image() + b"\0" * 512, "behind image 1 is no header in braces", 1, id="zeros behind"),
        pytest.param(image(HEADER.replace("Size = 1200", "")), "", 1, id="no size"),
        pytest.param(
            image(HEADER.replace("Size = 1200", "").replace("UnsignedShort", "Odd")),
            "the header of image 1 does not say how large it is", None, id="no size at all",
        ),
        pytest.param(image(HEADER.replace(" sy th ;", " sy ;")), "of 2 motors it has 3 values", 1, id="motors"),
        pytest.param(image(HEADER.replace("µ", "")).replace(b"dry", b"dr\xff"), "", 1, id="Latin-1"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named_and_the_rest_is_kept(said, content: bytes, problem: str, images: int | None) -> None:
    """The first header is told in any case."""
    values, why = said(content)
    assert problem in why
    assert bool(problem) == bool(why)
    assert values.get("images") == images
    assert values["count_time"] == 0.5


@pytest.mark.parametrize("content", [b"", b"0       X X X", b"\x89HDF\r\n\x1a\n", b"{" * 600_000])
def test_what_is_no_such_file_is_a_sentence(said, content: bytes) -> None:
    """The suffix is also that of another format, of physicians."""
    values, why = said(content)
    assert values == {}
    assert "it is no ESRF data file" in why or "it is empty" in why or "has no end" in why
