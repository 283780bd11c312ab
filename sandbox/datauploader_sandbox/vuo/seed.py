"""Who and what the double knows when it is new: invented people and experiments, good for nothing outside."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

SECRET = "sandbox-only-vuo-secret"
"""What the double shares with the catalog service unless it is told another one."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the double; whoever holds `session` in the cookie `vuo_session` is signed in."""

    id: str
    account: str
    uid: int
    gid: int
    name: str
    session: str
    staff: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """An investigation of the double and the people who belong to it."""

    id: str
    name: str
    visit: str
    title: str
    base_dir: str
    members: tuple[str, ...]
    active: bool = True
    reason: str = ""
    """Why it is closed."""
    beamline: str = ""
    start: str = ""
    """ISO day, as are all days here."""
    end: str = ""
    principal_investigator: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Seed:
    """All of it together."""

    people: tuple[Person, ...]
    proposals: tuple[Proposal, ...]


def default_seed(base_dir: str = "/facility/store") -> Seed:
    """Return three scientists, one member of staff, three open investigations and a closed one."""
    people = (
        Person("1101", "anna.moretti", 51101, 5100, "Anna Moretti", "sandbox-session-anna"),
        Person("1102", "ben.okafor", 51102, 5100, "Ben Okafor", "sandbox-session-ben"),
        Person("1103", "chloe.papadaki", 51103, 5100, "Χλόη Παπαδάκη", "sandbox-session-chloe"),
        Person("1900", "dana.staff", 51900, 5900, "Dana (beamline staff)", "sandbox-session-dana", staff=True),
    )
    anna, ben, chloe, _ = people
    proposals = (
        _proposal(
            base_dir, "20260101", "Grain growth in sintered ceramics", (anna, ben), "XRD1", _NOW,
            description="Sintering curves between 900 and 1300 °C.",
        ),
        _proposal(base_dir, "20260102", "Residual stress in printed titanium", (ben,), "XRD1", _NOW),
        _proposal(base_dir, "20260103", "Δομή λεπτών υμενίων: μια πρώτη ματιά", (chloe, anna), "SAXS", _NOW),
        _proposal(
            base_dir, "20250917", "Closed: pigments of a Roman fresco", (anna,), "XRD1", _LONG_AGO, active=False,
            reason="The time of this proposal is over.",
        ),
    )  # fmt: skip
    return Seed(people, proposals)


_NOW, _LONG_AGO = (-1, 2), (-70, -68)
"""From and to which day, counted from today."""


def _proposal(
    base_dir: str,
    number: str,
    title: str,
    people: tuple[Person, ...],
    beamline: str,
    days: tuple[int, int],
    **more: Any,
) -> Proposal:
    today = datetime.now().astimezone().date()
    start, end = ((today + timedelta(days=day)).isoformat() for day in days)
    return Proposal(
        number, number, "1", title, f"{base_dir.rstrip('/')}/{number}", tuple(person.id for person in people),
        beamline=beamline, start=start, end=end, principal_investigator=people[0].name, **more,
    )  # fmt: skip
