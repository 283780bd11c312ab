"""The command `verify`: which upload is meant, what it says, and with which exit code it ends."""

import json

WELL = {"audit": "audit-0001", "well": True, "says": "3 files compared by names, sizes, md5; no difference."}
DIFFERS = {
    "audit": "audit-0001", "well": False, "says": "3 files compared by names and sizes only: 2 missing.",
    "differences": [{"kind": "missing", "files": 2, "first": ["a\x1b[31m.dat"]}],
}  # fmt: skip
TROUBLE = {"audit": "audit-0001", "well": False, "says": "It could not be compared.", "trouble": "It is away."}


def test_a_dataset_is_found_by_its_name_and_all_is_well(gateway, run) -> None:
    """The gateway is asked about its upload."""
    gateway.audits = [WELL]

    ran = run("verify", "scan1", "--read")

    assert (ran.code, "no difference" in ran.out) == (0, True)
    assert ("POST", "/api/v1/uploads/u-0001/audits", {"read": True, "accept": False}) in gateway.asked


def test_differences_are_named_and_end_with_1(gateway, run) -> None:
    """Names cannot steer the terminal; what is not named is counted."""
    gateway.audits = [DIFFERS]

    ran = run("verify", "scan1")

    assert ran.code == 1
    assert "a\\x1b[31m.dat is not on the storage" in ran.err
    assert "and 1 more" in ran.err


def test_what_could_not_be_compared_ends_with_5(gateway, run) -> None:
    """So does an answer that does not come in time."""
    gateway.audits = [TROUBLE]
    assert run("verify", "scan1").code == 5

    gateway.audits = []
    ran = run("verify", "scan1", "--patience", "1")

    assert ran.code == 5
    assert "No answer within 1 s" in ran.err


def test_programs_are_told_in_json(gateway, run) -> None:
    """As the gateway said it."""
    gateway.audits = [DIFFERS]

    ran = run("verify", "scan1", "--json")

    assert json.loads(ran.out)["differences"][0]["files"] == 2


def test_a_name_that_no_dataset_has_or_several_have_is_said_to_be_so(gateway, run) -> None:
    """Which one is meant is not guessed."""
    assert "no upload or dataset nothing" in run("verify", "nothing").err
    gateway.uploads["u-0002"] = gateway.upload("u-0002", investigation="other")

    ran = run("verify", "scan1")

    assert ran.code == 2
    assert "several investigations" in ran.err
