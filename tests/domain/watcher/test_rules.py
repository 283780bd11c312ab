"""Standing rules: what they match, what comes of it, and how a wrong one is refused."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts.names import check_location, check_name
from datauploader.errors import ConfigurationError
from datauploader_watcher.domain.rules import Rule, Target, upload_id


def rule(pattern: str, **templates: str) -> Rule:
    """Parse a rule with the usual templates."""
    usual = {"investigation": "{investigation}", "dataset": "{dataset}", "location": "{investigation}/{dataset}"}
    return Rule.parse("xrd1", pattern, **{**usual, **templates})


def test_each_level_below_the_fixed_part_has_its_placeholder():
    """The usual rule of a beamline."""
    parsed = rule("/data/{investigation}/{dataset}/**")
    assert parsed.prefix == "/data"
    assert parsed.level(0, "20260101") == {"investigation": "20260101"}
    assert parsed.level(1, "run 1") == {"dataset": "run 1"}
    assert parsed.target({"investigation": "20260101", "dataset": "run 1"}) == Target(
        "20260101", "run 1", "20260101/run 1"
    )


def test_a_name_may_hold_several_placeholders_and_literals():
    """Facilities put much into one name."""
    parsed = rule("/data/{year}/p{investigation}_*/raw-{dataset}", location="{year}/{investigation}/{dataset}")
    assert parsed.level(1, "p77_anna") == {"investigation": "77"}
    assert parsed.level(1, "77_anna") is None
    assert parsed.level(2, "raw-5") == {"dataset": "5"}
    assert parsed.level(2, "raw-") is None


@pytest.mark.attack("S33")
@pytest.mark.parametrize("level", ["{investigation}-{a}-{b}-{c}-{d}-{dataset}!", "*-*-*-*-{investigation}-{dataset}!"])
def test_a_name_that_fits_no_rule_is_soon_known_to_fit_none(level):
    """Anybody may name a folder; every place of a wildcard is tried once."""
    parsed = rule(f"/data/{level}")
    began = time.process_time()
    assert parsed.level(0, "-" * 255) is None
    assert time.process_time() - began < 1.0


@given(st.permutations(["{investigation}", "{dataset}", "*", "-", "a", ""]), st.text("-ab", max_size=12))
def test_a_level_stands_for_what_a_search_through_all_possibilities_finds(parts, name):
    """Each placeholder takes as little as it can, from the left."""
    wild = {"{investigation}": "(?P<investigation>.+?)", "{dataset}": "(?P<dataset>.+?)", "*": ".*?"}
    found = re.fullmatch("".join(wild.get(part, part) for part in parts), name)
    assert rule(f"/data/{''.join(parts)}").level(0, name) == (found.groupdict() if found else None)


def test_a_windows_pattern_is_read():
    """Drives and backslashes."""
    parsed = rule("C:\\data\\{investigation}\\{dataset}\\**")
    assert parsed.prefix == "C:/data"
    assert len(parsed.levels) == 2
    assert rule("D:\\{investigation}\\{dataset}").prefix == "D:/"


def test_a_pattern_on_a_share_is_read():
    """Server and share are fixed; what is below may be a placeholder."""
    parsed = rule("\\\\server\\share\\{investigation}\\{dataset}\\**")
    assert parsed.prefix == "//server/share"
    assert parsed.level(0, "20260101") == {"investigation": "20260101"}
    with pytest.raises(ConfigurationError, match="must name the server and its share"):
        rule("//server/{investigation}/{dataset}")


def test_a_constant_dataset_name_is_allowed():
    """Some beamlines have one dataset for each investigation."""
    parsed = rule("/data/{investigation}", dataset="raw", location="{investigation}")
    assert parsed.target({"investigation": "9"}) == Target("9", "raw", "9")


@pytest.mark.parametrize(
    ("pattern", "templates", "problem"),
    [
        ("data/{investigation}/{dataset}", {}, "absolute path"),
        ("/data/fixed", {}, "no placeholder"),
        ("/data/**/{investigation}/{dataset}", {}, "only at its end"),
        ("/data/../{investigation}/{dataset}", {}, "only at its end"),
        ("/data//{investigation}/{dataset}", {}, "no empty"),
        ("/data/{investigation}/{dataset", {}, "brace"),
        ("/data/{investigation}/data}set", {}, "brace"),
        ("/data/{investigation}/{}", {}, "not a placeholder"),
        ("/data/{investigation}/{Data Set}", {}, "not a placeholder"),
        ("/data/{dataset}/{dataset}", {}, "is used twice"),
        ("/data/{investigation}", {}, "{dataset}"),
        ("/data/{investigation}/{dataset}", {"location": "{proposal}/{dataset}"}, "{proposal}"),
        ("/data/{investigation}/{dataset}", {"location": ""}, "empty"),
        ("/data/{investigation}/{dataset}", {"dataset": "{dataset"}, "brace"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(pattern, templates, problem):
    """The sentence names the rule and what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        rule(pattern, **templates)
    assert "xrd1" in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", ["con", "a:b", "trailing.", "a\x1bb", "x" * 201])
def test_a_folder_whose_name_cannot_be_a_dataset_is_explained(name):
    """No upload with a name that no storage holds."""
    with pytest.raises(ValueError, match=r"name"):
        rule("/data/{investigation}/{dataset}").target({"investigation": "1", "dataset": name})


def test_a_folder_has_one_upload_id_for_each_time_it_is_opened():
    """The same at every look, another one after a close."""
    first = upload_id("e.x.w", "xrd1", b"/data/1/2", 1)
    assert first == upload_id("e.x.w", "xrd1", b"/data/1/2", 1)
    assert len({first, upload_id("e.x.w", "xrd1", b"/data/1/2", 2), upload_id("e.x.w", "xrd2", b"/data/1/2", 1)}) == 3


@pytest.mark.fault("F47")
@pytest.mark.parametrize("dataset", ["run1", "x" * 200, "λ" * 127, "run1 (2)"])
def test_a_further_dataset_of_a_folder_has_a_name_and_a_folder_of_its_own(dataset):
    """Beside the first one; a name that is as long as names can be is cut for it."""
    first = Target("20260101", dataset, f"20260101/raw/{dataset}")
    further = first.further(12)
    assert further.dataset.endswith(" (12)")
    assert further.dataset == check_name(further.dataset) != first.dataset
    assert check_location(further.location) == f"20260101/raw/{further.dataset}"
    assert first.further(2) != further
