"""The SPEC harvester, on files as beamlines have them: what it says of them, and of those that are broken."""

from pathlib import Path

import pytest

from datauploader_harvester_spec.app import create

HEADER = """\
#F /home/specuser/data/lmn40.spec
#E 918630612
#D Wed Feb 10 01:10:12 1999
#C spec1ID  User = polar
#C LaMnO3 crystal, 40 K
#O0    Theta  Two Theta  sample x  sample y
#O1      Chi        Phi
#o0 th tth sx sy
"""
ASCAN = """
#S 1  ascan  th 10 10.2  2 1
#D Wed Feb 10 01:11:00 1999
#T 1  (Seconds)
#G0 0 0 1 0.5
#Q 0 0 2
#P0 10 20.5 -1.25 3
#P1 90 0
#N 5
#L Theta  H  Epoch  Ion Chamber  Detector
10 0 49 1200 17
10.1 0 51 1201 19
10.2 0 53 1199 1.8e+01
#R 1 Results go here
"""
ABORTED = """
#S 2  mesh  sx 0 1 10 sy 0 1 10 0.5
#D Wed Feb 10 01:12:00 1999
#M 500  (I0)
#P0 10.2 20.5 0 3
#P1 90 0
#N 3
#L sample x  sample y  Detector
0 0 4
#C Wed Feb 10 01:12:09 1999.  Scan aborted after 1 points.
"""
SPECTRA = """
#S 3  mcaacq 10
#D Wed Feb 10 01:13:00 1999
#T 10  (Seconds)
#@MCA %16C
#@CHANN 32 0 31 1
@A 0 0 1 5 9 5 1 0 0 0 0 0 0 0 0 0\\
 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
"""


@pytest.fixture
def said(tmp_path: Path):
    """Return the values and the problem of a file with this content."""

    def say(content: str | bytes, name: str = "lmn40.spec") -> tuple[dict[str, object], str]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        reading = create.read(path)
        values = {one.name: one.value for one in reading.parameters}
        assert len(values) == len(reading.parameters), "no name comes twice"
        return values, reading.problem

    return say


def test_a_file_says_who_measured_what_and_when(said) -> None:
    """The names of motors and counters may hold a blank; a motor that has moved is told as a range."""
    values, problem = said(HEADER + ASCAN + ABORTED + SPECTRA)
    assert problem == ""
    assert values == {
        "scan_1/command": "ascan  th 10 10.2  2 1",
        "scan_1/start_time": "1999-02-10T01:11:00",
        "scan_1/points": 3,
        "scan_1/count_time": 1.0,
        "scan_2/command": "mesh  sx 0 1 10 sy 0 1 10 0.5",
        "scan_2/start_time": "1999-02-10T01:12:00",
        "scan_2/points": 1,
        "scan_2/count": 500.0,
        "scan_2/aborted": True,
        "scan_3/command": "mcaacq 10",
        "scan_3/start_time": "1999-02-10T01:13:00",
        "scan_3/points": 0,
        "scan_3/spectra": 1,
        "scan_3/count_time": 10.0,
        "title": "LaMnO3 crystal, 40 K",
        "file": "/home/specuser/data/lmn40.spec",
        "user": "polar",
        "start_time": "1999-02-10T07:10:12+00:00",
        "last_scan_time": "1999-02-10T01:13:00",
        "scans": 3,
        "points": 4,
        "scans_aborted": 1,
        "counters": "H, Epoch, Ion Chamber, Detector",
        "motors_scanned": "Theta, sample x, sample y",
        "comments": "LaMnO3 crystal, 40 K; Wed Feb 10 01:12:09 1999.  Scan aborted after 1 points.",
        "motor/Theta/min": 10.0,
        "motor/Theta/max": 10.2,
        "motor/Two Theta": 20.5,
        "motor/sample x/min": -1.25,
        "motor/sample x/max": 0.0,
        "motor/sample y": 3.0,
        "motor/Chi": 90.0,
        "motor/Phi": 0.0,
    }


