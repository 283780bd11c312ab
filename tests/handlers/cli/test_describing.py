"""Investigations and descriptions from the command line."""

import pytest

from datauploader.values import read_assignment, read_value, show_value


def test_investigations_tell_where_when_and_whose_they_are(run) -> None:
    """One line each in a pipe; a closed one says why, and that there are more is said beside."""
    ran = run("investigations")
    first, shut = ran.out.splitlines()
    assert first.split("\t")[2:] == ["open", "XRD1", "2026-03-04", "Anna Rossi", "", "today"]
    assert shut.split("\t") == ["7", "Old", "closed", "", "", "", "", "Its time is over."]
    assert "3 in total" in ran.err
    assert "\x1b" not in ran.out


def test_a_dataset_is_described(run, gateway) -> None:
    """What is not given is not sent, so that it stays."""
    ran = run("describe", "u-0001", "--description", "two\nlines", "--parameter", "energy=8.5:keV", "--param", "T=4[K]")
    assert ran.code == 0, ran
    method, path, body = gateway.asked[-1]
    assert (method, path) == ("PATCH", "/api/v1/uploads/u-0001/dataset")
    assert body == {
        "description": "two\nlines",
        "parameters": [
            {"name": "energy", "value": 8.5, "units": "keV"},
            {"name": "T", "value": 4, "units": "K"},
        ],
    }
    assert ran.out.splitlines() == ["two", "lines", "energy\t8.5\tkeV", "T\t4\tK"]
    assert "not yet in the catalogue" in ran.err
    run("describe", "u-0001", "--description", "")
    assert gateway.asked[-1][2] == {"description": ""}


def test_without_an_option_the_description_is_shown(run, gateway) -> None:
    """With the catalogue's refusal, harmless for the terminal."""
    ran = run("describe", "u-0001")
    assert gateway.asked[-1][0] == "GET"
    assert "It was\\x1b[31m cold." in ran.out
    assert "[red]no" in ran.err


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("energy=8.0[keV]", ("energy", "8.0", "keV")),
        ("energy = 8e3:eV", ("energy", "8e3", "eV")),
        ("at=12:30", ("at", "12:30", "")),
        ("url=http://x/y", ("url", "http://x/y", "")),
        ("angle=-1.5:°", ("angle", "-1.5", "°")),
        ("range=1:-5", ("range", "1:-5", "")),
        ("note=a:b", ("note", "a:b", "")),
        ("empty=", ("empty", "", "")),
        ("a=b=c", ("a", "b=c", "")),
        ("=x", None),
        ("nothing", None),
    ],
)
def test_a_parameter_is_read_with_its_unit_in_both_ways(text: str, parts: tuple[str, str, str] | None) -> None:
    """A colon makes a unit only behind a number, so that times and addresses stay whole."""
    assert read_assignment(text) == parts


@pytest.mark.parametrize(
    "value", [True, False, 0, -7, 12, 0.5, 1e-7, 1e22, "0012", "1,5", "Δ", "", "12345678901234567890"]
)
def test_what_is_shown_is_read_as_what_it_was(value: str | float | bool) -> None:
    """So that a form that was not touched changes nothing."""
    assert read_value(show_value(value)) == value
