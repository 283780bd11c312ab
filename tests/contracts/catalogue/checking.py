"""What the tests of the check have in common: how a world is checked, and rights that a check needs."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.inspection import CheckRequest, Finding, Mark
from datauploader_catalog.conformance.check import check_catalogue

ANNA, OPEN, NAME = "1101", "20260101", "datauploader-check-t"
ALWAYS = 1_000_000


@pytest.fixture(name="vuo")
def patient_vuo(make_vuo: Callable[..., Any]) -> Any:
    """Give VUO's adapter with time for an answer: a check takes a slow one for none."""
    return make_vuo(timeout=10.0)


@pytest.fixture(name="icat")
def patient_icat(make_icat: Callable[..., Any]) -> Any:
    """Give ICAT's adapter likewise."""
    return make_icat(timeout=10.0)


def checked(world: Any, *, write: bool = True, session: str | None = "sandbox-session-anna") -> dict[str, Finding]:
    """Check a world as its operator does; the findings by their duties."""
    request = CheckRequest(SecretStr(session) if session else None, ANNA, OPEN, write)
    return {finding.duty: finding for finding in check_catalogue(world.catalogue, request, NAME)}


def failed(findings: dict[str, Finding]) -> dict[str, Finding]:
    """Return those that do not hold."""
    return {duty: finding for duty, finding in findings.items() if finding.mark is Mark.FAILS}


def let_delete(world: Any) -> None:
    """Let SciCat's account delete, as docs/catalogues/scicat.md advises."""
    if type(world).__name__ == "ScicatWorld":
        groups(world, "admin", "archivemanager")


def groups(world: Any, *names: str) -> None:
    """Put the service's account of SciCat's double into these groups."""
    world.oracle.put("/_double/accounts/9001/groups", json=names).raise_for_status()