def test_scans_that_are_counted_anew_are_told_apart(said) -> None:
    """A second header begins with scan 1 again."""
    values, problem = said(HEADER + ASCAN + HEADER.replace("lmn40", "lmn41") + ASCAN)
    assert (values["scans"], values["scan_1/points"], values["scan_1.2/points"], problem) == (2, 3, 3, "")
    assert values["file"] == "/home/specuser/data/lmn40.spec"


@pytest.mark.parametrize(
    ("content", "problem", "kept"),
    [
        pytest.param(
            HEADER + ASCAN[: ASCAN.index("1201")],
            "after 1 points comes a line with 3 of 5 values",
            1,
            id="cut off",
        ),
        pytest.param((HEADER + ASCAN).rstrip(), "its last line has no end: it was cut off", 3, id="no end"),
        pytest.param(
            HEADER + ASCAN + "#S 2  ct 1\n", "scan_2: it has no #L, which names its columns", 3, id="no labels"
        ),
        pytest.param(
            HEADER + ASCAN + "oops\n", "scan_1: after 3 points comes a line that is not numbers", 3, id="text"
        ),
        pytest.param(HEADER + ASCAN + "\x00" * 99_000, "its last line has no end", 3, id="zero bytes behind"),
        pytest.param(
            (HEADER + ASCAN).replace("1201", "12O1"), "after 1 points comes a line that is not", 2, id="letter"
        ),
        pytest.param(
            HEADER + ASCAN + "1 " * 2_000_000 + "\n", "after 3 points comes a line with", 3, id="endless line"
        ),
    ],
)
def test_what_is_broken_is_named_and_the_rest_is_kept(said, content: str, problem: str, kept: int) -> None:
    """Files are copied while a scan runs, and disks are full at times."""
    values, why = said(content)
    assert problem in why
    assert values["points"] == kept
    assert values["user"] == "polar"


def test_a_header_alone_and_a_scan_alone_are_enough(said) -> None:
    """The one is written when a file is begun, the other is what people cut out."""
    values, problem = said(HEADER)
    assert (values["scans"], values["title"], problem) == (0, "LaMnO3 crystal, 40 K", "")
    values, problem = said(ASCAN.lstrip())
    assert (values["scans"], values["start_time"], problem) == (1, "1999-02-10T01:11:00", "")
    assert "motor/Theta" not in values, "nobody says which motors these positions are of"


def test_letters_of_any_encoding_are_read(said) -> None:
    """Old files have Latin-1, new ones UTF-8."""
    text = HEADER.replace("40 K", "40 K, 5 Å")
    assert said(text.encode())[0]["title"] == said(text.encode("latin-1"))[0]["title"] == "LaMnO3 crystal, 40 K, 5 Å"


def test_a_date_that_nobody_can_read_is_told_as_it_is(said) -> None:
    """Some programs write others."""
    values, problem = said(ASCAN.lstrip().replace("#D Wed Feb 10", "#D Mit Feb 10"))
    assert (values["start_time"], problem) == ("Mit Feb 10 01:11:00 1999", "")


def test_only_the_suffix_of_spec_makes_a_foreign_file_a_problem(said) -> None:
    """Files named .dat and .mca are often something else, about which nothing is to be said."""
    assert said("x y\n1 2\n", "table.dat") == ({}, "")
    assert said(b"<<PMCA SPECTRUM>>\r\n", "gold.mca") == ({}, "")
    assert said("", "empty.spec") == (
        {}, "spec could not read it: it is no SPEC file: neither #F nor #S stands at its beginning",
    )  # fmt: skip


def test_of_very_many_scans_the_first_are_told_one_by_one(said) -> None:
    """All are counted, and what is wrong is said of ten."""
    many = "".join(f"#S {number}  ct\n#N 1\n#L Detector\n{number}\nx\n" for number in range(1, 3001))
    values, problem = said(HEADER + many)
    assert (values["scans"], values["points"]) == (3000, 3000)
    assert "scan_40/points" in values
    assert "scan_41/points" not in values
    assert problem.endswith("; and 2990 more")
